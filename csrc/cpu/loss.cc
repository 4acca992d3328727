#include "csrc/core/loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels.h"
#include "csrc/cpu/shared_candidates.h"

namespace fastw2v {

namespace {

using cpu::Kernels;
using cpu::SharedCandidates;
using cpu::SoftmaxStats;

constexpr int64_t kRowsPerTask = 32;

int64_t NumTasks(int64_t rows) { return (rows + kRowsPerTask - 1) / kRowsPerTask; }

template <typename T>
bool Shared(const LossProblem<T>& p) {
  return p.candidates == Candidates::kShared;
}

// Candidates that an example has to itself: its labels, then its own sampled classes.
template <typename T>
int64_t OwnCandidates(const LossProblem<T>& p) {
  if (p.candidates == Candidates::kAll) return 0;
  return p.num_true + (p.candidates == Candidates::kPerExample ? p.num_sampled : 0);
}

template <typename T>
int64_t NumLabels(const LossProblem<T>& p, int64_t b) {
  int64_t count = 0;
  for (int64_t j = 0; j < p.num_true; ++j) count += !p.Ignored(p.labels[b * p.num_true + j]);
  return count;
}

// Scratch of forward and backward alike: operands in the accumulator's type.
template <typename T>
struct Operands {
  using A = Accumulator<T>;
  A* hidden = nullptr;         // scaled and rounded copy, or null where the input serves as it is
  int64_t* sampled = nullptr;  // shared candidates in ascending order
  int64_t* order = nullptr;    // their places in the caller's list
  A* sampled_weights = nullptr;
  A* sampled_biases = nullptr;
  A* log_q = nullptr;       // of the shared candidates
  int64_t* hits = nullptr;  // [batch * num_true, 2]
  A* own_logits = nullptr;  // [batch, own candidates]; in backward, their gradients

  Operands(const LossProblem<T>& p, Scratch* scratch) {
    if (p.options.logit_scale != 1 || p.options.round_bfloat16) {
      hidden = scratch->Take<A>(p.batch * p.dim());
    }
    own_logits = scratch->Take<A>(p.batch * OwnCandidates(p));
    if (!Shared(p)) return;
    sampled = scratch->Take<int64_t>(p.num_sampled);
    order = scratch->Take<int64_t>(p.num_sampled);
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
      const A scale = static_cast<A>(p.options.logit_scale);
      parallel.For(NumTasks(p.batch), kRowsPerTask * dim, [&](int64_t task, int) {
        const int64_t last = std::min(p.batch, (task + 1) * kRowsPerTask) * dim;
        const int64_t first = task * kRowsPerTask * dim;
        for (int64_t i = first; i < last; ++i) hidden[i] = scale * p.hidden[i];
        if (p.options.round_bfloat16) kernels.round_bfloat16(hidden + first, last - first);
      });
    }
    if (!Shared(p)) return;

    std::iota(order, order + p.num_sampled, 0);
    std::sort(order, order + p.num_sampled, [&](int64_t i, int64_t j) {
      return p.sampled[i] != p.sampled[j] ? p.sampled[i] < p.sampled[j] : i < j;
    });
    for (int64_t s = 0; s < p.num_sampled; ++s) sampled[s] = p.sampled[order[s]];
    parallel.For(NumTasks(p.num_sampled), kRowsPerTask * dim, [&](int64_t task, int) {
      const int64_t last = std::min(p.num_sampled, (task + 1) * kRowsPerTask);
      for (int64_t s = task * kRowsPerTask; s < last; ++s) {
        A* row = sampled_weights + s * dim;
        cpu::ConvertRow(p.weights.Row(sampled[s]), row, dim);
        if (p.options.round_bfloat16) kernels.round_bfloat16(row, dim);
        if (!p.biases.empty()) cpu::ConvertRow(p.biases.Row(sampled[s]), sampled_biases + s, 1);
        if (p.sampled_expected_count != nullptr) {
          log_q[s] = std::log(static_cast<A>(p.sampled_expected_count[order[s]]));
        }
      }
    });
    if (p.options.remove_accidental_hits) {
      for (int64_t i = 0; i < p.batch * p.num_true; ++i) {
        hits[2 * i] = hits[2 * i + 1] = 0;
        if (p.Ignored(p.labels[i])) continue;
        const auto range = std::equal_range(sampled, sampled + p.num_sampled, p.labels[i]);
        hits[2 * i] = range.first - sampled;
        hits[2 * i + 1] = range.second - sampled;
      }
    }
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
    if (p.options.has_ignore_label) shared.ignored_label = p.options.ignore_label;
    return shared;
  }

 private:
  template <typename R>
  SharedCandidates<R> Common(const LossProblem<T>& p) const {
    SharedCandidates<R> shared;
    shared.batch = p.batch;
    shared.hidden = Hidden(p);
    shared.num_true = p.num_true;
    shared.link = p.options.link;
    shared.softcap = static_cast<A>(p.options.logit_softcap);
    shared.round_bfloat16 = p.options.round_bfloat16;
    return shared;
  }
};

// One class that an example has to itself, as the loops over examples meet it.
template <typename T>
struct OwnCandidate {
  int64_t row = 0;        // of weights
  bool competes = false;  // false: an ignored label or an accidental hit
  float expected_count = 1;

  OwnCandidate(const LossProblem<T>& p, int64_t b, int64_t k) {
    if (k < p.num_true) {
      row = p.labels[b * p.num_true + k];
      competes = !p.Ignored(row);
      if (p.true_expected_count != nullptr) {
        expected_count = p.true_expected_count[b * p.num_true + k];
      }
      return;
    }
    const int64_t s = b * p.num_sampled + k - p.num_true;
    row = p.sampled[s];
    const int64_t* labels = p.labels + b * p.num_true;
    competes = !p.options.remove_accidental_hits || p.Ignored(row) ||
               std::find(labels, labels + p.num_true, row) == labels + p.num_true;
    if (p.sampled_expected_count != nullptr) expected_count = p.sampled_expected_count[s];
  }
};

// Reads one row of weights in the accumulator's type.
template <typename T>
class RowReader {
  using A = Accumulator<T>;

 public:
  explicit RowReader(const LossProblem<T>& p)
      : p_(p), copies_(!std::is_same_v<T, A> || p.options.round_bfloat16) {
    if (copies_) buffer_.resize(p.dim());
  }

  const A* Read(int64_t row) {
    const T* data = p_.weights.Row(row);
    if (!copies_) return reinterpret_cast<const A*>(data);
    cpu::ConvertRow(data, buffer_.data(), p_.dim());
    if (p_.options.round_bfloat16) Kernels<A>().round_bfloat16(buffer_.data(), p_.dim());
    return buffer_.data();
  }

 private:
  const LossProblem<T>& p_;
  const bool copies_;
  std::vector<A> buffer_;
};

// The logit of a class an example has to itself; slope, if not null, as in Kernels::softcap.
template <typename T>
Accumulator<T> OwnLogit(const LossProblem<T>& p, const OwnCandidate<T>& candidate,
                        const Accumulator<T>* hidden, const Accumulator<T>* weights,
                        Accumulator<T>* slope) {
  using A = Accumulator<T>;
  const auto& kernels = Kernels<A>();
  if (!candidate.competes) return -std::numeric_limits<A>::infinity();
  A z = kernels.dot(hidden, weights, p.dim());
  if (!p.biases.empty()) {
    A bias;
    cpu::ConvertRow(p.biases.Row(candidate.row), &bias, 1);
    z += bias;
  }
  if (p.options.logit_softcap != 0) {
    kernels.softcap(static_cast<A>(p.options.logit_softcap), &z, slope, 1);
  }
  return z - std::log(static_cast<A>(candidate.expected_count));
}

template <typename A>
A Softplus(A z) {
  return Kernels<A>().softplus_sum(&z, 1);
}

template <typename T>
struct ForwardScratch {
  using A = Accumulator<T>;
  Operands<T> operands;
  SoftmaxStats<A>* stats;
  A* softplus;
  A* label_logits;

  ForwardScratch(const LossProblem<T>& p, Scratch* scratch)
      : operands(p, scratch),
        stats(scratch->Take<SoftmaxStats<A>>(p.batch)),
        softplus(scratch->Take<A>(p.batch)),
        label_logits(scratch->Take<A>(p.batch * p.num_true)) {}
};

template <typename T>
struct BackwardScratch {
  using A = Accumulator<T>;
  Operands<T> operands;
  A* scale;
  A* shift;
  A* target;
  bool* active;
  A* sampled_d_weights = nullptr;
  A* sampled_d_biases = nullptr;

  BackwardScratch(const LossProblem<T>& p, Scratch* scratch)
      : operands(p, scratch),
        scale(scratch->Take<A>(p.batch)),
        shift(scratch->Take<A>(p.batch)),
        target(scratch->Take<A>(p.batch)),
        active(scratch->Take<bool>(p.batch)) {
    if (!Shared(p)) return;
    sampled_d_weights = scratch->Take<A>(p.num_sampled * p.dim());
    sampled_d_biases = scratch->Take<A>(p.num_sampled);
  }

  // Coefficients of the gradient of every logit of a row, from the gradient of its loss.
  cpu::LogitGradient<A> Fill(const LossProblem<T>& p, const A* d_loss,
                             const Normalizer<const A>& normalizer) {
    const A smoothing = static_cast<A>(p.options.label_smoothing);
    const A z_loss = static_cast<A>(p.options.z_loss);
    const bool softmax = p.options.link == Link::kSoftmax;
    for (int64_t b = 0; b < p.batch; ++b) {
      const int64_t labels = NumLabels(p, b);
      const A lse = softmax ? normalizer.max[b] + normalizer.log_sum[b] : A{0};
      active[b] = labels > 0;
      scale[b] = d_loss[b] * (z_loss == 0 ? 1 : 1 + 2 * z_loss * lse);
      shift[b] = d_loss[b] * smoothing / static_cast<A>(p.classes());
      target[b] =
          d_loss[b] * (softmax ? (1 - smoothing) / static_cast<A>(std::max<int64_t>(labels, 1))
                               : static_cast<A>(p.options.positive_target));
    }
    return {normalizer.max, normalizer.log_sum, scale, shift, target, active};
  }
};

// Logits of the classes that each example has to itself.
template <typename T>
void OwnForward(const LossProblem<T>& p, const Operands<T>& operands, const Parallel& parallel) {
  const int64_t own = OwnCandidates(p), dim = p.dim();
  parallel.For(NumTasks(p.batch), kRowsPerTask * own * dim, [&](int64_t task, int) {
    RowReader<T> reader(p);
    const int64_t last = std::min(p.batch, (task + 1) * kRowsPerTask);
    for (int64_t b = task * kRowsPerTask; b < last; ++b) {
      for (int64_t k = 0; k < own; ++k) {
        const OwnCandidate<T> candidate(p, b, k);
        operands.own_logits[b * own + k] =
            OwnLogit(p, candidate, operands.Hidden(p) + b * dim,
                     candidate.competes ? reader.Read(candidate.row) : nullptr, nullptr);
      }
    }
  });
}

// Gradients of those logits into operands.own_logits, and their part of d_hidden (overwritten).
template <typename T>
void OwnBackward(const LossProblem<T>& p, const cpu::LogitGradient<Accumulator<T>>& gradient,
                 const Operands<T>& operands, const Parallel& parallel, Accumulator<T>* d_hidden) {
  using A = Accumulator<T>;
  const auto& kernels = Kernels<A>();
  const int64_t own = OwnCandidates(p), dim = p.dim();
  parallel.For(NumTasks(p.batch), 2 * kRowsPerTask * own * dim, [&](int64_t task, int) {
    RowReader<T> reader(p);
    const int64_t last = std::min(p.batch, (task + 1) * kRowsPerTask);
    for (int64_t b = task * kRowsPerTask; b < last; ++b) {
      std::fill(d_hidden + b * dim, d_hidden + (b + 1) * dim, A{0});
      for (int64_t k = 0; k < own; ++k) {
        A& d_logit = operands.own_logits[b * own + k];
        d_logit = 0;
        const OwnCandidate<T> candidate(p, b, k);
        if (!candidate.competes || !gradient.active[b]) continue;
        const A* row = reader.Read(candidate.row);
        A slope = 1;
        A z = OwnLogit(p, candidate, operands.Hidden(p) + b * dim, row, &slope);
        if (p.options.link == Link::kLogistic) {
          kernels.sigmoid(gradient.scale[b], &z, 1);
        } else {
          kernels.softmax_gradient(gradient.max[b], gradient.log_sum[b], gradient.scale[b], A{0},
                                   &z, 1);
        }
        if (k < p.num_true) z -= gradient.target[b];
        d_logit = z * slope;
        kernels.axpy(d_logit, row, d_hidden + b * dim, dim);
      }
    }
  });
}

template <typename T>
Accumulator<T> SoftmaxLoss(const LossProblem<T>& p, int64_t b, const Accumulator<T>* label_logits,
                           const SoftmaxStats<Accumulator<T>>& stats, Accumulator<T> log_sum) {
  using A = Accumulator<T>;
  // Logits are compared with the maximum before anything is added to it: a large common offset
  // cancels exactly.
  A below_max = 0;
  for (int64_t j = 0; j < p.num_true; ++j) {
    if (!p.Ignored(p.labels[b * p.num_true + j])) below_max += stats.max - label_logits[j];
  }
  below_max /= static_cast<A>(NumLabels(p, b));
  const A smoothing = static_cast<A>(p.options.label_smoothing);
  A loss = log_sum + (1 - smoothing) * below_max;
  if (smoothing != 0) loss -= smoothing * stats.sum_shifted / stats.count;
  if (p.options.z_loss != 0) {
    const A lse = stats.max + log_sum;
    loss += static_cast<A>(p.options.z_loss) * lse * lse;
  }
  return loss;
}

template <typename T>
Accumulator<T> LogisticLoss(const LossProblem<T>& p, int64_t b, const Accumulator<T>* own_logits,
                            Accumulator<T> shared) {
  using A = Accumulator<T>;
  const A t = static_cast<A>(p.options.positive_target);
  A loss = shared;
  for (int64_t k = 0; k < OwnCandidates(p); ++k) {
    if (!OwnCandidate<T>(p, b, k).competes) continue;
    const A z = own_logits[k];
    // softplus(z) - t * z without the difference of two large numbers.
    loss += k < p.num_true ? (1 - t) * Softplus(z) + t * Softplus(-z) : Softplus(z);
  }
  return loss;
}

Status CheckCounts(const char* name, const float* counts, int64_t size) {
  for (int64_t i = 0; counts != nullptr && i < size; ++i) {
    if (!(counts[i] > 0)) {  // NaN too
      return InvalidArgument(name, "[", i, "] = ", counts[i], " is not positive");
    }
  }
  return Status();
}

}  // namespace

template <typename T>
Status CheckLossProblem(const LossProblem<T>& p) {
  FASTW2V_RETURN_IF_ERROR(cpu::CheckKernelChoice());
  const LossOptions& options = p.options;
  if (p.classes() < 1) return InvalidArgument("weights has no rows; there must be a class");
  if (!p.biases.empty() && p.biases.rows() != p.classes()) {
    return InvalidArgument("biases has ", p.biases.rows(), " entries, but weights has ",
                           p.classes(), " rows");
  }
  if (p.num_true < 1) return InvalidArgument("num_true = ", p.num_true, " is not at least 1");
  if (!(std::isfinite(options.logit_scale))) {
    return InvalidArgument("logit_scale = ", options.logit_scale, " is not finite");
  }
  if (!(options.logit_softcap >= 0) || !std::isfinite(options.logit_softcap)) {
    return InvalidArgument("logit_softcap = ", options.logit_softcap, " is not in [0, inf)");
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    return InvalidArgument("label_smoothing = ", options.label_smoothing, " is not in [0, 1)");
  }
  if (!(options.z_loss >= 0) || !std::isfinite(options.z_loss)) {
    return InvalidArgument("z_loss = ", options.z_loss, " is not in [0, inf)");
  }
  if (!(options.positive_target >= 0 && options.positive_target <= 1)) {
    return InvalidArgument("positive_target = ", options.positive_target, " is not in [0, 1]");
  }
  if (options.label_smoothing != 0 && p.candidates != Candidates::kAll) {
    return InvalidArgument("label_smoothing = ", options.label_smoothing,
                           " needs all classes to compete; sampled candidates take 0");
  }
  if (options.link == Link::kLogistic) {
    if (options.z_loss != 0) {
      return InvalidArgument("z_loss = ", options.z_loss,
                             " needs a softmax; logistic losses have no normaliser and take 0");
    }
    if (p.candidates == Candidates::kAll) {
      return InvalidArgument("the logistic link needs sampled candidates");
    }
  }
  for (int64_t i = 0; i < p.batch * p.num_true; ++i) {
    if (p.Ignored(p.labels[i])) continue;
    FASTW2V_RETURN_IF_ERROR(CheckId("labels", i, p.labels[i], p.classes()));
  }
  if (p.candidates == Candidates::kAll) return Status();
  if (p.num_sampled < 1) {
    return InvalidArgument("num_sampled = ", p.num_sampled, " is not at least 1");
  }
  const int64_t sampled =
      p.num_sampled * (p.candidates == Candidates::kPerExample ? p.batch : int64_t{1});
  FASTW2V_RETURN_IF_ERROR(CheckIds("sampled_candidates", p.sampled, sampled, p.classes()));
  FASTW2V_RETURN_IF_ERROR(
      CheckCounts("true_expected_count", p.true_expected_count, p.batch * p.num_true));
  return CheckCounts("sampled_expected_count", p.sampled_expected_count, sampled);
}

template <typename T>
std::size_t LossForwardScratchBytes(const LossProblem<T>& problem, const Parallel& parallel) {
  Scratch scratch;
  const ForwardScratch<T> pieces(problem, &scratch);
  if (problem.candidates == Candidates::kAll) {
    return scratch.used() +
           SharedForwardScratchBytes(pieces.operands.AllCandidates(problem), parallel);
  }
  if (!Shared(problem)) return scratch.used();
  return scratch.used() +
         SharedForwardScratchBytes(pieces.operands.SampledCandidates(problem), parallel);
}

template <typename T>
void LossForward(const LossProblem<T>& p, const Parallel& parallel, void* memory,
                 Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  using A = Accumulator<T>;
  Scratch scratch(memory);
  ForwardScratch<T> pieces(p, &scratch);
  Operands<T>& operands = pieces.operands;
  operands.Prepare(p, parallel);
  OwnForward(p, operands, parallel);

  std::fill(pieces.softplus, pieces.softplus + p.batch, A{0});
  std::fill(pieces.stats, pieces.stats + p.batch, cpu::kNoClasses<A>);
  if (p.candidates == Candidates::kAll) {
    SharedForward(operands.AllCandidates(p), parallel, &scratch, pieces.stats, pieces.softplus,
                  pieces.label_logits);
  } else if (Shared(p)) {
    SharedForward(operands.SampledCandidates(p), parallel, &scratch, pieces.stats, pieces.softplus,
                  pieces.label_logits);
  }

  const int64_t own = OwnCandidates(p);
  for (int64_t b = 0; b < p.batch; ++b) {
    normalizer.max[b] = normalizer.log_sum[b] = loss[b] = 0;
    if (NumLabels(p, b) == 0) continue;
    const A* own_logits = operands.own_logits + b * own;
    if (p.options.link == Link::kLogistic) {
      loss[b] = LogisticLoss(p, b, own_logits, pieces.softplus[b]);
      continue;
    }
    SoftmaxStats<A> stats = cpu::kNoClasses<A>;
    Kernels<A>().softmax_accumulate(own_logits, own, &stats);
    stats = cpu::Combine(stats, pieces.stats[b]);
    normalizer.max[b] = stats.max;
    normalizer.log_sum[b] = std::log(stats.sum_exp);
    const A* label_logits =
        p.candidates == Candidates::kAll ? pieces.label_logits + b * p.num_true : own_logits;
    loss[b] = SoftmaxLoss(p, b, label_logits, stats, normalizer.log_sum[b]);
  }
}

template <typename T>
std::size_t LossBackwardScratchBytes(const LossProblem<T>& problem, const Parallel& parallel) {
  Scratch scratch;
  const BackwardScratch<T> pieces(problem, &scratch);
  if (problem.candidates == Candidates::kAll) {
    return scratch.used() +
           SharedBackwardScratchBytes(pieces.operands.AllCandidates(problem), parallel);
  }
  if (!Shared(problem)) return scratch.used();
  return scratch.used() +
         SharedBackwardScratchBytes(pieces.operands.SampledCandidates(problem), parallel);
}

template <typename A>
void ScaleHidden(double logit_scale, int64_t size, A* d_hidden) {
  if (logit_scale == 1) return;
  for (int64_t i = 0; i < size; ++i) d_hidden[i] *= static_cast<A>(logit_scale);
}

template <typename T>
void ExactLossBackward(const LossProblem<T>& p, const Accumulator<T>* d_loss,
                       const Normalizer<const Accumulator<T>>& normalizer, const Parallel& parallel,
                       void* memory, Accumulator<T>* d_hidden, const Table<T>& d_weights,
                       const Table<T>& d_biases) {
  Scratch scratch(memory);
  BackwardScratch<T> pieces(p, &scratch);
  pieces.operands.Prepare(p, parallel);
  const auto gradient = pieces.Fill(p, d_loss, normalizer);
  const int64_t size = p.batch * p.dim();
  std::fill(d_hidden, d_hidden + size, Accumulator<T>{0});
  SharedBackward(pieces.operands.AllCandidates(p), gradient, parallel, &scratch, d_hidden,
                 d_weights, d_biases);
  ScaleHidden(p.options.logit_scale, size, d_hidden);
}

template <typename T>
RowGradient<Accumulator<T>> SampledLossBackward(const LossProblem<T>& p,
                                                const Accumulator<T>* d_loss,
                                                const Normalizer<const Accumulator<T>>& normalizer,
                                                const Parallel& parallel, void* memory,
                                                Accumulator<T>* d_hidden) {
  using A = Accumulator<T>;
  Scratch scratch(memory);
  BackwardScratch<T> pieces(p, &scratch);
  Operands<T>& operands = pieces.operands;
  operands.Prepare(p, parallel);
  const auto gradient = pieces.Fill(p, d_loss, normalizer);
  const int64_t own = OwnCandidates(p), dim = p.dim();
  OwnBackward(p, gradient, operands, parallel, d_hidden);

  std::vector<RowTerm<A>> terms;
  terms.reserve(p.batch * own + (Shared(p) ? p.num_sampled : 0));
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t k = 0; k < own; ++k) {
      const OwnCandidate<T> candidate(p, b, k);
      if (!candidate.competes) continue;
      const A d_logit = operands.own_logits[b * own + k];
      terms.push_back({candidate.row, b * own + k, d_logit, d_logit, operands.Hidden(p) + b * dim});
    }
  }
  if (Shared(p)) {
    SharedBackward(operands.SampledCandidates(p), gradient, parallel, &scratch, d_hidden,
                   Table<A>(pieces.sampled_d_weights, p.num_sampled, dim),
                   Table<A>(pieces.sampled_d_biases, p.num_sampled, 1));
    for (int64_t s = 0; s < p.num_sampled; ++s) {
      terms.push_back({operands.sampled[s], p.batch * own + s, A{1}, pieces.sampled_d_biases[s],
                       pieces.sampled_d_weights + s * dim});
    }
  }
  ScaleHidden(p.options.logit_scale, p.batch * dim, d_hidden);
  return SortTerms(std::move(terms));
}

template <typename T>
std::size_t LossWithGradientsScratchBytes(const LossProblem<T>& problem, const Parallel& parallel) {
  return std::max(LossForwardScratchBytes(problem, parallel),
                  LossBackwardScratchBytes(problem, parallel));
}

template <typename T>
void ExactLossWithGradients(const LossProblem<T>& p, const Accumulator<T>* d_loss,
                            const Parallel& parallel, void* scratch, Accumulator<T>* loss,
                            const Normalizer<Accumulator<T>>& normalizer, Accumulator<T>* d_hidden,
                            const Table<T>& d_weights, const Table<T>& d_biases) {
  LossForward(p, parallel, scratch, loss, normalizer);
  ExactLossBackward(p, d_loss, {normalizer.max, normalizer.log_sum}, parallel, scratch, d_hidden,
                    d_weights, d_biases);
}

template <typename T>
RowGradient<Accumulator<T>> SampledLossWithGradients(
    const LossProblem<T>& p, const Accumulator<T>* d_loss, const Parallel& parallel, void* scratch,
    Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer, Accumulator<T>* d_hidden) {
  LossForward(p, parallel, scratch, loss, normalizer);
  return SampledLossBackward(p, d_loss, {normalizer.max, normalizer.log_sum}, parallel, scratch,
                             d_hidden);
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
