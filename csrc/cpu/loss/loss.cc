#include "csrc/core/loss.h"

#include <algorithm>
#include <cmath>

#include "csrc/core/loss_formulas.h"
#include "csrc/core/own_candidates.h"
#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/prefetch.h"
#include "csrc/cpu/loss/shared_candidates.h"
#include "csrc/cpu/rows/row_keys.h"

namespace fastw2v {

namespace {

using cpu::Kernels;
using cpu::Passes;
using cpu::RowSums;
using cpu::SharedCandidates;

constexpr int64_t kRowsPerTask = 64;
// Rows of a tile of logits that examples have to themselves.
constexpr int64_t kOwnTile = cpu::kRowMultiple;

int64_t NumTasks(int64_t rows) { return (rows + kRowsPerTask - 1) / kRowsPerTask; }

template <typename T>
bool Shared(const LossProblem<T>& p) {
  return p.candidates == Candidates::kShared;
}

template <typename T>
int64_t OwnCandidates(const LossProblem<T>& p) {
  return p.candidates == Candidates::kAll ? 0 : NumOwnCandidates(p);
}

// Scratch of forward and backward alike: operands in the accumulator's type.
template <typename T>
struct Operands {
  using A = Accumulator<T>;
  A* hidden = nullptr;         // rounded copy, or null where the input serves as it is
  int64_t* sampled = nullptr;  // shared candidates in ascending order
  A* sampled_weights = nullptr;
  A* sampled_biases = nullptr;
  A* log_q = nullptr;       // of the shared candidates
  int64_t* hits = nullptr;  // [batch * num_true, 2]

  Operands(const LossProblem<T>& p, Scratch* scratch) {
    if (p.options.compute_dtype == ComputeDtype::kBFloat16)
      hidden = scratch->Take<A>(p.batch * p.dim());
    if (!Shared(p)) return;
    sampled = scratch->Take<int64_t>(p.num_sampled);
    sampled_weights = scratch->Take<A>(p.num_sampled * p.dim());
    sampled_biases = scratch->Take<A>(p.num_sampled);
    log_q = scratch->Take<A>(p.num_sampled);
    hits = scratch->Take<int64_t>(2 * p.batch * p.num_true);
  }

  const A* Hidden(const LossProblem<T>& p) const { return hidden == nullptr ? p.hidden : hidden; }

  void Prepare(const LossProblem<T>& p, const Parallel& parallel) {
    const auto& kernels = Kernels<A>();
    const int64_t dim = p.dim();
    if (hidden != nullptr) {
      parallel.For(NumTasks(p.batch), kRowsPerTask * dim, [&](int64_t task, int) {
        const int64_t last = std::min(p.batch, (task + 1) * kRowsPerTask) * dim;
        const int64_t first = task * kRowsPerTask * dim;
        kernels.round_bfloat16(p.hidden + first, hidden + first, last - first);
      });
    }
    if (!Shared(p)) return;

    std::vector<cpu::RowKey> keys(p.num_sampled);
    for (int64_t s = 0; s < p.num_sampled; ++s) keys[s] = {p.sampled[s], s};
    cpu::SortKeys(&keys);
    for (int64_t s = 0; s < p.num_sampled; ++s) {
      sampled[s] = keys[s].row;
      if (p.sampled_expected_count == nullptr) continue;
      log_q[s] = LogCount<A>(p.sampled_expected_count[keys[s].place]);
    }
    const int64_t gathers = NumTasks(p.num_sampled);
    const int64_t hit_tasks = p.options.remove_accidental_hits ? NumTasks(p.batch) : 0;
    parallel.For(gathers + hit_tasks, kRowsPerTask * (100 + dim), [&](int64_t task, int) {
      if (task < gathers) {
        GatherSampled(p, task * kRowsPerTask, std::min(p.num_sampled, (task + 1) * kRowsPerTask));
      } else {
        const int64_t first = (task - gathers) * kRowsPerTask;
        FindHits(p, first, std::min(p.batch, first + kRowsPerTask));
      }
    });
  }

  SharedCandidates<A> SampledCandidates(const LossProblem<T>& p) const {
    SharedCandidates<A> shared = Common<A>(p);
    shared.weights = Table<const A>(sampled_weights, p.num_sampled, p.dim());
    if (!p.biases.empty()) shared.biases = Table<const A>(sampled_biases, p.num_sampled, 1);
    if (p.sampled_expected_count != nullptr) shared.log_q = log_q;
    if (p.options.remove_accidental_hits) shared.hits = hits;
    return shared;
  }

  SharedCandidates<T> AllCandidates(const LossProblem<T>& p) const {
    SharedCandidates<T> shared = Common<T>(p);
    shared.weights = p.weights;
    shared.biases = p.biases;
    shared.labels = p.labels;
    shared.smooths = p.options.label_smoothing != 0;
    shared.first_class = p.first_class;
    shared.ignored = p.options.ignored;
    shared.excluded = p.excluded;
    return shared;
  }

 private:
  void GatherSampled(const LossProblem<T>& p, int64_t first, int64_t last) {
    const int64_t dim = p.dim(), distance = cpu::PrefetchDistance<T>(dim);
    for (int64_t s = first; s < last; ++s) {
      const int64_t ahead = std::min(s + distance, p.num_sampled - 1);
      cpu::PrefetchRow(p.weights.Row(sampled[ahead]), dim);
      A* row = sampled_weights + s * dim;
      cpu::ConvertRow(p.weights.Row(sampled[s]), row, dim);
      if (p.options.compute_dtype == ComputeDtype::kBFloat16)
        Kernels<A>().round_bfloat16(row, row, dim);
      if (!p.biases.empty()) cpu::ConvertRow(p.biases.Row(sampled[s]), sampled_biases + s, 1);
    }
  }

  // Of examples [first, last).
  void FindHits(const LossProblem<T>& p, int64_t first, int64_t last) {
    for (int64_t i = first * p.num_true; i < last * p.num_true; ++i) {
      hits[2 * i] = hits[2 * i + 1] = 0;
      if (p.options.ignored.Is(p.labels[i])) continue;
      const HitRange range = fastw2v::FindHits(sampled, p.num_sampled, p.labels[i]);
      hits[2 * i] = range.begin;
      hits[2 * i + 1] = range.end;
    }
  }

  template <typename R>
  SharedCandidates<R> Common(const LossProblem<T>& p) const {
    SharedCandidates<R> shared;
    shared.batch = p.batch;
    shared.hidden = Hidden(p);
    shared.num_true = p.num_true;
    shared.link = p.options.link;
    shared.logits = MakeLogitNumbers<A>(p.options);
    shared.compute_dtype = p.options.compute_dtype;
    return shared;
  }
};

// Reads one row of weights in the accumulator's type.
template <typename T>
class RowReader {
  using A = Accumulator<T>;

 public:
  explicit RowReader(const LossProblem<T>& p)
      : p_(p),
        copies_(!std::is_same_v<T, A> || p.options.compute_dtype == ComputeDtype::kBFloat16) {
    if (copies_) buffer_.resize(p.dim());
  }

  const A* Read(int64_t row) {
    const T* data = p_.weights.Row(row);
    if (!copies_) return reinterpret_cast<const A*>(data);
    cpu::ConvertRow(data, buffer_.data(), p_.dim());
    if (p_.options.compute_dtype == ComputeDtype::kBFloat16)
      Kernels<A>().round_bfloat16(buffer_.data(), buffer_.data(), p_.dim());
    return buffer_.data();
  }

 private:
  const LossProblem<T>& p_;
  const bool copies_;
  std::vector<A> buffer_;
};

// Every pass over the examples of a problem, in scratch memory of the caller.
template <typename T>
class LossPasses {
  using A = Accumulator<T>;

 public:
  LossPasses(const LossProblem<T>& problem, Passes passes, Scratch* scratch)
      : p_(problem),
        passes_(passes),
        numbers_(MakeLossNumbers<A>(problem.options, problem.all_classes())),
        own_(OwnCandidates(problem)),
        operands_(problem, scratch),
        own_z_(scratch->Take<A>(OwnTiles() * own_ * kOwnTile)) {
    if (passes != Passes::kBackward) {
      sums_ = scratch->Take<RowSums<A>>(p_.batch);
      label_logits_ = scratch->Take<A>(p_.batch * p_.num_true);
    }
    if (passes == Passes::kForward) return;
    own_reference_ = scratch->Take<A>(OwnTiles() * kOwnTile);
    if (p_.options.logit_softcap != 0) {
      own_slope_ = scratch->Take<A>(OwnTiles() * own_ * kOwnTile);
    }
    scale_ = scratch->Take<A>(p_.batch);
    shift_ = scratch->Take<A>(p_.batch);
    target_ = scratch->Take<A>(p_.batch);
    active_ = scratch->Take<bool>(p_.batch);
    if (!Shared(p_)) return;
    sampled_d_weights_ = scratch->Take<A>(p_.num_sampled * p_.dim());
    sampled_d_biases_ = scratch->Take<A>(p_.num_sampled);
  }

  // What the passes read and write; for exact losses also where gradients of the tables go.
  struct Arguments {
    const A* d_loss = nullptr;
    A* loss = nullptr;
    Normalizer<A> output;       // written by the forward pass, as loss is
    SoftmaxPart<A> part;        // written in their place, if it is there
    Normalizer<const A> input;  // read by the backward pass
    A* d_hidden = nullptr;      // null: not wanted
    Table<T> d_weights;
    Table<T> d_biases;
  };

  static std::size_t ScratchBytes(const LossProblem<T>& problem, Passes passes,
                                  const Parallel& parallel) {
    Scratch scratch;
    const LossPasses pieces(problem, passes, &scratch);
    const Operands<T>& operands = pieces.operands_;
    if (problem.candidates == Candidates::kAll) {
      const auto shared = operands.AllCandidates(problem);
      return scratch.used() + cpu::SharedScratchBytes(shared, passes, parallel);
    }
    if (!Shared(problem)) return scratch.used();
    const auto shared = operands.SampledCandidates(problem);
    return scratch.used() + cpu::SharedScratchBytes(shared, passes, parallel);
  }

  void Run(const Parallel& parallel, Scratch* scratch, const Arguments& arguments) {
    operands_.Prepare(p_, parallel);
    const cpu::Between between = [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b += kOwnTile) {
        Examples(b, std::min(kOwnTile, end - b), arguments);
      }
    };
    const cpu::SharedResults<A> results = {sums_, label_logits_};
    const cpu::LogitGradient<A> gradient = {
        arguments.input.max, arguments.input.log_sum, scale_, shift_, target_, active_};
    if (p_.candidates == Candidates::kAll) {
      cpu::SharedPasses(operands_.AllCandidates(p_), passes_, parallel, scratch, results, between,
                        gradient, {arguments.d_hidden, arguments.d_weights, arguments.d_biases});
    } else if (Shared(p_)) {
      cpu::SharedPasses(operands_.SampledCandidates(p_), passes_, parallel, scratch, results,
                        between, gradient,
                        {arguments.d_hidden, Table<A>(sampled_d_weights_, p_.num_sampled, p_.dim()),
                         Table<A>(sampled_d_biases_, p_.num_sampled, 1)});
    } else {
      if (forward()) std::fill(sums_, sums_ + p_.batch, RowSums<A>{});
      parallel.For(OwnTiles(), kOwnTile * own_ * (p_.dim() + 40), [&](int64_t tile, int) {
        between(tile * kOwnTile, std::min(p_.batch, (tile + 1) * kOwnTile));
      });
    }
  }

  // Terms of the gradients of sampled weights and biases, after Run().
  RowGradient<A> SampledTerms() const {
    std::vector<RowTerm<A>> terms;
    terms.reserve(p_.batch * own_ + (Shared(p_) ? p_.num_sampled : 0));
    for (int64_t b = 0; b < p_.batch; ++b) {
      for (int64_t k = 0; k < own_; ++k) {
        const OwnCandidate candidate = FindOwnCandidate(p_, b, k);
        if (!candidate.competes) continue;
        const A d_logit = OwnTile(own_z_, b)[k * kOwnTile + b % kOwnTile];
        terms.push_back({candidate.row, b * own_ + k, scale() * d_logit, d_logit,
                         operands_.Hidden(p_) + b * p_.dim()});
      }
    }
    for (int64_t s = 0; Shared(p_) && s < p_.num_sampled; ++s) {
      terms.push_back({operands_.sampled[s], p_.batch * own_ + s, A{1}, sampled_d_biases_[s],
                       sampled_d_weights_ + s * p_.dim()});
    }
    return SortTerms(std::move(terms));
  }

 private:
  bool forward() const { return passes_ != Passes::kBackward; }
  bool backward() const { return passes_ != Passes::kForward; }
  bool softmax() const { return numbers_.softmax; }
  A scale() const { return static_cast<A>(p_.options.logit_scale); }
  int64_t OwnTiles() const { return (p_.batch + kOwnTile - 1) / kOwnTile; }
  A* OwnTile(A* tiles, int64_t b) const { return tiles + b / kOwnTile * own_ * kOwnTile; }

  // What is done to examples [first, first + count), count <= kOwnTile, on their own: between the
  // passes over shared candidates, or in place of these.
  void Examples(int64_t first, int64_t count, const Arguments& arguments) {
    alignas(64) A own_softplus[kOwnTile] = {}, label_loss[kOwnTile] = {};
    PartialSoftmax<A> own_sums[kOwnTile];
    std::fill(own_sums, own_sums + kOwnTile, NoClasses<A>());
    OwnLogits(first, count);
    if (forward() || !softmax()) OwnForward(first, count, own_sums, own_softplus, label_loss);
    if (forward() && arguments.part.max != nullptr) {
      for (int64_t b = first; b < first + count; ++b) WritePart(b, arguments.part);
    } else if (forward()) {
      for (int64_t r = 0; r < count; ++r) {
        const int64_t b = first + r;
        arguments.output.max[b] = arguments.output.log_sum[b] = arguments.loss[b] = 0;
        if (NumLabels(p_, b) == 0) continue;
        if (softmax()) {
          const PartialSoftmax<A> sums =
              Join(own_sums[r], sums_[b].softmax, [](A x) { return std::exp(x); });
          arguments.output.max[b] = sums.max;
          arguments.output.log_sum[b] = std::log(sums.sum_exp);
          arguments.loss[b] = SoftmaxLossOf(b, sums, arguments.output.log_sum[b]);
        } else {
          arguments.loss[b] = sums_[b].softplus + own_softplus[r] + label_loss[r];
        }
      }
    }
    if (!backward()) return;
    FillCoefficients(first, count, arguments);
    OwnGradients(first, count, arguments.input);
    if (arguments.d_hidden != nullptr) OwnDHidden(first, count, arguments.d_hidden);
  }

  // Logits of the classes that each example has to itself; -inf where one does not compete.
  void OwnLogits(int64_t first, int64_t count) {
    if (own_ == 0) return;
    const auto& kernels = Kernels<A>();
    const int64_t dim = p_.dim();
    A* const z = OwnTile(own_z_, first);
    std::fill(z, z + own_ * kOwnTile, A{0});
    RowReader<T> reader(p_);
    const int64_t distance = cpu::PrefetchDistance<T>(dim);
    int64_t next_b = first, next_k = 0;  // the candidate whose row is asked for next
    const auto prefetch = [&] {
      if (next_b == first + count) return;
      const int64_t row = OwnRow(p_, next_b, next_k);
      if (next_k >= p_.num_true || !p_.options.ignored.Is(row))
        cpu::PrefetchRow(p_.weights.Row(row), dim);
      if (++next_k == own_) {
        next_k = 0;
        ++next_b;
      }
    };
    for (int64_t i = 0; i < distance; ++i) prefetch();
    for (int64_t r = 0; r < count; ++r) {
      const int64_t b = first + r;
      for (int64_t k = 0; k < own_; ++k) {
        prefetch();
        const OwnCandidate candidate = FindOwnCandidate(p_, b, k);
        A& logit = z[k * kOwnTile + r];
        if (!candidate.competes) {
          logit = -std::numeric_limits<A>::infinity();
          continue;
        }
        logit =
            scale() * kernels.dot(operands_.Hidden(p_) + b * dim, reader.Read(candidate.row), dim);
        if (p_.biases.empty()) continue;
        A bias;
        cpu::ConvertRow(p_.biases.Row(candidate.row), &bias, 1);
        logit += bias;
      }
    }
    if (p_.options.logit_softcap != 0) {
      kernels.softcap(static_cast<A>(p_.options.logit_softcap), z,
                      own_slope_ == nullptr ? nullptr : OwnTile(own_slope_, first),
                      own_ * kOwnTile);
    }
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t k = 0; k < own_; ++k) {
        const OwnCandidate candidate = FindOwnCandidate(p_, first + r, k);
        A& logit = z[k * kOwnTile + r];
        if (!candidate.competes) logit = -std::numeric_limits<A>::infinity();  // past the cap
        logit -= LogCount<A>(candidate.expected_count);
        if (forward() && k < p_.num_true) label_logits_[(first + r) * p_.num_true + k] = logit;
      }
    }
  }

  // Own logits become exponentials or sigmoids, and sums of them. Arrays of kOwnTile; padding rows
  // have logits of 0.
  void OwnForward(int64_t first, int64_t count, PartialSoftmax<A>* own_sums, A* own_softplus,
                  A* label_loss) {
    if (own_ == 0) return;
    const auto& kernels = Kernels<A>();
    A* const z = OwnTile(own_z_, first);
    if (softmax()) {
      alignas(64) A unused[kOwnTile], max[kOwnTile], sum_exp[kOwnTile] = {};
      alignas(64) A sum_shifted[kOwnTile] = {};
      A* const largest = own_reference_ == nullptr ? unused : own_reference_ + first;
      std::fill(max, max + kOwnTile, NoClasses<A>().max);
      std::copy(max, max + kOwnTile, largest);
      kernels.tile_max(z, own_, kOwnTile, kOwnTile, nullptr, largest);
      kernels.tile_exp(z, own_, kOwnTile, kOwnTile, largest, 0, {max, sum_exp, sum_shifted});
      for (int64_t r = 0; r < kOwnTile; ++r) {
        own_sums[r] = {max[r], sum_exp[r], sum_shifted[r], static_cast<A>(own_)};
      }
      return;
    }
    const A none = -std::numeric_limits<A>::infinity();
    for (int64_t k = 0; k < p_.num_true; ++k) {
      A* const label = z + k * kOwnTile;
      alignas(64) A negative[kOwnTile], below[kOwnTile] = {}, above[kOwnTile] = {};
      for (int64_t r = 0; r < kOwnTile; ++r) {
        const bool competes =
            r >= count || !p_.options.ignored.Is(p_.labels[(first + r) * p_.num_true + k]);
        negative[r] = competes ? -label[r] : none;
      }
      kernels.tile_sigmoid(negative, 1, kOwnTile, kOwnTile, nullptr, below);
      kernels.tile_sigmoid(label, 1, kOwnTile, kOwnTile, nullptr, above);
      for (int64_t r = 0; r < kOwnTile; ++r) {
        label_loss[r] += LabelLoss(numbers_.positive_target, above[r], below[r]);
      }
    }
    kernels.tile_sigmoid(z + p_.num_true * kOwnTile, own_ - p_.num_true, kOwnTile, kOwnTile,
                         nullptr, own_softplus);
  }

  A SoftmaxLossOf(int64_t b, const PartialSoftmax<A>& sums, A log_sum) const {
    A below_max = 0;
    for (int64_t i = b * p_.num_true; i < (b + 1) * p_.num_true; ++i) {
      if (!p_.options.ignored.Is(p_.labels[i])) below_max += sums.max - label_logits_[i];
    }
    below_max /= static_cast<A>(NumLabels(p_, b));
    return SoftmaxLoss(numbers_, sums.max, log_sum, below_max, sums.sum_shifted);
  }

  // The logits of labels that are classes of another part are not here.
  void WritePart(int64_t b, const SoftmaxPart<A>& part) const {
    const PartialSoftmax<A>& sums = sums_[b].softmax;
    A below_max = 0;
    for (int64_t i = b * p_.num_true; i < (b + 1) * p_.num_true; ++i) {
      if (p_.options.ignored.Is(p_.labels[i])) continue;
      const int64_t row = p_.labels[i] - p_.first_class;
      if (row < 0 || row >= p_.classes()) continue;
      below_max += BelowMax(sums, label_logits_[i]);
    }
    part.max[b] = sums.max;
    part.sum_exp[b] = sums.sum_exp;
    part.below_max[b] = below_max;
    part.sum_shifted[b] = sums.sum_shifted;
  }

  // How the gradients of the logits of an example follow from the gradient of its loss.
  void FillCoefficients(int64_t first, int64_t count, const Arguments& arguments) {
    for (int64_t b = first; b < first + count; ++b) {
      const int64_t labels = NumLabels(p_, b);
      const GradientTerms<A> terms =
          MakeGradientTerms(numbers_, arguments.d_loss[b], arguments.input.max[b],
                            arguments.input.log_sum[b], labels);
      active_[b] = labels > 0;
      scale_[b] = terms.scale;
      shift_[b] = terms.shift;
      target_[b] = terms.target;
    }
  }

  // Own logits, or what OwnForward() has left of them, become their gradients.
  void OwnGradients(int64_t first, int64_t count, const Normalizer<const A>& normalizer) {
    if (own_ == 0) return;
    const auto& kernels = Kernels<A>();
    A* const z = OwnTile(own_z_, first);
    alignas(64) A max[kOwnTile] = {}, log_sum[kOwnTile] = {}, scale[kOwnTile] = {};
    alignas(64) A zero[kOwnTile] = {};
    std::copy(normalizer.max + first, normalizer.max + first + count, max);
    std::copy(normalizer.log_sum + first, normalizer.log_sum + first + count, log_sum);
    std::copy(scale_ + first, scale_ + first + count, scale);
    if (!softmax()) {
      kernels.tile_scale(z, own_, kOwnTile, kOwnTile, scale, zero, z);
    } else if (forward()) {
      A* const factor = own_reference_ + first;
      kernels.tile_softmax_gradient(factor, 1, kOwnTile, kOwnTile, nullptr, max, log_sum, scale,
                                    zero);
      kernels.tile_scale(z, own_, kOwnTile, kOwnTile, factor, zero, z);
    } else {
      kernels.tile_softmax_gradient(z, own_, kOwnTile, kOwnTile, nullptr, max, log_sum, scale,
                                    zero);
    }
    const A* const slope = own_slope_ == nullptr ? nullptr : OwnTile(own_slope_, first);
    for (int64_t k = 0; k < own_; ++k) {
      for (int64_t r = 0; r < count; ++r) {
        A& d_logit = z[k * kOwnTile + r];
        if (!active_[first + r] || !FindOwnCandidate(p_, first + r, k).competes) {
          d_logit = 0;
          continue;
        }
        if (k < p_.num_true) d_logit -= target_[first + r];
        if (slope != nullptr) d_logit *= slope[k * kOwnTile + r];
      }
    }
  }

  // What own classes give to d_hidden, which it overwrites.
  void OwnDHidden(int64_t first, int64_t count, A* d_hidden) {
    const int64_t dim = p_.dim();
    std::fill(d_hidden + first * dim, d_hidden + (first + count) * dim, A{0});
    if (own_ == 0) return;
    const A* const z = OwnTile(own_z_, first);
    RowReader<T> reader(p_);
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t k = 0; k < own_; ++k) {
        const OwnCandidate candidate = FindOwnCandidate(p_, first + r, k);
        if (!candidate.competes || !active_[first + r]) continue;
        Kernels<A>().axpy(scale() * z[k * kOwnTile + r], reader.Read(candidate.row),
                          d_hidden + (first + r) * dim, dim);
      }
    }
  }

  const LossProblem<T>& p_;
  const Passes passes_;
  const LossNumbers<A> numbers_;
  const int64_t own_;
  Operands<T> operands_;
  A* own_z_;                    // [tile of examples, own candidate, example]
  A* own_slope_ = nullptr;      // the same, of the soft cap
  A* own_reference_ = nullptr;  // [batch], padded
  RowSums<A>* sums_ = nullptr;  // [batch], of shared candidates
  A* label_logits_ = nullptr;
  A* scale_ = nullptr;
  A* shift_ = nullptr;
  A* target_ = nullptr;
  bool* active_ = nullptr;
  A* sampled_d_weights_ = nullptr;
  A* sampled_d_biases_ = nullptr;
};

// `classes` are those that the counts are of. One that a sampler never draws cannot be a label.
Status CheckCounts(const char* name, const float* counts, const int64_t* classes, int64_t size) {
  for (int64_t i = 0; counts != nullptr && i < size; ++i) {
    if (counts[i] > 0) continue;
    const char* advice =
        counts[i] == 0 ? ": it has count 0 in samplers.Unigram(counts); add 1 to the counts" : "";
    return InvalidArgument(name, "[", i, "] = ", counts[i], " is not positive, of class ",
                           classes[i], advice);
  }
  return Status();
}

}  // namespace

Status CheckExcluded(const int64_t* excluded, int64_t batch, int64_t classes) {
  for (int64_t b = 0; excluded != nullptr && b < batch; ++b) {
    const int64_t begin = excluded[2 * b], end = excluded[2 * b + 1];
    if (begin >= 0 && begin <= end && end <= classes) continue;
    return InvalidArgument("excluded[", b, "] = [", begin, ", ", end,
                           ") is not a range of classes in [0, ", classes, ")");
  }
  return Status();
}

template <typename T>
Status CheckLossProblem(const LossProblem<T>& p) {
  FASTW2V_RETURN_IF_ERROR(cpu::CheckKernelChoice());
  FASTW2V_RETURN_IF_ERROR(CheckLossOptions(p.options, p.candidates, p.all_classes(), p.num_true));
  FASTW2V_RETURN_IF_ERROR(CheckPart(p.first_class, p.classes(), p.all_classes()));
  if (!p.biases.empty()) FASTW2V_RETURN_IF_ERROR(CheckBiasRows(p.biases.rows(), p.classes()));
  for (int64_t i = 0; i < p.batch * p.num_true; ++i) {
    if (p.options.ignored.Is(p.labels[i])) continue;
    FASTW2V_RETURN_IF_ERROR(CheckId("labels", i, p.labels[i], p.all_classes()));
  }
  if (p.excluded != nullptr && p.options.label_smoothing != 0) {
    return InvalidArgument("label_smoothing = ", p.options.label_smoothing,
                           " needs all classes to compete; with excluded classes it must be 0");
  }
  FASTW2V_RETURN_IF_ERROR(CheckExcluded(p.excluded, p.batch, p.classes()));
  if (p.candidates == Candidates::kAll) return Status();
  FASTW2V_RETURN_IF_ERROR(CheckNumSampled(p.candidates, p.num_sampled));
  const int64_t sampled =
      p.num_sampled * (p.candidates == Candidates::kPerExample ? p.batch : int64_t{1});
  FASTW2V_RETURN_IF_ERROR(CheckIds("sampled_candidates", p.sampled, sampled, p.classes()));
  FASTW2V_RETURN_IF_ERROR(
      CheckCounts("true_expected_count", p.true_expected_count, p.labels, p.batch * p.num_true));
  return CheckCounts("sampled_expected_count", p.sampled_expected_count, p.sampled, sampled);
}

template <typename T>
std::size_t LossForwardScratchBytes(const LossProblem<T>& problem, const Parallel& parallel) {
  return LossPasses<T>::ScratchBytes(problem, Passes::kForward, parallel);
}

template <typename T>
std::size_t LossBackwardScratchBytes(const LossProblem<T>& problem, const Parallel& parallel) {
  return LossPasses<T>::ScratchBytes(problem, Passes::kBackward, parallel);
}

template <typename T>
std::size_t LossWithGradientsScratchBytes(const LossProblem<T>& problem, const Parallel& parallel) {
  return LossPasses<T>::ScratchBytes(problem, Passes::kBoth, parallel);
}

template <typename T>
void LossForward(const LossProblem<T>& p, const Parallel& parallel, void* memory,
                 Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  Scratch scratch(memory);
  typename LossPasses<T>::Arguments arguments;
  arguments.loss = loss;
  arguments.output = normalizer;
  LossPasses<T>(p, Passes::kForward, &scratch).Run(parallel, &scratch, arguments);
}

template <typename T>
void SoftmaxPartForward(const LossProblem<T>& p, const Parallel& parallel, void* memory,
                        const SoftmaxPart<Accumulator<T>>& part) {
  Scratch scratch(memory);
  typename LossPasses<T>::Arguments arguments;
  arguments.part = part;
  LossPasses<T>(p, Passes::kForward, &scratch).Run(parallel, &scratch, arguments);
}

template <typename T>
void ExactLossBackward(const LossProblem<T>& p, const Accumulator<T>* d_loss,
                       const Normalizer<const Accumulator<T>>& normalizer, const Parallel& parallel,
                       void* memory, Accumulator<T>* d_hidden, const Table<T>& d_weights,
                       const Table<T>& d_biases) {
  Scratch scratch(memory);
  LossPasses<T>(p, Passes::kBackward, &scratch)
      .Run(parallel, &scratch,
           {d_loss, nullptr, {}, {}, normalizer, d_hidden, d_weights, d_biases});
}

template <typename T>
void ExactLossWithGradients(const LossProblem<T>& p, const Accumulator<T>* d_loss,
                            const Parallel& parallel, void* memory, Accumulator<T>* loss,
                            const Normalizer<Accumulator<T>>& normalizer, Accumulator<T>* d_hidden,
                            const Table<T>& d_weights, const Table<T>& d_biases) {
  Scratch scratch(memory);
  LossPasses<T>(p, Passes::kBoth, &scratch)
      .Run(parallel, &scratch,
           {d_loss,
            loss,
            normalizer,
            {},
            {normalizer.max, normalizer.log_sum},
            d_hidden,
            d_weights,
            d_biases});
}

template <typename T>
RowGradient<Accumulator<T>> SampledLossBackward(const LossProblem<T>& p,
                                                const Accumulator<T>* d_loss,
                                                const Normalizer<const Accumulator<T>>& normalizer,
                                                const Parallel& parallel, void* memory,
                                                Accumulator<T>* d_hidden) {
  Scratch scratch(memory);
  LossPasses<T> passes(p, Passes::kBackward, &scratch);
  passes.Run(parallel, &scratch, {d_loss, nullptr, {}, {}, normalizer, d_hidden, {}, {}});
  return passes.SampledTerms();
}

template <typename T>
RowGradient<Accumulator<T>> SampledLossWithGradients(
    const LossProblem<T>& p, const Accumulator<T>* d_loss, const Parallel& parallel, void* memory,
    Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer, Accumulator<T>* d_hidden) {
  Scratch scratch(memory);
  LossPasses<T> passes(p, Passes::kBoth, &scratch);
  passes.Run(
      parallel, &scratch,
      {d_loss, loss, normalizer, {}, {normalizer.max, normalizer.log_sum}, d_hidden, {}, {}});
  return passes.SampledTerms();
}

#define FASTW2V_INSTANTIATE(T)                                                                   \
  template std::size_t LossWithGradientsScratchBytes<T>(const LossProblem<T>&, const Parallel&); \
  template void ExactLossWithGradients<T>(                                                       \
      const LossProblem<T>&, const Accumulator<T>*, const Parallel&, void*, Accumulator<T>*,     \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*, const Table<T>&, const Table<T>&);     \
  template RowGradient<Accumulator<T>> SampledLossWithGradients<T>(                              \
      const LossProblem<T>&, const Accumulator<T>*, const Parallel&, void*, Accumulator<T>*,     \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*);                                       \
  template Status CheckLossProblem<T>(const LossProblem<T>&);                                    \
  template std::size_t LossForwardScratchBytes<T>(const LossProblem<T>&, const Parallel&);       \
  template std::size_t LossBackwardScratchBytes<T>(const LossProblem<T>&, const Parallel&);      \
  template void LossForward<T>(const LossProblem<T>&, const Parallel&, void*, Accumulator<T>*,   \
                               const Normalizer<Accumulator<T>>&);                               \
  template void SoftmaxPartForward<T>(const LossProblem<T>&, const Parallel&, void*,             \
                                      const SoftmaxPart<Accumulator<T>>&);                       \
  template void ExactLossBackward<T>(const LossProblem<T>&, const Accumulator<T>*,               \
                                     const Normalizer<const Accumulator<T>>&, const Parallel&,   \
                                     void*, Accumulator<T>*, const Table<T>&, const Table<T>&);  \
  template RowGradient<Accumulator<T>> SampledLossBackward<T>(                                   \
      const LossProblem<T>&, const Accumulator<T>*, const Normalizer<const Accumulator<T>>&,     \
      const Parallel&, void*, Accumulator<T>*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
