// What the kernels of the exact loss know of an example beside its logits, and what is done with it
// before and after them, in whichever way they are made (tile_loss.h, block_loss.h).
#ifndef FASTW2V_CUDA_LOSS_EXACT_EXAMPLES_H_
#define FASTW2V_CUDA_LOSS_EXACT_EXAMPLES_H_

#include <cstdint>
#include <type_traits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/loss/gradient_terms.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/partial_softmax.h"

namespace fastw2v::cuda {

template <typename A>
struct Examples {
  int64_t batch = 0, num_true = 1;
  int64_t classes = 0;  // that are here: all, or a part
  int64_t rows = 0;     // the batch, and rows of padding

  // [batch, num_true]: the number that a label has in the part; another number, where it is
  // elsewhere. `own_labels` is the same memory where it has to be written, or null.
  const int64_t* labels = nullptr;
  int64_t* own_labels = nullptr;
  IgnoredLabel ignored;
  int32_t* counts = nullptr;  // [rows]: labels that are not ignored; -1: something is out of range

  // The forward pass: sums over runs of classes [runs, rows], and logits [batch, num_true].
  int64_t runs = 0;
  PartialSoftmax<A>* sums = nullptr;
  A* label_logits = nullptr;

  // The backward pass: [rows], and the largest gradient that a logit can have (GradientUnit).
  RowGradientTerms<A>* terms = nullptr;
  uint8_t* active = nullptr;  // an example whose gradient is not zero
  uint32_t* largest = nullptr;

  Examples() = default;
  template <typename T>
  Examples(const LossProblem<T>& p, int64_t padded_rows, int64_t num_runs, Scratch* scratch)
      : batch(p.batch),
        num_true(p.num_true),
        classes(p.classes),
        rows(padded_rows),
        labels(p.labels),
        ignored(p.options.ignored),
        counts(scratch->Take<int32_t>(rows)),
        runs(num_runs),
        sums(scratch->Take<PartialSoftmax<A>>(runs * rows)),
        label_logits(scratch->Take<A>(batch * num_true)),
        terms(scratch->Take<RowGradientTerms<A>>(rows)),
        active(scratch->Take<uint8_t>(rows)),
        largest(scratch->Take<uint32_t>(1)) {
    if (p.part_of == 0) return;
    labels = own_labels = scratch->Take<int64_t>(batch * num_true);
    ignored = {};
  }
};

// Whether operands of products are rounded to bfloat16 and are not numbers of that type already.
template <typename T>
bool RoundsOperands(const LossProblem<T>& p) {
  return !std::is_same_v<T, BFloat16> && p.options.compute_dtype == ComputeDtype::kBFloat16;
}

// Counts and labels, and hidden rows [examples.rows, pitch] as operands of products: gathered,
// rounded if so asked, with zeros where there is no row or column.
template <typename T, typename E>
Status PrepareExamples(const LossProblem<T>& problem, const Examples<Accumulator<T>>& examples,
                       const Stream& stream, E* hidden, int64_t pitch);

// Rows of weights in the same way.
template <typename T, typename E>
Status PrepareWeights(const LossProblem<T>& problem, int64_t first, int64_t count,
                      const Stream& stream, E* weights, int64_t pitch);

struct RowRange {
  int64_t begin, end;
};

template <typename T>
Status FinishLoss(const LossProblem<T>& problem, const Examples<Accumulator<T>>& examples,
                  const RowRange& rows, const Stream& stream, Accumulator<T>* loss,
                  const Normalizer<Accumulator<T>>& normalizer);
template <typename T>
Status FinishPart(const LossProblem<T>& problem, const Examples<Accumulator<T>>& examples,
                  const Stream& stream, const SoftmaxPart<Accumulator<T>>& part);
// Of a part without a class. Other parts report that an example is out of range.
template <typename A>
Status FinishEmptyPart(int64_t batch, const Stream& stream, const SoftmaxPart<A>& part);

// `largest` is that of all rows from 0 to the last of the range that were prepared before.
template <typename T>
Status PrepareGradient(const LossProblem<T>& problem, const Examples<Accumulator<T>>& examples,
                       const RowRange& rows, const Accumulator<T>* d_loss,
                       const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_EXAMPLES_H_
