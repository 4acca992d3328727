#include "csrc/cpu/shared_candidates.h"

#include <algorithm>
#include <cmath>

namespace fastw2v::cpu {

namespace {

// Multiples of every micro-kernel's panel (4, 6, 12 rows; 8, 16, 32 columns). A tile of logits and
// the packed operands of D = 128 stay in the second-level cache.
constexpr int64_t kRowTile = 72;
constexpr int64_t kClassTile = 96;

constexpr int64_t kPartialBytes = 24 << 20;  // d_hidden, one partial sum per chunk of classes
constexpr int64_t kGroupBytes = 16 << 20;    // d_weights that cannot be summed in place

int64_t CeilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }
int64_t RoundUp(int64_t x, int64_t multiple) { return CeilDiv(x, multiple) * multiple; }
int64_t Clamp(int64_t x, int64_t low, int64_t high) { return std::max(low, std::min(x, high)); }

// How the work is cut. Tasks of one step: num_splits runs of rows x `group` chunks of classes.
struct Plan {
  int64_t chunk;       // classes per chunk
  int64_t num_chunks;  // chunks in all
  int64_t group;       // chunks worked on at a time
  int64_t block;       // rows worked on at a time
  int64_t num_splits;  // runs of rows in a block

  // The row tiles of one run, given as rows from the start of the block.
  int64_t SplitBegin(int64_t split, int64_t rows) const {
    return std::min(rows, split * RoundUp(CeilDiv(rows, num_splits), kRowTile));
  }
};

template <typename T>
Plan ForwardPlan(const SharedCandidates<T>& p) {
  Plan plan;
  const int64_t classes = std::max<int64_t>(p.classes(), 1);
  plan.chunk = std::max<int64_t>(RoundUp(CeilDiv(classes, 64), kClassTile), 3 * kClassTile);
  plan.num_chunks = CeilDiv(classes, plan.chunk);
  plan.group = plan.num_chunks;
  plan.block = std::min(RoundUp(std::max<int64_t>(p.batch, 1), kRowTile), 16 * kRowTile);
  plan.num_splits = plan.num_chunks >= 8 ? 1 : Clamp(plan.block / (2 * kRowTile), 1, 8);
  return plan;
}

template <typename T>
bool SumsInPlace(const SharedCandidates<T>& p, int64_t num_splits) {
  return std::is_same_v<T, Accumulator<T>> && p.weights.num_shards() == 1 && num_splits == 1;
}

template <typename T>
Plan BackwardPlan(const SharedCandidates<T>& p) {
  const int64_t row_bytes = std::max<int64_t>(p.dim(), 1) * sizeof(Accumulator<T>);
  const int64_t classes = std::max<int64_t>(p.classes(), 1);
  Plan plan;
  plan.chunk = Clamp(RoundUp(CeilDiv(classes, 64), kClassTile), 3 * kClassTile, 10 * kClassTile);
  plan.num_chunks = CeilDiv(classes, plan.chunk);
  plan.num_splits = plan.num_chunks >= 8 ? 1 : Clamp(p.batch / (2 * kRowTile), 1, 8);
  plan.group = std::min<int64_t>(plan.num_chunks, row_bytes <= 1024 ? 64 : 16);
  if (!SumsInPlace(p, plan.num_splits)) {
    plan.group = Clamp(kGroupBytes / (plan.chunk * row_bytes * plan.num_splits), 1, plan.group);
  }
  const int64_t most = Clamp(kPartialBytes / (plan.group * row_bytes), kRowTile, 16 * kRowTile);
  plan.block = std::min(RoundUp(std::max<int64_t>(p.batch, 1), kRowTile), RoundUp(most, kRowTile));
  return plan;
}

// The rows of a block packed as left operand (for logits) and, in backward, as right operand (for
// d_weights); one piece per row tile, shared by all tasks.
template <typename A>
struct PackedRows {
  A* left = nullptr;
  A* right = nullptr;
  int64_t left_stride = 0;
  int64_t right_stride = 0;

  PackedRows(const Plan& plan, int64_t dim, bool backward, Scratch* scratch) {
    const int64_t tiles = CeilDiv(plan.block, kRowTile);
    left_stride = RoundUp(kRowTile, Kernels<A>().pack_m) * dim;
    left = scratch->Take<A>(tiles * left_stride);
    if (backward) {
      right_stride = RoundUp(dim, Kernels<A>().pack_n) * kRowTile;
      right = scratch->Take<A>(tiles * right_stride);
    }
  }

  void Pack(const A* hidden, int64_t rows, int64_t dim, const Parallel& parallel) const {
    const auto& kernels = Kernels<A>();
    parallel.For(CeilDiv(rows, kRowTile), kRowTile * dim * 4, [&](int64_t tile, int) {
      const int64_t first = tile * kRowTile, count = std::min(kRowTile, rows - first);
      const A* x = hidden + first * dim;
      kernels.pack(x, dim, 1, count, dim, kernels.pack_m, left + tile * left_stride);
      if (right != nullptr) {
        kernels.pack(x, 1, dim, dim, count, kernels.pack_n, right + tile * right_stride);
      }
    });
  }
};

// One tile of classes, ready for the micro-kernel, in a worker's own scratch.
template <typename T>
class ClassTile {
  using A = Accumulator<T>;

 public:
  ClassTile(const SharedCandidates<T>& p, bool backward, Scratch* scratch) : p_(&p) {
    const auto& kernels = Kernels<A>();
    const int64_t dim = p.dim();
    // Rows that need conversion, rounding, or lie in several shards are copied first.
    copies_ = !std::is_same_v<T, A> || p.round_bfloat16 || p.weights.num_shards() != 1;
    if (copies_) rows_ = scratch->Take<A>(kClassTile * dim);
    for_logits_ = scratch->Take<A>(RoundUp(kClassTile, kernels.pack_n) * dim);
    if (backward) for_hidden_ = scratch->Take<A>(RoundUp(dim, kernels.pack_n) * kClassTile);
    offset_ = scratch->Take<A>(kClassTile);
  }

  void Load(int64_t first, int64_t count) {
    const auto& kernels = Kernels<A>();
    const int64_t dim = p_->dim();
    first_ = first;
    count_ = count;
    const A* rows = rows_;
    if (copies_) {
      for (int64_t c = 0; c < count; ++c) {
        ConvertRow(p_->weights.Row(first + c), rows_ + c * dim, dim);
      }
      if (p_->round_bfloat16) kernels.round_bfloat16(rows_, count * dim);
    } else {
      rows = reinterpret_cast<const A*>(p_->weights.Row(first));
    }
    kernels.pack(rows, dim, 1, count, dim, kernels.pack_n, for_logits_);
    if (for_hidden_ != nullptr) {
      kernels.pack(rows, 1, dim, dim, count, kernels.pack_n, for_hidden_);
    }
    for (int64_t c = 0; c < count; ++c) {
      offset_[c] = 0;
      if (!p_->biases.empty()) ConvertRow(p_->biases.Row(first + c), offset_ + c, 1);
    }
  }

  // z [rows, kClassTile] gets the logits of one row tile whose first row is `first_row` of the
  // batch; slope, where there is a soft cap, gets d(capped)/d(uncapped).
  void Logits(const A* packed_rows, int64_t first_row, int64_t rows, A* z, A* slope) const {
    const auto& kernels = Kernels<A>();
    kernels.multiply(rows, count_, p_->dim(), packed_rows, for_logits_, z, kClassTile, false);
    for (int64_t r = 0; r < rows; ++r) {
      A* row = z + r * kClassTile;
      kernels.axpy(1, offset_, row, count_);
      if (p_->softcap != 0) {
        kernels.softcap(p_->softcap, row, slope == nullptr ? nullptr : slope + r * kClassTile,
                        count_);
      }
      if (p_->log_q != nullptr) kernels.axpy(-1, p_->log_q + first_, row, count_);
      if (p_->hits != nullptr) MaskHits(first_row + r, row);
    }
  }

  // Calls use(column, label number) for the labels of a row that are classes of this tile.
  template <typename Use>
  void ForLabels(int64_t row, Use use) const {
    if (p_->labels == nullptr) return;
    for (int64_t j = 0; j < p_->num_true; ++j) {
      const int64_t label = p_->labels[row * p_->num_true + j];
      if (label == p_->ignored_label) continue;
      const int64_t column = label - first_;
      if (column >= 0 && column < count_) use(column, j);
    }
  }

  int64_t first() const { return first_; }
  int64_t count() const { return count_; }
  const A* for_hidden() const { return for_hidden_; }

 private:
  void MaskHits(int64_t row, A* z) const {
    for (int64_t j = 0; j < p_->num_true; ++j) {
      const int64_t* hit = p_->hits + 2 * (row * p_->num_true + j);
      const int64_t last = std::min(hit[1] - first_, count_);
      for (int64_t c = std::max<int64_t>(hit[0] - first_, 0); c < last; ++c) z[c] = -INFINITY;
    }
  }

  const SharedCandidates<T>* p_;
  bool copies_ = false;
  A* rows_ = nullptr;
  A* for_logits_ = nullptr;
  A* for_hidden_ = nullptr;
  A* offset_ = nullptr;  // biases
  int64_t first_ = 0;
  int64_t count_ = 0;
};

template <typename T>
struct ForwardWorker {
  using A = Accumulator<T>;
  ClassTile<T> tile;
  A* z;

  ForwardWorker(const SharedCandidates<T>& p, Scratch* scratch)
      : tile(p, false, scratch), z(scratch->Take<A>(kRowTile * kClassTile)) {}
};

template <typename T>
struct BackwardWorker {
  using A = Accumulator<T>;
  ClassTile<T> tile;
  A* z;
  A* slope;
  A* packed;  // z, or z transposed, as left operand

  BackwardWorker(const SharedCandidates<T>& p, Scratch* scratch)
      : tile(p, true, scratch),
        z(scratch->Take<A>(kRowTile * kClassTile)),
        slope(p.softcap != 0 ? scratch->Take<A>(kRowTile * kClassTile) : nullptr),
        packed(scratch->Take<A>(std::max(RoundUp(kRowTile, Kernels<A>().pack_m) * kClassTile,
                                         RoundUp(kClassTile, Kernels<A>().pack_m) * kRowTile))) {}
};

template <typename Worker, typename T>
std::vector<Worker> MakeWorkers(const SharedCandidates<T>& p, const Parallel& parallel,
                                Scratch* scratch) {
  std::vector<Worker> workers;
  workers.reserve(parallel.num_workers());
  for (int i = 0; i < parallel.num_workers(); ++i) workers.emplace_back(p, scratch);
  return workers;
}

// Scratch that all tasks of a call share.
template <typename T>
struct ForwardScratch {
  using A = Accumulator<T>;
  PackedRows<A> rows;
  SoftmaxStats<A>* stats;  // [chunk, row of the block]
  std::vector<ForwardWorker<T>> workers;

  ForwardScratch(const SharedCandidates<T>& p, const Plan& plan, const Parallel& parallel,
                 Scratch* scratch)
      : rows(plan, p.dim(), false, scratch),
        stats(scratch->Take<SoftmaxStats<A>>(plan.num_chunks * plan.block)),
        workers(MakeWorkers<ForwardWorker<T>>(p, parallel, scratch)) {}
};

template <typename T>
struct BackwardScratch {
  using A = Accumulator<T>;
  PackedRows<A> rows;
  A* d_hidden;   // [chunk of the group, row of the block, dim]
  A* d_weights;  // [split, class of the group, dim], or null where the sum is made in place
  A* d_biases;   // [split, class of the group]
  std::vector<BackwardWorker<T>> workers;

  BackwardScratch(const SharedCandidates<T>& p, const Plan& plan, const Parallel& parallel,
                  Scratch* scratch)
      : rows(plan, p.dim(), true, scratch),
        d_hidden(scratch->Take<A>(plan.group * plan.block * p.dim())),
        d_weights(SumsInPlace(p, plan.num_splits)
                      ? nullptr
                      : scratch->Take<A>(plan.num_splits * plan.group * plan.chunk * p.dim())),
        d_biases(scratch->Take<A>(plan.num_splits * plan.group * plan.chunk)),
        workers(MakeWorkers<BackwardWorker<T>>(p, parallel, scratch)) {}
};

// Turns the logits of a row tile into their gradients.
template <typename T>
void GradientTile(const SharedCandidates<T>& p, const LogitGradient<Accumulator<T>>& gradient,
                  const ClassTile<T>& tile, int64_t first_row, int64_t rows, Accumulator<T>* z,
                  const Accumulator<T>* slope) {
  const auto& kernels = Kernels<Accumulator<T>>();
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t b = first_row + r;
    Accumulator<T>* row = z + r * kClassTile;
    if (!gradient.active[b]) {
      std::fill(row, row + tile.count(), Accumulator<T>{0});
      continue;
    }
    if (p.link == Link::kLogistic) {
      kernels.sigmoid(gradient.scale[b], row, tile.count());
    } else {
      kernels.softmax_gradient(gradient.max[b], gradient.log_sum[b], gradient.scale[b],
                               gradient.shift[b], row, tile.count());
      tile.ForLabels(b, [&](int64_t column, int64_t) { row[column] -= gradient.target[b]; });
    }
    if (slope != nullptr) {
      for (int64_t c = 0; c < tile.count(); ++c) row[c] *= slope[r * kClassTile + c];
    }
  }
}

}  // namespace

template <typename A>
SoftmaxStats<A> Combine(const SoftmaxStats<A>& x, const SoftmaxStats<A>& y) {
  SoftmaxStats<A> sum = {x.max > y.max ? x.max : y.max, 0, 0, x.count + y.count};
  for (const SoftmaxStats<A>* part : {&x, &y}) {
    // A part of no weight (no class, or all logits -inf) has no usable maximum.
    const A drop = part->sum_exp == 0 ? A{0} : part->max - sum.max;
    sum.sum_exp += part->sum_exp * std::exp(drop);
    sum.sum_shifted += part->sum_shifted + part->count * drop;
  }
  return sum;
}

template <typename T>
std::size_t SharedForwardScratchBytes(const SharedCandidates<T>& problem,
                                      const Parallel& parallel) {
  Scratch scratch;
  ForwardScratch<T>(problem, ForwardPlan(problem), parallel, &scratch);
  return scratch.used();
}

template <typename T>
void SharedForward(const SharedCandidates<T>& p, const Parallel& parallel, Scratch* memory,
                   SoftmaxStats<Accumulator<T>>* stats, Accumulator<T>* softplus,
                   Accumulator<T>* label_logits) {
  using A = Accumulator<T>;
  const auto& kernels = Kernels<A>();
  const Plan plan = ForwardPlan(p);
  ForwardScratch<T> scratch(p, plan, parallel, memory);
  const int64_t classes = p.classes(), dim = p.dim();

  for (int64_t block = 0; block < p.batch; block += plan.block) {
    const int64_t rows = std::min(plan.block, p.batch - block);
    scratch.rows.Pack(p.hidden + block * dim, rows, dim, parallel);
    const int64_t cost = plan.chunk * (rows / plan.num_splits + 1) * (dim / 8 + 2);
    parallel.For(plan.num_chunks * plan.num_splits, cost, [&](int64_t task, int worker) {
      ForwardWorker<T>& own = scratch.workers[worker];
      const int64_t chunk = task / plan.num_splits, split = task % plan.num_splits;
      const int64_t row_begin = plan.SplitBegin(split, rows);
      const int64_t row_end = plan.SplitBegin(split + 1, rows);
      SoftmaxStats<A>* sums = scratch.stats + chunk * plan.block;
      std::fill(sums + row_begin, sums + row_end, kNoClasses<A>);

      const int64_t class_end = std::min(classes, (chunk + 1) * plan.chunk);
      for (int64_t c = chunk * plan.chunk; c < class_end; c += kClassTile) {
        own.tile.Load(c, std::min(kClassTile, class_end - c));
        for (int64_t first = row_begin; first < row_end; first += kRowTile) {
          const int64_t count = std::min(kRowTile, row_end - first);
          const A* packed = scratch.rows.left + first / kRowTile * scratch.rows.left_stride;
          own.tile.Logits(packed, block + first, count, own.z, nullptr);
          for (int64_t r = 0; r < count; ++r) {
            const int64_t b = block + first + r;
            const A* z = own.z + r * kClassTile;
            if (p.link == Link::kLogistic) {
              sums[first + r].sum_exp += kernels.softplus_sum(z, own.tile.count());
              continue;
            }
            kernels.softmax_accumulate(z, own.tile.count(), &sums[first + r]);
            own.tile.ForLabels(b, [&](int64_t column, int64_t j) {
              label_logits[b * p.num_true + j] = z[column];
            });
          }
        }
      }
    });
    for (int64_t r = 0; r < rows; ++r) {
      SoftmaxStats<A> sum = kNoClasses<A>;
      A losses = 0;
      for (int64_t chunk = 0; chunk < plan.num_chunks; ++chunk) {
        const SoftmaxStats<A>& part = scratch.stats[chunk * plan.block + r];
        if (p.link == Link::kLogistic) {
          losses += part.sum_exp;
        } else {
          sum = Combine(sum, part);
        }
      }
      if (p.link == Link::kLogistic) {
        softplus[block + r] = losses;
      } else {
        stats[block + r] = sum;
      }
    }
  }
}

template <typename T>
std::size_t SharedBackwardScratchBytes(const SharedCandidates<T>& problem,
                                       const Parallel& parallel) {
  Scratch scratch;
  BackwardScratch<T>(problem, BackwardPlan(problem), parallel, &scratch);
  return scratch.used();
}

template <typename T>
void SharedBackward(const SharedCandidates<T>& p, const LogitGradient<Accumulator<T>>& gradient,
                    const Parallel& parallel, Scratch* memory, Accumulator<T>* d_hidden,
                    const Table<T>& d_weights, const Table<T>& d_biases) {
  using A = Accumulator<T>;
  const auto& kernels = Kernels<A>();
  const Plan plan = BackwardPlan(p);
  BackwardScratch<T> scratch(p, plan, parallel, memory);
  const int64_t classes = p.classes(), dim = p.dim();
  const int64_t group_classes = plan.group * plan.chunk;
  const bool in_place = scratch.d_weights == nullptr;

  for (int64_t group = 0; group < classes; group += group_classes) {
    const int64_t in_group = std::min(group_classes, classes - group);
    const int64_t chunks = CeilDiv(in_group, plan.chunk);
    A* const sums = in_place ? reinterpret_cast<A*>(d_weights.Row(group)) : scratch.d_weights;
    const int64_t sums_rows = in_place ? in_group : plan.num_splits * group_classes;
    std::fill(sums, sums + sums_rows * dim, A{0});
    std::fill(scratch.d_biases, scratch.d_biases + plan.num_splits * group_classes, A{0});

    for (int64_t block = 0; block < p.batch; block += plan.block) {
      const int64_t rows = std::min(plan.block, p.batch - block);
      scratch.rows.Pack(p.hidden + block * dim, rows, dim, parallel);
      const int64_t cost = plan.chunk * (rows / plan.num_splits + 1) * (dim / 3 + 2);
      parallel.For(chunks * plan.num_splits, cost, [&](int64_t task, int worker) {
        BackwardWorker<T>& own = scratch.workers[worker];
        const int64_t chunk = task / plan.num_splits, split = task % plan.num_splits;
        const int64_t row_begin = plan.SplitBegin(split, rows);
        const int64_t row_end = plan.SplitBegin(split + 1, rows);
        A* const partial = scratch.d_hidden + chunk * plan.block * dim;
        const int64_t class_begin = group + chunk * plan.chunk;
        const int64_t class_end = std::min(group + in_group, class_begin + plan.chunk);

        for (int64_t c = class_begin; c < class_end; c += kClassTile) {
          const int64_t count = std::min(kClassTile, class_end - c);
          const int64_t sums_row = split * group_classes + c - group;
          own.tile.Load(c, count);
          for (int64_t first = row_begin; first < row_end; first += kRowTile) {
            const int64_t tile_rows = std::min(kRowTile, row_end - first);
            const int64_t tile = first / kRowTile;
            own.tile.Logits(scratch.rows.left + tile * scratch.rows.left_stride, block + first,
                            tile_rows, own.z, own.slope);
            GradientTile(p, gradient, own.tile, block + first, tile_rows, own.z, own.slope);
            for (int64_t r = 0; r < tile_rows; ++r) {
              A* const z = own.z + r * kClassTile;
              kernels.axpy(1, z, scratch.d_biases + sums_row, count);
              if (p.round_bfloat16) kernels.round_bfloat16(z, count);
            }
            kernels.pack(own.z, 1, kClassTile, count, tile_rows, kernels.pack_m, own.packed);
            kernels.multiply(count, dim, tile_rows, own.packed,
                             scratch.rows.right + tile * scratch.rows.right_stride,
                             sums + sums_row * dim, dim, true);
            kernels.pack(own.z, kClassTile, 1, tile_rows, count, kernels.pack_m, own.packed);
            kernels.multiply(tile_rows, dim, count, own.packed, own.tile.for_hidden(),
                             partial + first * dim, dim, c != class_begin);
          }
        }
      });
      parallel.For(CeilDiv(rows, kRowTile), kRowTile * chunks * dim, [&](int64_t tile, int) {
        const int64_t first = tile * kRowTile, count = std::min(kRowTile, rows - first);
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          kernels.axpy(1, scratch.d_hidden + (chunk * plan.block + first) * dim,
                       d_hidden + (block + first) * dim, count * dim);
        }
      });
    }

    parallel.For(CeilDiv(in_group, kClassTile), kClassTile * dim * 2, [&](int64_t tile, int) {
      const int64_t last = std::min(in_group, (tile + 1) * kClassTile);
      for (int64_t c = tile * kClassTile; c < last; ++c) {
        A* total = sums + c * dim;
        A* bias = scratch.d_biases + c;
        for (int64_t split = 1; split < plan.num_splits; ++split) {
          kernels.axpy(1, total + split * group_classes * dim, total, dim);
          *bias += bias[split * group_classes];
        }
        if (!in_place) ConvertRow(total, d_weights.Row(group + c), dim);
        if (!d_biases.empty()) ConvertRow(bias, d_biases.Row(group + c), 1);
      }
    });
  }
}

#define FASTW2V_INSTANTIATE(T)                                                                     \
  template std::size_t SharedForwardScratchBytes<T>(const SharedCandidates<T>&, const Parallel&);  \
  template std::size_t SharedBackwardScratchBytes<T>(const SharedCandidates<T>&, const Parallel&); \
  template void SharedForward<T>(const SharedCandidates<T>&, const Parallel&, Scratch*,            \
                                 SoftmaxStats<Accumulator<T>>*, Accumulator<T>*, Accumulator<T>*); \
  template void SharedBackward<T>(const SharedCandidates<T>&,                                      \
                                  const LogitGradient<Accumulator<T>>&, const Parallel&, Scratch*, \
                                  Accumulator<T>*, const Table<T>&, const Table<T>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

template SoftmaxStats<float> Combine<float>(const SoftmaxStats<float>&, const SoftmaxStats<float>&);
template SoftmaxStats<double> Combine<double>(const SoftmaxStats<double>&,
                                              const SoftmaxStats<double>&);

}  // namespace fastw2v::cpu
