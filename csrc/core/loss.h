// Softmax and logistic losses of hidden rows against candidate classes, as
// csrc/core/loss_formulas.h defines them; logits are never stored.
//
// Work: 2BCD operations forward, 6BCD backward for C candidates. Results do not depend on the
// number of threads. B == 0 does nothing. NaN and Inf in a table spread as they do in stored
// logits.
#ifndef FASTW2V_CORE_LOSS_H_
#define FASTW2V_CORE_LOSS_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/gather.h"
#include "csrc/core/loss_options.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/table.h"
#include "csrc/core/types.h"

namespace fastw2v {

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

  // Softmax over all classes: classes [excluded[2b], excluded[2b + 1]) do not compete for example
  // b, but for its labels; null: all do.
  const int64_t* excluded = nullptr;

  LossOptions options;

  // Exact only: the weights may be a part of the table, of classes [first_class, first_class +
  // classes()) of so many; 0: they are the table. A label may be in another part.
  int64_t first_class = 0;
  int64_t part_of = 0;

  int64_t classes() const { return weights.rows(); }
  int64_t all_classes() const { return part_of == 0 ? classes() : part_of; }
  int64_t dim() const { return weights.dim(); }
};

// What forward leaves for backward, each [batch]: the logarithm of the normalizer is max + log_sum.
// Kept apart, since their sum loses the small one where all logits share a large offset. Unused
// (left at 0) by the logistic link.
template <typename A>
struct Normalizer {
  A* max = nullptr;
  A* log_sum = nullptr;
};

// Ranges [batch, 2] of classes.
Status CheckExcluded(const int64_t* excluded, int64_t batch, int64_t classes);

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

// The statistics of one part of the classes for an exact softmax loss, each [batch]; the losses
// follow from all parts together (csrc/core/softmax_parts.h).
template <typename A>
struct SoftmaxPart {
  A* max = nullptr;          // the largest logit, -inf where there is no class
  A* sum_exp = nullptr;      // of exp(z - max)
  A* below_max = nullptr;    // the sum of max - z over the labels that are classes of the part
  A* sum_shifted = nullptr;  // of z - max
};

// The forward pass of a part; scratch as for LossForward.
template <typename T>
void SoftmaxPartForward(const LossProblem<T>& problem, const Parallel& parallel, void* scratch,
                        const SoftmaxPart<Accumulator<T>>& part);

// Gradients of sum_b d_loss[b] * loss[b] where all classes compete. All are overwritten:
// d_hidden [batch, dim] (null: not wanted), d_weights [classes, dim] and d_biases [classes, 1]
// (empty: not wanted). What nobody wants is not computed. Of a part, given the normalizer of all,
// d_hidden is what its classes give.
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
