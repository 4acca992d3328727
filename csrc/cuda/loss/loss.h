// The losses of csrc/core/loss.h on a GPU: the same formulas and the same options.
//
// All pointers of a problem are to memory of the device, and every function works on the stream
// alone: nothing is allocated, nothing is waited for, no value is looked at on the host. So
//   - an id, label or sampled class that is out of range cannot be refused. No memory outside a
//     table is read or written for it; the example's loss is NaN and it has no gradient (an id or a
//     label of its own; a shared sampled class: all examples);
//   - gradients of rows are padded, since their number is known on the device alone: rows that
//     repeat the largest one, with values of 0.
//
// Products: 16-bit tables on tensor cores with sums in float. Sampled losses with a shared list,
// and exact ones of other types or wider than a kernel's registers, leave products to the stream's
// library (gemm.h): float in TF32 where allow_tf32 says so. Same bits on every run on one kind of
// device.
#ifndef FASTW2V_CUDA_LOSS_LOSS_H_
#define FASTW2V_CUDA_LOSS_LOSS_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/loss.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/rows/row_gradient.h"

namespace fastw2v::cuda {

template <typename T>
struct LossProblem {
  int64_t batch = 0;
  int64_t classes = 0;
  int64_t dim = 0;
  // Hidden row b is row b of `hidden` or, where ids are given, row ids[b] of its hidden_rows.
  const T* hidden = nullptr;
  const int64_t* ids = nullptr;
  int64_t hidden_rows = 0;
  const T* weights = nullptr;       // [classes, dim]
  const T* biases = nullptr;        // [classes], or null for none
  const int64_t* labels = nullptr;  // [batch, num_true]
  int64_t num_true = 1;

  Candidates candidates = Candidates::kAll;
  const int64_t* sampled = nullptr;  // [num_sampled] or, per example, [batch, num_sampled]
  int64_t num_sampled = 0;
  const float* true_expected_count = nullptr;
  const float* sampled_expected_count = nullptr;

  LossOptions options;
  bool allow_tf32 = false;

  // Exact only: a part of the classes, as in csrc/core/loss.h, maybe an empty one.
  int64_t first_class = 0;
  int64_t part_of = 0;

  int64_t all_classes() const { return part_of == 0 ? classes : part_of; }
};

// What can be checked without the device: numbers and options.
template <typename T>
Status CheckLossProblem(const LossProblem<T>& problem) {
  if (problem.candidates == Candidates::kAll && problem.dim == 0) {
    return InvalidArgument("hidden rows have 0 columns; on a GPU they need at least 1");
  }
  FASTW2V_RETURN_IF_ERROR(CheckLossOptions(problem.options, problem.candidates,
                                           problem.all_classes(), problem.num_true));
  FASTW2V_RETURN_IF_ERROR(CheckPart(problem.first_class, problem.classes, problem.all_classes()));
  return CheckNumSampled(problem.candidates, problem.num_sampled);
}

// ---- all classes compete (exact_loss.cu)

template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device& device);

// loss [batch] and the normalizer, overwritten.
template <typename T>
Status ExactLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer);

// The forward pass of a part, of which csrc/cuda/loss/softmax_parts.h makes losses: NaN for an
// example whose loss is.
template <typename T>
Status SoftmaxPartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          const SoftmaxPart<Accumulator<T>>& part);

// Gradients of sum_b d_loss[b] * loss[b], overwritten; null: not wanted. d_hidden [batch, dim] (of
// a part, given the normalizer of all: what its classes give), d_weights [classes, dim], d_biases
// [classes].
template <typename T>
Status ExactLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                         const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                         void* scratch, Accumulator<T>* d_hidden, T* d_weights, T* d_biases);

// Loss and gradients for a d_loss that is known before.
template <typename T>
Status ExactLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                              const Stream& stream, void* scratch, Accumulator<T>* loss,
                              const Normalizer<Accumulator<T>>& normalizer,
                              Accumulator<T>* d_hidden, T* d_weights, T* d_biases);

// ---- sampled classes compete (sampled_loss.cu)

// Of the gradient of weights: true classes and sampled ones.
template <typename T>
int64_t SampledRowCapacity(const LossProblem<T>& problem) {
  const int64_t lists = problem.candidates == Candidates::kPerExample ? problem.batch : 1;
  return problem.batch * problem.num_true + lists * problem.num_sampled;
}

template <typename T>
std::size_t SampledLossScratchBytes(const LossProblem<T>& problem, const Device& device);

template <typename T>
Status SampledLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer);

template <typename T>
Status SampledLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                           const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                           void* scratch, Accumulator<T>* d_hidden,
                           const RowGradient<T>& d_weights);

template <typename T>
Status SampledLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                                const Stream& stream, void* scratch, Accumulator<T>* loss,
                                const Normalizer<Accumulator<T>>& normalizer,
                                Accumulator<T>* d_hidden, const RowGradient<T>& d_weights);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_LOSS_H_
