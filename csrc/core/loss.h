// Softmax and logistic losses of hidden rows against candidate classes; logits are never stored.
//
//   x[b,c] = logit_scale * dot(hidden[b,:], weights[c,:]) + biases[c]
//   z[b,c] = softcap(x[b,c]) - log(expected_count[c])       softcap(x) = cap * tanh(x / cap)
//
// The candidates of example b are all classes (exact), or its true classes followed by sampled ones
// (one list for the whole batch, or a list per example). With n labels that are not ignored:
//
//   softmax   loss[b] = lse - (1-e)/n * sum_true z - e/V * sum_c z + z_loss * lse^2,
//             lse = log sum_c exp(z[b,c]), e = label_smoothing (exact only)
//   logistic  loss[b] = sum_true (softplus(z) - t*z) + sum_sampled softplus(z),  t =
//   positive_target
//
// All losses are in nats. An example whose labels are all ignored has loss 0 and no gradient. A
// sampled class that is one of the example's labels (accidental hit) does not compete, if so asked.
//
// Work: 2BCD operations forward, 6BCD backward for C candidates. Results do not depend on the
// number of threads. B == 0 does nothing. NaN and Inf in a table spread as they do in stored
// logits.
#ifndef FASTW2V_CORE_LOSS_H_
#define FASTW2V_CORE_LOSS_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/gather.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/table.h"
#include "csrc/core/types.h"

namespace fastw2v {

enum class Link { kSoftmax, kLogistic };

struct LossOptions {
  Link link = Link::kSoftmax;
  double logit_scale = 1;
  double logit_softcap = 0;    // 0: none
  double label_smoothing = 0;  // [0, 1)
  double z_loss = 0;           // >= 0
  double positive_target = 1;  // [0, 1], logistic only
  bool remove_accidental_hits = false;
  bool has_ignore_label = false;
  int64_t ignore_label = 0;
  bool round_bfloat16 = false;  // the operands of matrix products are rounded to bfloat16
};

enum class Candidates { kAll, kShared, kPerExample };

template <typename T>
struct LossProblem {
  int64_t batch = 0;
  const Accumulator<T>* hidden = nullptr;  // [batch, dim]
  Table<const T> weights;                  // [classes, dim]
  Table<const T> biases;                   // [classes, 1], or empty for none
  const int64_t* labels = nullptr;         // [batch, num_true], each in [0, classes) or ignored
  int64_t num_true = 1;

  Candidates candidates = Candidates::kAll;
  const int64_t* sampled = nullptr;  // [num_sampled] or, per example, [batch, num_sampled]
  int64_t num_sampled = 0;
  // Positive, of the shapes of labels and sampled; null: nothing is subtracted from the logits.
  const float* true_expected_count = nullptr;
  const float* sampled_expected_count = nullptr;

  LossOptions options;

  int64_t classes() const { return weights.rows(); }
  int64_t dim() const { return weights.dim(); }
  bool Ignored(int64_t label) const {
    return options.has_ignore_label && label == options.ignore_label;
  }
};

// What forward leaves for backward, each [batch]: the logarithm of the normaliser is max + log_sum.
// Kept apart, since their sum loses the small one where all logits share a large offset. Unused
// (left at 0) by the logistic link.
template <typename A>
struct Normalizer {
  A* max = nullptr;
  A* log_sum = nullptr;
};

template <typename T>
Status CheckLossProblem(const LossProblem<T>& problem);

// Bytes of scratch, aligned to Scratch::kAlignment, for a forward or a backward call.
template <typename T>
std::size_t LossForwardScratchBytes(const LossProblem<T>& problem, const Parallel& parallel);
template <typename T>
std::size_t LossBackwardScratchBytes(const LossProblem<T>& problem, const Parallel& parallel);

// loss [batch], overwritten.
template <typename T>
void LossForward(const LossProblem<T>& problem, const Parallel& parallel, void* scratch,
                 Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer);

// Gradients of sum_b d_loss[b] * loss[b] where all classes compete. All are overwritten:
// d_hidden [batch, dim] (null: not wanted), d_weights [classes, dim] and d_biases [classes, 1]
// (empty: not wanted). What nobody wants is not computed.
template <typename T>
void ExactLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                       const Normalizer<const Accumulator<T>>& normalizer, const Parallel& parallel,
                       void* scratch, Accumulator<T>* d_hidden, const Table<T>& d_weights,
                       const Table<T>& d_biases);

// The same for sampled candidates. The gradients of weights and biases come as terms per row, for
// SortTerms and SumTerms; the terms point into `problem.hidden` and `scratch`.
template <typename T>
RowGradient<Accumulator<T>> SampledLossBackward(const LossProblem<T>& problem,
                                                const Accumulator<T>* d_loss,
                                                const Normalizer<const Accumulator<T>>& normalizer,
                                                const Parallel& parallel, void* scratch,
                                                Accumulator<T>* d_hidden);

// Loss and gradients together, for a d_loss that is known before the loss is, as in a mean or a
// sum: what LossForward and then the backward function give, within rounding, with less work.
template <typename T>
std::size_t LossWithGradientsScratchBytes(const LossProblem<T>& problem, const Parallel& parallel);
template <typename T>
void ExactLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                            const Parallel& parallel, void* scratch, Accumulator<T>* loss,
                            const Normalizer<Accumulator<T>>& normalizer, Accumulator<T>* d_hidden,
                            const Table<T>& d_weights, const Table<T>& d_biases);
template <typename T>
RowGradient<Accumulator<T>> SampledLossWithGradients(const LossProblem<T>& problem,
                                                     const Accumulator<T>* d_loss,
                                                     const Parallel& parallel, void* scratch,
                                                     Accumulator<T>* loss,
                                                     const Normalizer<Accumulator<T>>& normalizer,
                                                     Accumulator<T>* d_hidden);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_LOSS_H_
