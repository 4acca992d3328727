#include "csrc/cpu/loss/shared_candidates.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "csrc/cpu/loss/products.h"
#include "csrc/cpu/loss/shared_plan.h"
#include "csrc/cpu/loss/tiles.h"

namespace fastw2v::cpu {

namespace {

// Coefficients of the gradients of the logits, of rows from the start of a block or tile, padded
// for vectors.
template <typename A>
struct Coefficients {
  int64_t size;
  A* max;
  A* log_sum;
  A* scale;
  A* shift;
  const A* target = nullptr;
  const bool* active = nullptr;

  Coefficients(int64_t size, Scratch* scratch)
      : size(size),
        max(scratch->Take<A>(size)),
        log_sum(scratch->Take<A>(size)),
        scale(scratch->Take<A>(size)),
        shift(scratch->Take<A>(size)) {}

  void Load(const LogitGradient<A>& gradient, int64_t first, int64_t rows) {
    const auto copy = [&](const A* from, A* to) {
      std::copy(from + first, from + first + rows, to);
      std::fill(to + rows, to + size, A{0});
    };
    copy(gradient.max, max);
    copy(gradient.log_sum, log_sum);
    copy(gradient.scale, scale);
    copy(gradient.shift, shift);
    target = gradient.target + first;
    active = gradient.active + first;
  }
};

// Running sums of rows, padded for vectors.
template <typename A>
struct RunningSums {
  SoftmaxSums<A> softmax{};
  A* softplus = nullptr;

  RunningSums() = default;
  RunningSums(int64_t size, Scratch* scratch)
      : softmax{scratch->Take<A>(size), scratch->Take<A>(size), scratch->Take<A>(size)},
        softplus(scratch->Take<A>(size)) {}

  RunningSums From(int64_t i) const {
    RunningSums sums;
    sums.softmax = {softmax.max + i, softmax.sum_exp + i, softmax.sum_shifted + i};
    sums.softplus = softplus + i;
    return sums;
  }
  // Sums over this many classes.
  RowSums<A> Row(int64_t i, int64_t classes) const {
    return {{softmax.max[i], softmax.sum_exp[i], softmax.sum_shifted[i], static_cast<A>(classes)},
            softplus[i]};
  }
  void Clear(int64_t count) const {
    std::fill(softmax.max, softmax.max + count, NoClasses<A>().max);
    std::fill(softmax.sum_exp, softmax.sum_exp + count, A{0});
    std::fill(softmax.sum_shifted, softmax.sum_shifted + count, A{0});
    std::fill(softplus, softplus + count, A{0});
  }
};

// One worker's own scratch.
template <typename T, typename P>
struct Worker {
  using A = Accumulator<T>;
  using Number = typename P::Number;
  ClassTile<T, P> tile;
  A* z = nullptr;          // where exponentials of a block are not stored, or not changed
  A* slope = nullptr;      // of the soft cap
  Number* left = nullptr;  // gradients of logits, as one product after the other needs them
  A* vector;               // numbers of a row tile
  A* unused;               // the same, which nobody reads
  // Few classes: everything of one row tile.
  PackedRows<A, P> rows;
  Coefficients<A> coefficients;
  RunningSums<A> sums;
  A* references = nullptr;  // [class tile, row]

  Worker(const SharedCandidates<T>& p, const Plan& plan, Passes passes, Scratch* scratch)
      : tile(p, plan.class_tile, plan.row_tile, passes, scratch),
        vector(scratch->Take<A>(plan.row_tile)),
        unused(scratch->Take<A>(plan.row_tile)),
        rows(plan.few ? 1 : 0, plan.row_tile, p.dim(), passes, scratch),
        coefficients(plan.few ? plan.row_tile : 0, scratch),
        sums(plan.few ? plan.row_tile : 0, scratch) {
    const int64_t tiles = CeilDiv(plan.group, plan.class_tile);
    if (plan.few) references = scratch->Take<A>(tiles * plan.row_tile);
    if (plan.few || !plan.stores || plan.early) {
      z = scratch->Take<A>((plan.few ? tiles : 1) * plan.class_tile * plan.row_tile);
    }
    if (passes == Passes::kForward) return;
    if (p.logits.softcap != 0) slope = scratch->Take<A>(plan.class_tile * plan.row_tile);
    left = scratch->Take<Number>(std::max(P::LeftSize(plan.class_tile, plan.row_tile),
                                          P::LeftSize(plan.row_tile, plan.class_tile)));
  }
};

// A tile of logits: the classes of worker.tile against rows [first_row, first_row + count).
template <typename A>
struct LogitTile {
  A* z;
  A* reference;  // [row]: what stored exponentials are relative to
  int64_t first_row;
  int64_t count;

  // In whole panels, or half of one.
  int64_t padded() const {
    const int64_t panel = Kernels<A>().panel;
    return count <= panel / 2 ? panel / 2 : RoundUp(count, panel);
  }
};

template <typename T, typename P>
class Driver {
  using A = Accumulator<T>;
  using Own = Worker<T, P>;
  using Right = typename P::Right;

 public:
  Driver(const SharedCandidates<T>& problem, Passes passes, const Parallel& parallel,
         Scratch* scratch)
      : p_(problem),
        passes_(passes),
        plan_(MakePlan(problem, passes)),
        parallel_(parallel),
        forward_chunks_(CeilDiv(std::max<int64_t>(p_.classes(), 1), plan_.forward_chunk)),
        rows_(plan_.few ? 0 : plan_.block / plan_.row_tile, plan_.row_tile, p_.dim(), passes,
              scratch),
        coefficients_(plan_.few ? 0 : plan_.block, scratch),
        sums_(plan_.few || !forward() ? 0 : forward_chunks_ * plan_.block, scratch) {
    if (backward()) {
      const int64_t classes = plan_.num_runs * plan_.group;
      d_biases_ = scratch->Take<A>(classes);
      if (!plan_.in_place) d_weights_ = scratch->Take<A>(classes * p_.dim());
      const int64_t chunks = plan_.early ? forward_chunks_ : plan_.num_chunks;
      if (plan_.early || chunks > 1) d_hidden_ = scratch->Take<A>(chunks * plan_.block * p_.dim());
    }
    if (plan_.stores && !plan_.few) {
      const int64_t tiles = CeilDiv(std::max<int64_t>(p_.classes(), 1), plan_.class_tile);
      stored_ = scratch->Take<A>(tiles * plan_.class_tile * plan_.block);
      references_ = scratch->Take<A>(tiles * plan_.block);
    }
    workers_.reserve(parallel.num_workers());
    for (int i = 0; i < parallel.num_workers(); ++i) {
      workers_.emplace_back(p_, plan_, passes, scratch);
    }
  }

  void Run(const SharedResults<A>& results, const Between& between,
           const LogitGradient<A>& gradient, const SharedGradients<T>& gradients) {
    label_logits_ = results.label_logits;
    if (plan_.few) {
      RunFew(results, between, gradient, gradients);
      return;
    }
    for (int64_t block = 0; block < p_.batch; block += plan_.block) {
      const int64_t rows = std::min(plan_.block, p_.batch - block);
      if (forward()) Forward(block, rows, results, gradients.d_hidden != nullptr);
      parallel_.For(CeilDiv(rows, plan_.row_tile), plan_.row_tile * 1000, [&](int64_t tile, int) {
        const int64_t first = block + tile * plan_.row_tile;
        between(first, std::min(first + plan_.row_tile, block + rows));
      });
      if (plan_.early && gradients.d_hidden != nullptr) {
        coefficients_.Load(gradient, block, rows);
        FinishHidden(block, rows, gradients.d_hidden);
      }
      if (plan_.stores) Backward(gradient, block, block + rows, gradients);
    }
    if (backward() && !(plan_.stores && p_.batch > 0)) Backward(gradient, 0, p_.batch, gradients);
  }

 private:
  bool forward() const { return passes_ != Passes::kBackward; }
  bool backward() const { return passes_ != Passes::kForward; }

  // ---- Few classes ----

  void RunFew(const SharedResults<A>& results, const Between& between,
              const LogitGradient<A>& gradient, const SharedGradients<T>& gradients) {
    A* const sums = Sums(0, gradients);
    if (backward()) ClearSums(p_.batch == 0 ? sums : nullptr);
    const int64_t cost = plan_.run * (p_.classes() * (p_.dim() / 4 + 8) + 1000);
    parallel_.For(CeilDiv(p_.batch, plan_.run), cost, [&](int64_t run, int worker) {
      const int64_t end = std::min(p_.batch, (run + 1) * plan_.run);
      for (int64_t row = run * plan_.run; row < end; row += plan_.row_tile) {
        RowTile(workers_[worker], row, std::min(plan_.row_tile, end - row), run, results, between,
                gradient, sums, gradients);
      }
    });
    if (backward()) Finish(0, p_.classes(), sums, gradients);
  }

  // Takes one tile of rows through everything.
  void RowTile(Own& own, int64_t row, int64_t count, int64_t run, const SharedResults<A>& results,
               const Between& between, const LogitGradient<A>& gradient, A* sums,
               const SharedGradients<T>& gradients) {
    const int64_t classes = p_.classes();
    own.rows.Pack(p_.hidden + row * p_.dim(), count, 0);
    const auto tile = [&](int64_t c) {
      return LogitTile<A>{own.z + c * plan_.row_tile,
                          own.references + c / plan_.class_tile * plan_.row_tile, row, count};
    };
    if (forward()) {
      own.sums.Clear(plan_.row_tile);
      for (int64_t c = 0; c < classes; c += plan_.class_tile) {
        own.tile.Load(c, std::min(plan_.class_tile, classes - c));
        ForwardTile(own, tile(c), own.rows.Transposed(0), own.sums, c, results);
      }
      for (int64_t r = 0; r < count; ++r) results.sums[row + r] = own.sums.Row(r, classes);
    }
    between(row, row + count);
    if (!backward()) return;
    own.coefficients.Load(gradient, row, count);
    for (int64_t c = 0; c < classes; c += plan_.class_tile) {
      own.tile.Load(c, std::min(plan_.class_tile, classes - c));
      const Right for_hidden = own.tile.ForHidden(count);
      LogitTile<A> gradient_tile = tile(c);
      GradientTile(own, &gradient_tile, own.rows.Transposed(0), own.coefficients, 0);
      const int64_t first = run * plan_.group + c;
      AddProducts(own, tile(c), own.rows.Rows(0, count), for_hidden, d_biases_ + first,
                  sums == nullptr ? nullptr : sums + first * p_.dim(), row != run * plan_.run,
                  gradients.d_hidden == nullptr ? nullptr : gradients.d_hidden + row * p_.dim(),
                  true, gradients);
    }
  }

  // ---- Many classes ----

  // Rows [block, block + rows) against all classes.
  void Forward(int64_t block, int64_t rows, const SharedResults<A>& results, bool wants_hidden) {
    const bool early = plan_.early && wants_hidden;
    PackBlock(block, rows);
    const int64_t cost = plan_.forward_chunk * std::min(rows, plan_.run) * (p_.dim() / 12 + 3);
    parallel_.For(forward_chunks_ * plan_.num_runs, cost, [&](int64_t task, int worker) {
      Own& own = workers_[worker];
      const int64_t chunk = task / plan_.num_runs, run = task % plan_.num_runs;
      const int64_t row_begin = std::min(rows, run * plan_.run);
      const int64_t row_end = std::min(rows, (run + 1) * plan_.run);
      const RunningSums<A> sums = sums_.From(chunk * plan_.block);
      if (row_begin < row_end)
        sums.From(row_begin).Clear(RoundUp(row_end, plan_.row_tile) - row_begin);
      const int64_t class_begin = chunk * plan_.forward_chunk;
      const int64_t class_end = std::min(p_.classes(), class_begin + plan_.forward_chunk);
      for (int64_t c = class_begin; c < class_end; c += plan_.class_tile) {
        own.tile.Load(c, std::min(plan_.class_tile, class_end - c));
        Right for_hidden{};
        if (early) for_hidden = own.tile.ForHidden(row_end - row_begin);
        for (int64_t row = row_begin; row < row_end; row += plan_.row_tile) {
          const LogitTile<A> tile =
              BlockTile(own, c, block, row, std::min(plan_.row_tile, row_end - row));
          const int64_t next = c + plan_.class_tile;
          PrefetchPart(p_.weights, next, class_end, row - row_begin, row_end - row_begin);
          const A* max = sums.From(row).softmax.max;
          if (early) std::copy(max, max + plan_.row_tile, own.vector);
          ForwardTile(own, tile, rows_.Transposed(row / plan_.row_tile), sums.From(row),
                      c - class_begin, results);
          if (!early) continue;
          AddHidden(own, tile, for_hidden, c == class_begin,
                    d_hidden_ + (chunk * plan_.block + row) * p_.dim());
        }
      }
    });
    parallel_.For(CeilDiv(rows, plan_.row_tile), plan_.row_tile * forward_chunks_ * 60,
                  [&](int64_t tile, int) {
                    const int64_t last = std::min(rows, (tile + 1) * plan_.row_tile);
                    for (int64_t r = tile * plan_.row_tile; r < last; ++r) {
                      RowSums<A> total;
                      for (int64_t chunk = 0; chunk < forward_chunks_; ++chunk) {
                        const int64_t begin = chunk * plan_.forward_chunk;
                        const int64_t end = std::min(p_.classes(), begin + plan_.forward_chunk);
                        const RowSums<A> part = sums_.Row(chunk * plan_.block + r, end - begin);
                        total.softmax =
                            Join(total.softmax, part.softmax, [](A x) { return std::exp(x); });
                        total.softplus += part.softplus;
                      }
                      results.sums[block + r] = total;
                    }
                  });
  }

  // Adds exponentials times weights to sums that are relative to own.vector, and will be to the
  // reference of the tile.
  void AddHidden(Own& own, const LogitTile<A>& tile, const Right& weights, bool first, A* sums) {
    const int64_t dim = p_.dim(), classes = own.tile.count();
    for (int64_t r = 0; r < tile.count && !first; ++r) {
      // Where nothing has competed so far, both are -inf.
      if (tile.reference[r] == own.vector[r]) continue;
      Updates<A>().scale(std::exp(own.vector[r] - tile.reference[r]), sums + r * dim, dim);
    }
    const A* exps = tile.z;
    if (Emulates()) {
      Kernels<A>().round_bfloat16(tile.z, own.z, classes * plan_.row_tile);
      exps = own.z;
    }
    const auto left = P::MakeLeft(tile.count, classes, {exps, plan_.row_tile, false}, own.left);
    P::Multiply(tile.count, dim, classes, left, weights, sums, dim, !first);
  }

  // What the sums of AddHidden() give to d_hidden, and the labels.
  void FinishHidden(int64_t block, int64_t rows, A* d_hidden) {
    const int64_t dim = p_.dim();
    parallel_.For(CeilDiv(rows, plan_.row_tile), plan_.row_tile * forward_chunks_ * dim / 4,
                  [&](int64_t tile, int worker) {
                    Own& own = workers_[worker];
                    const int64_t first = tile * plan_.row_tile,
                                  count = std::min(plan_.row_tile, rows - first);
                    for (int64_t chunk = 0; chunk < forward_chunks_; ++chunk) {
                      // The last tile of the chunk has the reference of its sums.
                      const int64_t last =
                          std::min((chunk + 1) * plan_.forward_chunk, p_.classes()) - 1;
                      Factors(own, references_ + last / plan_.class_tile * plan_.block + first,
                              coefficients_, first);
                      const A* sums = d_hidden_ + (chunk * plan_.block + first) * dim;
                      for (int64_t r = 0; r < count; ++r) {
                        if (!coefficients_.active[first + r]) continue;
                        Kernels<A>().axpy(p_.logits.scale * own.vector[r], sums + r * dim,
                                          d_hidden + (block + first + r) * dim, dim);
                      }
                    }
                    for (int64_t r = first; r < first + count; ++r) {
                      if (!coefficients_.active[r]) continue;
                      own.tile.ForLabelRows(block + r, [&](const A* weights, int64_t j) {
                        const A target = coefficients_.target[r] * LabelSlope(block + r, j);
                        Kernels<A>().axpy(-p_.logits.scale * target, weights,
                                          d_hidden + (block + r) * dim, dim);
                      });
                    }
                  });
  }

  // The gradients of stored exponentials' logits are own.vector times these.
  void Factors(Own& own, const A* reference, const Coefficients<A>& all, int64_t row) {
    std::copy(reference, reference + plan_.row_tile, own.vector);
    std::fill(own.unused, own.unused + plan_.row_tile, A{0});
    Kernels<A>().tile_softmax_gradient(own.vector, 1, plan_.row_tile, plan_.row_tile, nullptr,
                                       all.max + row, all.log_sum + row, all.scale + row,
                                       own.unused);
  }

  // Operands are rounded to bfloat16 beside the products.
  bool Emulates() const { return p_.compute_dtype == ComputeDtype::kBFloat16 && !P::kRounds; }

  // The classes of one group after another, each against rows [begin, end) of the batch. With
  // stored exponentials these are the block that Forward() has just computed.
  void Backward(const LogitGradient<A>& gradient, int64_t begin, int64_t end,
                const SharedGradients<T>& gradients) {
    for (int64_t group = 0; group < p_.classes(); group += plan_.group) {
      const int64_t classes = std::min(plan_.group, p_.classes() - group);
      A* const sums = Sums(group, gradients);
      if (begin == 0) ClearSums(p_.batch == 0 ? sums : nullptr);
      for (int64_t block = begin; block < end; block += plan_.block) {
        BackwardBlock(gradient, group, classes, block, std::min(plan_.block, end - block), sums,
                      gradients);
      }
      if (end == p_.batch) Finish(group, classes, sums, gradients);
    }
  }

  void BackwardBlock(const LogitGradient<A>& gradient, int64_t group, int64_t classes,
                     int64_t block, int64_t rows, A* sums, const SharedGradients<T>& gradients) {
    const int64_t dim = p_.dim();
    if (!plan_.stores) PackBlock(block, rows);
    coefficients_.Load(gradient, block, rows);
    const int64_t chunks = CeilDiv(classes, plan_.chunk);
    const bool partial = d_hidden_ != nullptr;
    const bool wants_hidden = gradients.d_hidden != nullptr && !plan_.early;
    const int64_t cost = plan_.chunk * std::min(rows, plan_.run) * (dim / 5 + 3);
    parallel_.For(chunks * plan_.num_runs, cost, [&](int64_t task, int worker) {
      Own& own = workers_[worker];
      const int64_t chunk = task / plan_.num_runs, run = task % plan_.num_runs;
      const int64_t row_begin = std::min(rows, run * plan_.run);
      const int64_t row_end = std::min(rows, (run + 1) * plan_.run);
      A* d_hidden = nullptr;  // of the rows of the block
      if (wants_hidden) {
        d_hidden =
            partial ? d_hidden_ + chunk * plan_.block * dim : gradients.d_hidden + block * dim;
      }
      const int64_t class_begin = group + chunk * plan_.chunk;
      const int64_t class_end = std::min(group + classes, class_begin + plan_.chunk);
      for (int64_t c = class_begin; c < class_end; c += plan_.class_tile) {
        const int64_t tile_classes = std::min(plan_.class_tile, class_end - c);
        if (plan_.early) {
          own.tile.Name(c, tile_classes);
        } else {
          own.tile.Load(c, tile_classes);
        }
        Right for_hidden{};
        if (wants_hidden) for_hidden = own.tile.ForHidden(row_end - row_begin);
        const int64_t first = run * plan_.group + c - group;
        for (int64_t row = row_begin; row < row_end; row += plan_.row_tile) {
          const int64_t count = std::min(plan_.row_tile, row_end - row);
          LogitTile<A> tile = BlockTile(own, c, block, row, count);
          if (plan_.in_place && sums != nullptr) {
            PrefetchPart(gradients.d_weights, c + plan_.class_tile, class_end, row - row_begin,
                         row_end - row_begin);
          }
          GradientTile(own, &tile, rows_.Transposed(row / plan_.row_tile), coefficients_, row);
          AddProducts(own, tile, rows_.Rows(row / plan_.row_tile, count), for_hidden,
                      d_biases_ + first, sums == nullptr ? nullptr : sums + first * dim,
                      block > 0 || row != row_begin, wants_hidden ? d_hidden + row * dim : nullptr,
                      !partial || c != class_begin, gradients);
        }
      }
    });
    if (!partial || !wants_hidden) return;
    parallel_.For(CeilDiv(rows, plan_.row_tile), plan_.row_tile * chunks * dim / 4,
                  [&](int64_t tile, int) {
                    const int64_t first = tile * plan_.row_tile,
                                  count = std::min(plan_.row_tile, rows - first);
                    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
                      Kernels<A>().axpy(1, d_hidden_ + (chunk * plan_.block + first) * dim,
                                        gradients.d_hidden + (block + first) * dim, count * dim);
                    }
                  });
  }

  // Of the tile of classes that begins at `next`, asks for the part that falls to one of the row
  // tiles before it, so that memory is read while the processor multiplies.
  template <typename R>
  void PrefetchPart(const Table<R>& table, int64_t next, int64_t end, int64_t row,
                    int64_t rows) const {
    const int64_t count = Clamp(end - next, 0, plan_.class_tile);
    const int64_t tiles = CeilDiv(rows, plan_.row_tile), tile = row / plan_.row_tile;
    for (int64_t c = count * tile / tiles; c < count * (tile + 1) / tiles; ++c) {
      PrefetchRow(table.Row(next + c), p_.dim());
    }
  }

  void PackBlock(int64_t block, int64_t rows) {
    const int64_t dim = p_.dim();
    parallel_.For(CeilDiv(rows, plan_.row_tile), plan_.row_tile * dim, [&](int64_t tile, int) {
      const int64_t first = tile * plan_.row_tile;
      rows_.Pack(p_.hidden + (block + first) * dim, std::min(plan_.row_tile, rows - first), tile);
    });
  }

  LogitTile<A> BlockTile(const Own& own, int64_t first_class, int64_t block, int64_t row,
                         int64_t count) const {
    if (!plan_.stores) return {own.z, own.unused, block + row, count};
    const int64_t number = first_class / plan_.class_tile;
    return {stored_ + (number * plan_.block + row) * plan_.class_tile,
            references_ + number * plan_.block + row, block + row, count};
  }

  // ---- One tile ----

  // Logits become exponentials or sigmoids and are added to `sums`, which are over `met` classes so
  // far.
  void ForwardTile(Own& own, const LogitTile<A>& tile, const Right& hidden,
                   const RunningSums<A>& sums, int64_t met, const SharedResults<A>& results) {
    const auto& kernels = Kernels<A>();
    const int64_t classes = own.tile.count(), padded = tile.padded();
    own.tile.Logits(hidden, tile.first_row, tile.count, padded, tile.z,
                    plan_.early ? own.slope : nullptr);
    if (p_.link == Link::kLogistic) {
      kernels.tile_sigmoid(tile.z, classes, padded, plan_.row_tile, own.tile.offset(),
                           sums.softplus);
      return;
    }
    std::copy(sums.softmax.max, sums.softmax.max + padded, tile.reference);
    kernels.tile_max(tile.z, classes, padded, plan_.row_tile, own.tile.offset(), tile.reference);
    for (int64_t r = 0; r < tile.count; ++r) {
      const int64_t b = tile.first_row + r;
      own.tile.ForLabels(b, [&](int64_t place, int64_t j) {
        results.label_logits[b * p_.num_true + j] = tile.z[place * plan_.row_tile + r];
      });
    }
    kernels.tile_exp(tile.z, classes, padded, plan_.row_tile, tile.reference, static_cast<A>(met),
                     sums.softmax);
    if (plan_.early && own.slope != nullptr) TakeSlopes(own, padded, tile.z);
  }

  // Logits, or what ForwardTile() has left of them, become their gradients: in place, or in the
  // worker's own tile, so that what was stored need not be written back to memory.
  void GradientTile(Own& own, LogitTile<A>* in_out, const Right& hidden, const Coefficients<A>& all,
                    int64_t row) {
    const auto& kernels = Kernels<A>();
    const LogitTile<A> tile = *in_out;
    const int64_t classes = own.tile.count(), padded = tile.padded();
    const A *max = all.max + row, *log_sum = all.log_sum + row;
    const A *scale = all.scale + row, *shift = all.shift + row;
    A* const z = plan_.early ? own.z : tile.z;
    in_out->z = z;
    if (!plan_.stores) {
      own.tile.Logits(hidden, tile.first_row, tile.count, padded, z, own.slope);
    }
    if (p_.link == Link::kLogistic) {
      if (!plan_.stores) {
        kernels.tile_sigmoid(z, classes, padded, plan_.row_tile, own.tile.offset(), own.unused);
      }
      kernels.tile_scale(z, classes, padded, plan_.row_tile, scale, shift, z);
    } else if (plan_.stores) {
      Factors(own, tile.reference, all, row);
      kernels.tile_scale(tile.z, classes, padded, plan_.row_tile, own.vector, shift, z);
    } else {
      kernels.tile_softmax_gradient(z, classes, padded, plan_.row_tile, own.tile.offset(), max,
                                    log_sum, scale, shift);
    }
    for (int64_t r = 0; r < tile.count; ++r) {
      if (!all.active[row + r]) {
        for (int64_t c = 0; c < classes; ++c) z[c * plan_.row_tile + r] = 0;
        continue;
      }
      const int64_t b = tile.first_row + r;
      own.tile.ForLabels(b, [&](int64_t place, int64_t j) {
        z[place * plan_.row_tile + r] -=
            all.target[row + r] * (plan_.early ? LabelSlope(b, j) : A{1});
      });
    }
    if (own.slope != nullptr && !plan_.early) TakeSlopes(own, padded, z);
  }

  void TakeSlopes(const Own& own, int64_t padded, A* z) const {
    const A* slope = own.slope;
    for (int64_t c = 0; c < own.tile.count(); ++c, z += plan_.row_tile, slope += plan_.row_tile) {
      for (int64_t r = 0; r < padded; ++r) z[r] *= slope[r];
    }
  }

  // Of the soft cap, at a label's logit that the forward pass has left.
  A LabelSlope(int64_t row, int64_t j) const {
    if (p_.logits.softcap == 0) return 1;
    const A z = label_logits_[row * p_.num_true + j] + p_.logits.margin;
    return CapSlope(z, p_.logits.softcap);
  }

  // Gradients of logits, which become those of the products, times rows and classes; d_weights and
  // d_hidden may be null.
  void AddProducts(Own& own, const LogitTile<A>& tile, const Right& rows, const Right& for_hidden,
                   A* d_biases, A* d_weights, bool add_weights, A* d_hidden, bool add_hidden,
                   const SharedGradients<T>& gradients) {
    const auto& kernels = Kernels<A>();
    const int64_t dim = p_.dim(), classes = own.tile.count(), count = tile.count;
    if (!gradients.d_biases.empty()) {
      kernels.tile_class_sums(tile.z, classes, count, plan_.row_tile, d_biases);
    }
    own.tile.Scale(tile.padded(), tile.z);
    if (Emulates()) kernels.round_bfloat16(tile.z, tile.z, classes * plan_.row_tile);
    if (d_weights != nullptr) {
      const auto left = P::MakeLeft(classes, count, {tile.z, plan_.row_tile, true}, own.left);
      P::Multiply(classes, dim, count, left, rows, d_weights, dim, add_weights);
    }
    if (d_hidden != nullptr) {
      const auto left = P::MakeLeft(count, classes, {tile.z, plan_.row_tile, false}, own.left);
      P::Multiply(count, dim, classes, left, for_hidden, d_hidden, dim, add_hidden);
    }
  }

  // ---- Sums of d_weights and d_biases ----

  // Where the first run of rows adds up d_weights of a group; null if nobody wants them.
  A* Sums(int64_t group, const SharedGradients<T>& gradients) const {
    if (gradients.d_weights.empty()) return nullptr;
    return plan_.in_place ? reinterpret_cast<A*>(gradients.d_weights.Row(group)) : d_weights_;
  }

  // `weights`, if not null: no row will be added to them.
  void ClearSums(A* weights) {
    std::fill(d_biases_, d_biases_ + plan_.num_runs * plan_.group, A{0});
    if (weights != nullptr) std::fill(weights, weights + plan_.group * p_.dim(), A{0});
  }

  // Adds up the runs of rows and hands out what is not yet where it is wanted.
  void Finish(int64_t group, int64_t classes, A* sums, const SharedGradients<T>& gradients) {
    const int64_t dim = p_.dim(), per_task = 192;
    const int64_t num_runs = plan_.num_runs;
    const bool moves_weights = sums != nullptr && !plan_.in_place;
    const int64_t cost = per_task * (moves_weights ? num_runs * dim / 4 : 2);
    parallel_.For(CeilDiv(classes, per_task), cost, [&](int64_t task, int) {
      const int64_t last = std::min(classes, (task + 1) * per_task);
      for (int64_t c = task * per_task; c < last; ++c) {
        A* bias = d_biases_ + c;
        for (int64_t run = 1; run < num_runs; ++run) *bias += bias[run * plan_.group];
        if (!gradients.d_biases.empty()) ConvertRow(bias, gradients.d_biases.Row(group + c), 1);
        if (!moves_weights) continue;
        A* total = sums + c * dim;
        for (int64_t run = 1; run < num_runs; ++run) {
          Kernels<A>().axpy(1, total + run * plan_.group * dim, total, dim);
        }
        ConvertRow(total, gradients.d_weights.Row(group + c), dim);
      }
    });
  }

  const SharedCandidates<T>& p_;
  const Passes passes_;
  const Plan plan_;
  const Parallel& parallel_;
  const int64_t forward_chunks_;
  PackedRows<A, P> rows_;
  Coefficients<A> coefficients_;
  RunningSums<A> sums_;              // [forward chunk, row of the block]
  A* d_biases_ = nullptr;            // [run, class of the group]
  A* d_weights_ = nullptr;           // [run, class of the group, dim]
  A* d_hidden_ = nullptr;            // [chunk, row of the block, dim]
  A* stored_ = nullptr;              // [class tile, row tile, class, row]
  const A* label_logits_ = nullptr;  // of the forward pass
  A* references_ = nullptr;          // [class tile, row of the block]
  std::vector<Own> workers_;
};

// Calls use(driver) with the products that the problem asks for and the processor has.
template <typename T, typename Use>
void Drive(const SharedCandidates<T>& problem, Passes passes, const Parallel& parallel,
           Scratch* scratch, Use use) {
  if constexpr (std::is_same_v<Accumulator<T>, float>) {
    if (problem.compute_dtype == ComputeDtype::kBFloat16 && MultipliesBFloat16()) {
      return use(Driver<T, BFloat16Products>(problem, passes, parallel, scratch));
    }
  }
  use(Driver<T, PlainProducts<Accumulator<T>>>(problem, passes, parallel, scratch));
}

}  // namespace

template <typename T>
std::size_t SharedScratchBytes(const SharedCandidates<T>& problem, Passes passes,
                               const Parallel& parallel) {
  Scratch scratch;
  Drive(problem, passes, parallel, &scratch, [](auto&&) {});
  return scratch.used();
}

template <typename T>
void SharedPasses(const SharedCandidates<T>& problem, Passes passes, const Parallel& parallel,
                  Scratch* scratch, const SharedResults<Accumulator<T>>& results,
                  const Between& between, const LogitGradient<Accumulator<T>>& gradient,
                  const SharedGradients<T>& gradients) {
  Drive(problem, passes, parallel, scratch,
        [&](auto&& driver) { driver.Run(results, between, gradient, gradients); });
}

#define FASTW2V_INSTANTIATE(T)                                                                     \
  template std::size_t SharedScratchBytes<T>(const SharedCandidates<T>&, Passes, const Parallel&); \
  template void SharedPasses<T>(const SharedCandidates<T>&, Passes, const Parallel&, Scratch*,     \
                                const SharedResults<Accumulator<T>>&, const Between&,              \
                                const LogitGradient<Accumulator<T>>&, const SharedGradients<T>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cpu
