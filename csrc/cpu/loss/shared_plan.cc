#include "csrc/cpu/loss/shared_plan.h"

#include <algorithm>
#include <type_traits>

#include "csrc/cpu/kernels/caches.h"
#include "csrc/cpu/loss/products.h"

namespace fastw2v::cpu {
namespace {

// What a row tile reads and writes of a tile of classes, weights and their gradient, plain and
// packed, takes half of the second-level cache at most. So do a block's rows, packed, with their
// d_hidden, where exponentials are stored.
constexpr int64_t kClassTileShare = 8;
constexpr int64_t kBlockShare = 2;
constexpr int64_t kClassTileMultiple = 48;  // of every micro-kernel's rows
constexpr int64_t kMaxClassTile = 192;

constexpr int64_t kFewClassesBytes = 512 << 10;  // of weights
constexpr int64_t kMaxRuns = 16;                 // of rows against few classes
constexpr int64_t kMinRun = 64;

constexpr int64_t kStoredBytes = 56 << 20;  // exponentials of a block of rows
// A tile of rows where those of kRowTile take more. With fewer rows, weights and their gradient
// would come from memory so often that computing the logits twice takes less time; in bfloat16 it
// already does with these.
constexpr int64_t kShortRowTile = 64;
// d_hidden, one partial sum per chunk of classes; less where there is much else.
constexpr int64_t kPartialBytes = 16 << 20;
constexpr int64_t kPartialBytesBesideStored = 4 << 20;
constexpr int64_t kGroupBytes = 16 << 20;  // d_weights that cannot be summed in place

}  // namespace

int64_t ClassTileSize(int64_t row_bytes) {
  return Clamp(RoundDown(SecondLevelBytes() / kClassTileShare / row_bytes, kClassTileMultiple),
               kClassTileMultiple, kMaxClassTile);
}

int64_t RowBlockSize(int64_t row_bytes, int64_t bytes) {
  return Clamp(RoundDown(bytes / row_bytes, kRowTile), 2 * kRowTile, 1152);
}

template <typename T>
Plan MakePlan(const SharedCandidates<T>& p, Passes passes) {
  using A = Accumulator<T>;
  const int64_t row_bytes = std::max<int64_t>(p.dim(), 1) * sizeof(A);
  const int64_t classes = std::max<int64_t>(p.classes(), 1);
  const bool one_table = std::is_same_v<T, A> && p.weights.num_shards() == 1;
  // What is stored of capped logits are exponentials times slopes, of which no sums are left to
  // make.
  const bool may_be_early = p.link == Link::kSoftmax && !p.smooths;
  const bool may_store = passes == Passes::kBoth && (p.logits.softcap == 0 || may_be_early);
  Plan plan;
  plan.class_tile = ClassTileSize(row_bytes);
  const int64_t tiles = CeilDiv(classes, plan.class_tile);
  const int64_t stored_rows = kStoredBytes / (tiles * plan.class_tile * sizeof(A));
  plan.row_tile = std::min(kRowTile, RoundUp(std::max<int64_t>(p.batch, 1), kRowMultiple));
  const bool multiplies_fast = std::is_same_v<A, float> &&
                               p.compute_dtype == ComputeDtype::kBFloat16 && MultipliesBFloat16();
  if (may_store && !multiplies_fast && stored_rows < plan.row_tile &&
      stored_rows >= kShortRowTile) {
    plan.row_tile = kShortRowTile;
  }
  const int64_t batch = RoundUp(std::max<int64_t>(p.batch, 1), plan.row_tile);
  plan.few = classes * row_bytes <= kFewClassesBytes;
  plan.group = classes;
  plan.early = false;
  if (plan.few) {
    plan.class_tile = std::min(plan.class_tile, classes);
    plan.stores = may_store && p.logits.softcap == 0;
    plan.block = batch;
    plan.run = std::max(kMinRun, RoundUp(CeilDiv(p.batch, kMaxRuns), kRowMultiple));
    plan.num_runs = std::max<int64_t>(1, CeilDiv(p.batch, plan.run));
    plan.forward_chunk = plan.chunk = classes;
    plan.num_chunks = 1;
    plan.in_place = one_table && plan.num_runs == 1;
    return plan;
  }

  const auto set_stores = [&](bool stores) {
    plan.stores = stores;
    plan.block = std::min(batch, RowBlockSize(row_bytes));
    if (stores) {
      plan.block = std::min(
          {plan.block, stored_rows, RowBlockSize(row_bytes, SecondLevelBytes() / kBlockShare)});
    }
    plan.block = RoundDown(plan.block, plan.row_tile);
  };
  set_stores(may_store && stored_rows >= plan.row_tile);

  // Chunks of so many classes, no more of them than partial sums of d_hidden may take.
  const auto chunk_of = [&](int64_t some_tiles) {
    const int64_t sums_bytes = plan.block * row_bytes;
    const int64_t most = plan.stores ? Clamp(kPartialBytesBesideStored / sums_bytes, 8, 64)
                                     : Clamp(kPartialBytes / sums_bytes, 4, 64);
    return CeilDiv(some_tiles, std::min(some_tiles, most)) * plan.class_tile;
  };
  const auto cut = [&](int64_t group) {
    plan.group = group;
    plan.chunk = chunk_of(CeilDiv(group, plan.class_tile));
    plan.num_chunks = CeilDiv(group, plan.chunk);
    const int64_t row_tiles = plan.block / plan.row_tile;
    const int64_t runs = plan.num_chunks >= 8 ? 1 : Clamp(row_tiles / 2, 1, 8);
    plan.run = CeilDiv(row_tiles, runs) * plan.row_tile;
    plan.num_runs = CeilDiv(plan.block, plan.run);
    plan.in_place = one_table && plan.num_runs == 1;
  };
  cut(classes);
  const auto too_many = [&] {
    return passes != Passes::kForward && !plan.in_place &&
           kGroupBytes / (row_bytes * plan.num_runs) < classes;
  };
  if (too_many() && plan.stores && plan.block < batch) {
    // Sums of one group cannot wait for the next block of rows.
    set_stores(false);
    cut(classes);
  }
  if (too_many()) {
    const int64_t most_classes = kGroupBytes / (row_bytes * plan.num_runs);
    cut(std::max(plan.class_tile, RoundDown(most_classes, plan.class_tile)));
  }
  plan.early = plan.stores && may_be_early;
  plan.forward_chunk =
      plan.early ? chunk_of(tiles) : CeilDiv(tiles, std::min<int64_t>(tiles, 64)) * plan.class_tile;
  return plan;
}

template Plan MakePlan<float>(const SharedCandidates<float>&, Passes);
template Plan MakePlan<double>(const SharedCandidates<double>&, Passes);
template Plan MakePlan<Half>(const SharedCandidates<Half>&, Passes);
template Plan MakePlan<BFloat16>(const SharedCandidates<BFloat16>&, Passes);

}  // namespace fastw2v::cpu
