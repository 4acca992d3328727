// The batch is cut into blocks of rows and the classes into chunks; a task is one chunk and one run
// of row tiles. Logits exist one tile at a time, as [class][row], and one comparison with the k-th
// best so far of its row rejects nearly every one of them. Each row and chunk keeps the best so far
// in an array for twice as many: a logit that passes is appended, and a full array is reduced to
// the k best, so that one that passes costs the same whatever k is. What is left of all chunks is
// reduced once more, and sorted.
#include "csrc/core/top_k.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <new>
#include <vector>

#include "csrc/core/loss.h"
#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/loss/products.h"
#include "csrc/cpu/loss/shared_candidates.h"
#include "csrc/cpu/loss/shared_plan.h"
#include "csrc/cpu/loss/tiles.h"

namespace fastw2v {

namespace {

using cpu::CeilDiv;
using cpu::Clamp;
using cpu::Kernels;
using cpu::kRowTile;
using cpu::RoundDown;
using cpu::RoundUp;

constexpr int64_t kEntriesBytes = 32 << 20;  // the best so far, of a block of rows
constexpr int64_t kTasks = 32;
// The first k classes of a chunk, and some after them, pass as the best so far; in a chunk of this
// many times k classes they are few.
constexpr int64_t kChunkOfK = 16;
constexpr int64_t kMinChunkTiles = 8;
constexpr int64_t kGroup = 8;    // classes between two checks of which rows have one that passes
constexpr int64_t kFewRows = 4;  // for a batch of so few, dot products take less time than tiles

template <typename A>
struct Entry {
  A logit;
  int64_t index;  // of the class
};

template <typename A>
bool Precedes(const Entry<A>& x, const Entry<A>& y) {
  const bool x_nan = std::isnan(x.logit), y_nan = std::isnan(y.logit);
  if (x_nan != y_nan) return x_nan;
  if (!x_nan && x.logit != y.logit) return x.logit > y.logit;
  return x.index < y.index;
}

// Moves the k that come first to the front, the last of them behind the others.
template <typename A>
void Select(Entry<A>* entries, int64_t count, int64_t k) {
  std::nth_element(entries, entries + (k - 1), entries + count, Precedes<A>);
}

// The best so far of one row among the classes of one chunk, which come in ascending order.
template <typename A>
struct Best {
  Entry<A>* entries;
  int64_t capacity;
  int64_t* count;
  A* limit;                // what is not above does not count; NaN: everything does
  std::atomic<A>* common;  // a limit for all chunks

  void Clear() {
    *count = 0;
    *limit = common->load(std::memory_order_relaxed);
  }

  void Hear() {
    const A told = common->load(std::memory_order_relaxed);
    if (told > *limit || std::isnan(*limit)) *limit = told;
  }

  // The limit for other chunks is just below the k-th best, not the k-th best itself: one of theirs
  // may be equal to it, of a lower class. Normal numbers, as threads may flush the others to zero.
  void Tell() {
    if (!std::isfinite(*limit)) return;
    using Numbers = std::numeric_limits<A>;
    const A below = *limit - (std::abs(*limit) * Numbers::epsilon() + Numbers::min());
    const A told = common->load(std::memory_order_relaxed);
    // Where two threads store at the same time the lower limit may stay.
    if (!(below <= told)) common->store(below, std::memory_order_relaxed);
  }

  // The logits of classes from `first` on, `stride` apart.
  void Meet(const A* logits, int64_t stride, int64_t first, int64_t classes, int64_t k) {
    A least = *limit;
    for (int64_t i = 0; i < classes; ++i) {
      const A logit = logits[i * stride];
      if (logit <= least) continue;
      entries[(*count)++] = {logit, first + i};
      if (*count < capacity) continue;
      Cut(k);
      least = *limit;
    }
  }

  void Cut(int64_t k) {
    if (*count < k) return;
    Select(entries, *count, k);
    *count = k;
    *limit = entries[k - 1].logit;
    Tell();
  }
};

template <typename T>
class Driver {
  using A = Accumulator<T>;
  using P = cpu::PlainProducts<A>;

 public:
  Driver(const TopKProblem<T>& problem, const Parallel& parallel, Scratch* scratch)
      : p_(problem),
        parallel_(parallel),
        class_tile_(cpu::ClassTileSize(RowBytes())),
        chunk_(ChunkSize()),
        num_chunks_(CeilDiv(p_.classes(), chunk_)),
        capacity_(std::min(2 * p_.k, chunk_)),
        block_(BlockSize()),
        run_(RunSize()),
        rows_(CeilDiv(block_, kRowTile), kRowTile, p_.dim(), cpu::Passes::kForward, scratch) {
    entries_ = scratch->Take<Entry<A>>(block_ * num_chunks_ * capacity_);
    counts_ = scratch->Take<int64_t>(block_ * num_chunks_);
    limits_ = scratch->Take<A>(num_chunks_ * RoundUp(block_, kRowTile));
    common_limits_ = scratch->Take<std::atomic<A>>(block_);
    candidates_.weights = p_.weights;
    candidates_.biases = p_.biases;
    candidates_.logits.scale = static_cast<A>(p_.logit_scale);
    workers_.reserve(parallel.num_workers());
    for (int i = 0; i < parallel.num_workers(); ++i) {
      workers_.push_back(
          {cpu::ClassTile<T, P>(candidates_, class_tile_, kRowTile, cpu::Passes::kForward, scratch),
           scratch->Take<A>(class_tile_ * kRowTile), scratch->Take<int32_t>(kRowTile)});
    }
  }
  Driver(const Driver&) = delete;  // tiles point to candidates_

  void Run(A* logits, int64_t* classes) {
    for (int64_t block = 0; block < p_.batch; block += block_) {
      const int64_t rows = std::min(block_, p_.batch - block);
      candidates_.hidden = hidden_ = p_.hidden + block * p_.dim();
      if (p_.excluded != nullptr) candidates_.excluded = p_.excluded + 2 * block;
      Pack(rows);
      Meet(rows);
      Merge(rows, logits + block * p_.k, classes + block * p_.k);
    }
  }

 private:
  struct Worker {
    cpu::ClassTile<T, P> tile;
    A* z;
    int32_t* passed;  // rows of a tile
  };

  int64_t RowBytes() const { return std::max<int64_t>(p_.dim(), 1) * sizeof(A); }

  // A multiple of class tiles, where it is not all classes.
  int64_t ChunkSize() const {
    const int64_t tiles = CeilDiv(p_.classes(), class_tile_);
    const int64_t least = std::max(kMinChunkTiles, CeilDiv(kChunkOfK * p_.k, class_tile_));
    const int64_t chunks = Clamp(tiles / least, 1, kTasks);
    return std::min(p_.classes(), CeilDiv(tiles, chunks) * class_tile_);
  }

  int64_t BlockSize() const {
    const int64_t row_bytes = num_chunks_ * capacity_ * static_cast<int64_t>(sizeof(Entry<A>));
    const int64_t most = Clamp(kEntriesBytes / row_bytes, 1, cpu::RowBlockSize(RowBytes()));
    const int64_t block = most < kRowTile ? most : RoundDown(most, kRowTile);
    return std::min(block, std::max<int64_t>(p_.batch, 1));
  }

  // A multiple of row tiles.
  int64_t RunSize() const {
    const int64_t tiles = CeilDiv(block_, kRowTile);
    return CeilDiv(tiles, std::min(tiles, CeilDiv(kTasks, num_chunks_))) * kRowTile;
  }

  Best<A> BestOf(int64_t row, int64_t chunk) const {
    const int64_t i = row * num_chunks_ + chunk;
    return {entries_ + i * capacity_, capacity_, counts_ + i, Limits(chunk) + row,
            common_limits_ + row};
  }

  // Over the rows of the block, padded for vectors.
  A* Limits(int64_t chunk) const { return limits_ + chunk * RoundUp(block_, kRowTile); }

  void Pack(int64_t rows) {
    const int64_t dim = p_.dim();
    parallel_.For(CeilDiv(rows, kRowTile), kRowTile * dim, [&](int64_t tile, int) {
      const int64_t first = tile * kRowTile, count = std::min(kRowTile, rows - first);
      rows_.Pack(hidden_ + first * dim, count, tile);
    });
  }

  // The rows of the block against all classes.
  void Meet(int64_t rows) {
    for (int64_t row = 0; row < rows; ++row) {
      new (common_limits_ + row) std::atomic<A>(std::numeric_limits<A>::quiet_NaN());
    }
    const int64_t runs = CeilDiv(rows, run_);
    const int64_t cost = chunk_ * std::min(rows, run_) * (p_.dim() / 12 + 1);
    parallel_.For(num_chunks_ * runs, cost, [&](int64_t task, int worker) {
      Worker& own = workers_[worker];
      const int64_t chunk = task / runs, begin = task % runs * run_;
      const int64_t end = std::min(rows, begin + run_);
      for (int64_t row = begin; row < end; ++row) BestOf(row, chunk).Clear();
      A* const limits = Limits(chunk);
      std::fill(limits + end, limits + RoundUp(end, kRowTile), std::numeric_limits<A>::infinity());
      const int64_t last = std::min(p_.classes(), (chunk + 1) * chunk_);
      for (int64_t c = chunk * chunk_; c < last; c += class_tile_) {
        own.tile.Load(c, std::min(class_tile_, last - c));
        for (int64_t row = begin; row < end; row += kRowTile) {
          MeetTile(own, row, std::min(kRowTile, end - row), chunk);
        }
      }
      for (int64_t row = begin; row < end; ++row) BestOf(row, chunk).Cut(p_.k);
    });
  }

  void MeetTile(const Worker& own, int64_t row, int64_t count, int64_t chunk) {
    const auto& kernels = Kernels<A>();
    const int64_t padded = RoundUp(count, kernels.panel);
    const A* const offset = own.tile.offset();
    for (int64_t r = 0; r < count; ++r) BestOf(row + r, chunk).Hear();
    if (p_.batch <= kFewRows && p_.excluded == nullptr) {
      DotProducts(own, row, count, padded);
    } else {
      own.tile.Logits(rows_.Transposed(row / kRowTile), row, count, padded, own.z, nullptr);
    }
    for (int64_t c = 0; c < own.tile.count(); c += kGroup) {
      A* const z = own.z + c * kRowTile;
      const int64_t classes = std::min(kGroup, own.tile.count() - c);
      const int64_t passed =
          kernels.tile_above(z, classes, padded, kRowTile, offset == nullptr ? nullptr : offset + c,
                             Limits(chunk) + row, own.passed);
      for (int64_t i = 0; i < passed && own.passed[i] < count; ++i) {
        const int64_t r = own.passed[i];
        BestOf(row + r, chunk).Meet(z + r, kRowTile, own.tile.first() + c, classes, p_.k);
      }
    }
  }

  void DotProducts(const Worker& own, int64_t row, int64_t count, int64_t padded) const {
    const int64_t dim = p_.dim();
    for (int64_t c = 0; c < own.tile.count(); ++c) {
      A* const z = own.z + c * kRowTile;
      for (int64_t r = 0; r < count; ++r) {
        z[r] = candidates_.logits.scale *
               Kernels<A>().dot(hidden_ + (row + r) * dim, own.tile.rows() + c * dim, dim);
      }
      std::fill(z + count, z + padded, A{0});
    }
  }

  void Merge(int64_t rows, A* logits, int64_t* classes) {
    const int64_t k = p_.k;
    const int64_t cost = num_chunks_ * k * 10 + k * 50;
    parallel_.For(rows, cost, [&](int64_t row, int) {
      Entry<A>* const all = BestOf(row, 0).entries;
      int64_t count = *BestOf(row, 0).count;
      for (int64_t chunk = 1; chunk < num_chunks_; ++chunk) {
        const Best<A> best = BestOf(row, chunk);
        std::copy(best.entries, best.entries + *best.count, all + count);  // never overtakes
        count += *best.count;
      }
      Select(all, count, k);
      std::sort(all, all + k, Precedes<A>);
      for (int64_t i = 0; i < k; ++i) {
        logits[row * k + i] = all[i].logit;
        classes[row * k + i] = all[i].index;
      }
      if (p_.logit_softcap == 0) return;
      Kernels<A>().softcap(static_cast<A>(p_.logit_softcap), logits + row * k, nullptr, k);
      if (candidates_.excluded == nullptr) return;
      const int64_t* const range = candidates_.excluded + 2 * row;
      for (int64_t i = 0; i < k; ++i) {  // no cap lifts what does not compete
        if (all[i].index < range[0] || all[i].index >= range[1]) continue;
        logits[row * k + i] = -std::numeric_limits<A>::infinity();
      }
    });
  }

  const TopKProblem<T>& p_;
  const Parallel& parallel_;
  const int64_t class_tile_;
  const int64_t chunk_;  // classes of one task
  const int64_t num_chunks_;
  const int64_t capacity_;  // entries of a row and chunk
  const int64_t block_;     // rows worked on at a time
  const int64_t run_;       // rows of one task
  cpu::SharedCandidates<T> candidates_;
  cpu::PackedRows<A, P> rows_;
  const A* hidden_ = nullptr;      // [row of the block, dim]
  Entry<A>* entries_;              // [row of the block, chunk, capacity]
  int64_t* counts_;                // [row of the block, chunk]
  A* limits_;                      // [chunk, row of the block]
  std::atomic<A>* common_limits_;  // [row of the block]
  std::vector<Worker> workers_;
};

}  // namespace

template <typename T>
Status CheckTopKProblem(const TopKProblem<T>& p) {
  FASTW2V_RETURN_IF_ERROR(cpu::CheckKernelChoice());
  if (!p.biases.empty()) FASTW2V_RETURN_IF_ERROR(CheckBiasRows(p.biases.rows(), p.classes()));
  FASTW2V_RETURN_IF_ERROR(CheckExcluded(p.excluded, p.batch, p.classes()));
  return CheckTopKNumbers(p.classes(), p.k, p.logit_scale, p.logit_softcap);
}

template <typename T>
std::size_t TopKScratchBytes(const TopKProblem<T>& problem, const Parallel& parallel) {
  Scratch scratch;
  Driver<T>(problem, parallel, &scratch);
  return scratch.used();
}

template <typename T>
void TopK(const TopKProblem<T>& problem, const Parallel& parallel, void* scratch,
          Accumulator<T>* logits, int64_t* classes) {
  Scratch pieces(scratch);
  Driver<T>(problem, parallel, &pieces).Run(logits, classes);
}

#define FASTW2V_INSTANTIATE(T)                                                      \
  template Status CheckTopKProblem<T>(const TopKProblem<T>&);                       \
  template std::size_t TopKScratchBytes<T>(const TopKProblem<T>&, const Parallel&); \
  template void TopK<T>(const TopKProblem<T>&, const Parallel&, void*, Accumulator<T>*, int64_t*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
