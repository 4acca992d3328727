// The gradients of a loss as tensors: made by the core, or kept from the forward op and handed on.
#ifndef FASTW2V_TENSORFLOW_LOSS_LOSS_GRADIENTS_H_
#define FASTW2V_TENSORFLOW_LOSS_LOSS_GRADIENTS_H_

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/core/gather.h"
#include "csrc/core/loss.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/rows.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

// The gradients of all float inputs, in the order of the gradient op's outputs.
template <typename T, bool kSampled>
class Gradients : public GradientTensors {
 public:
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

  // `call` must outlive this; `wanted` says of each tensor whether anybody asks for it.
  Gradients(const Call<T, kSampled>& call, const std::function<bool(int)>& wanted)
      : GradientTensors(call, wanted), call_(call) {}

  // Memory for what the core writes in place.
  absl::Status Allocate(OpKernelContext* context) {
    if (WantsHidden()) {
      const LossProblem<Core>& problem = call_.problem;
      // Activations of the accumulator's type get their gradient written straight into the tensor.
      const bool direct = !call_.gathers() && std::is_same_v<Core, A>;
      Tensor* memory = direct ? &tensors_[d_inputs_] : &hidden_memory_;
      TF_RETURN_IF_ERROR(AllocateTensor(context, DataTypeToEnum<A>::value,
                                        TensorShape({problem.batch, problem.dim()}), memory));
      d_hidden_ = memory->template flat<A>().data();
    }
    if constexpr (kSampled) return absl::OkStatus();
    TF_RETURN_IF_ERROR(AllocateDense(context, call_.weights, d_weights_, &weights_));
    return AllocateDense(context, call_.biases, d_biases_, &biases_);
  }

  // Where the core is to write: null or empty for what nobody asks for.
  A* d_hidden() const { return d_hidden_; }
  const Table<Core>& d_weights() const { return weights_; }
  const Table<Core>& d_biases() const { return biases_; }

  // The gradients of the sampled classes, while the terms live.
  absl::Status WriteClasses(OpKernelContext* context, const RowGradient<A>& gradient,
                            const Parallel& parallel) {
    TF_RETURN_IF_ERROR(WriteSparse(context, gradient, call_.weights, weights_rows_, d_weights_,
                                   /*rank=*/2, parallel));
    return WriteSparse(context, gradient, call_.biases, biases_rows_, d_biases_, /*rank=*/1,
                       parallel);
  }

  // The gradient of what d_hidden was made from.
  absl::Status WriteHidden(OpKernelContext* context, const Parallel& parallel) {
    if (!WantsHidden()) return absl::OkStatus();
    const LossProblem<Core>& problem = call_.problem;
    if (call_.gathers()) {
      const RowGradient<A> gradient = SortTerms(BagTerms(call_.bags, d_hidden_, problem.dim()));
      return WriteSparse(context, gradient, call_.embeddings, embeddings_rows_, d_embeddings_,
                         /*rank=*/2, parallel);
    }
    if constexpr (!std::is_same_v<Core, A>) {
      Tensor* d_inputs = &tensors_[d_inputs_];
      TF_RETURN_IF_ERROR(AllocateTensor(context, DataTypeToEnum<T>::value,
                                        TensorShape({problem.batch, problem.dim()}), d_inputs));
      RoundRows(d_hidden_, problem.batch, problem.dim(), parallel,
                CoreData<Core>(d_inputs->flat<T>().data()));
    }
    return absl::OkStatus();
  }

 private:
  bool Wants(int first, int count) const {
    if (first < 0) return false;
    const auto begin = wanted_.begin() + first;
    return std::find(begin, begin + count, true) != begin + count;
  }

  bool WantsHidden() const {
    return call_.gathers() ? Wants(embeddings_rows_, 2 * call_.embeddings.num_shards())
                           : Wants(d_inputs_, 1);
  }

  absl::Status AllocateDense(OpKernelContext* context, const TableArgument& table, int first,
                             Table<Core>* gradient) {
    if (table.empty() || !Wants(first, table.num_shards())) return absl::OkStatus();
    std::vector<Core*> shards;
    for (int i = 0; i < table.num_shards(); ++i) {
      Tensor* tensor = &tensors_[first + i];
      TF_RETURN_IF_ERROR(
          AllocateTensor(context, DataTypeToEnum<T>::value, table.shard_shape(i), tensor));
      shards.push_back(CoreData<Core>(tensor->flat<T>().data()));
    }
    *gradient = Table<Core>(std::move(shards), table.rows(), table.dim());
    return absl::OkStatus();
  }

  absl::Status WriteSparse(OpKernelContext* context, const RowGradient<A>& gradient,
                           const TableArgument& table, int first_rows, int first_values, int rank,
                           const Parallel& parallel) {
    const int num_shards = table.num_shards();
    if (!Wants(first_rows, num_shards) && !Wants(first_values, num_shards)) {
      return absl::OkStatus();
    }
    return WriteRows<T>(context, gradient, table, rank, parallel, &tensors_[first_rows],
                        &tensors_[first_values]);
  }

  const Call<T, kSampled>& call_;
  Tensor hidden_memory_;
  A* d_hidden_ = nullptr;
  Table<Core> weights_, biases_;
};

// The outputs of a gradient op, from its inputs d_loss, max and log_sum.
template <typename T, bool kSampled>
absl::Status ComputeGradients(OpKernelContext* context, Call<T, kSampled>* call) {
  using A = typename Gradients<T, kSampled>::A;
  const auto& problem = call->problem;
  const A* d_loss;
  Normalizer<const A> normalizer;
  TF_RETURN_IF_ERROR(ReadBackwardInputs(context, problem.batch, &d_loss, &normalizer));

  const TensorFlowParallel parallel(context);
  Tensor hidden_memory;
  TF_RETURN_IF_ERROR(call->Gather(context, parallel, &hidden_memory));
  Gradients<T, kSampled> gradients(*call, [&](int i) { return context->output_required(i); });
  TF_RETURN_IF_ERROR(gradients.Allocate(context));
  ScratchMemory scratch;
  TF_RETURN_IF_ERROR(scratch.Allocate(context, LossBackwardScratchBytes(problem, parallel)));
  if constexpr (kSampled) {
    const RowGradient<A> rows = SampledLossBackward(problem, d_loss, normalizer, parallel,
                                                    scratch.data(), gradients.d_hidden());
    TF_RETURN_IF_ERROR(gradients.WriteClasses(context, rows, parallel));
  } else {
    ExactLossBackward(problem, d_loss, normalizer, parallel, scratch.data(), gradients.d_hidden(),
                      gradients.d_weights(), gradients.d_biases());
  }
  TF_RETURN_IF_ERROR(gradients.WriteHidden(context, parallel));
  gradients.SetOutputs(context);
  return absl::OkStatus();
}

// The one factor by which d_loss[b] is coefficients[b * stride], up to rounding, for all b that
// count; nothing where there is none. A factor of 1 within rounding is exactly 1.
template <typename A>
std::optional<A> CommonFactor(const A* d_loss, const A* coefficients, int64_t stride, int64_t batch,
                              const std::function<bool(int64_t)>& counts) {
  // What arrives is a few products and quotients away from the coefficients.
  constexpr A kTolerance = 4 * std::numeric_limits<A>::epsilon();
  int64_t largest = -1;
  for (int64_t b = 0; b < batch; ++b) {
    if (!counts(b)) continue;
    if (largest < 0 ||
        std::abs(coefficients[b * stride]) > std::abs(coefficients[largest * stride])) {
      largest = b;
    }
  }
  if (largest < 0) return A{1};
  A factor = d_loss[largest] / coefficients[largest * stride];
  if (!std::isfinite(factor)) return std::nullopt;
  if (std::abs(factor - 1) <= kTolerance) factor = 1;
  for (int64_t b = 0; b < batch; ++b) {
    if (!counts(b)) continue;
    const A expected = factor * coefficients[b * stride];
    // Written so that NaN fails.
    if (!(std::abs(d_loss[b] - expected) <= kTolerance * std::abs(expected))) return std::nullopt;
  }
  return factor;
}

// factor * tensor in new memory.
template <typename T, typename A>
absl::Status Scale(OpKernelContext* context, const Tensor& tensor, A factor,
                   const Parallel& parallel, Tensor* result) {
  TF_RETURN_IF_ERROR(AllocateTensor(context, tensor.dtype(), tensor.shape(), result));
  constexpr int64_t kBlock = 1 << 14;
  const int64_t size = tensor.NumElements();
  const T* from = tensor.flat<T>().data();
  T* to = result->flat<T>().data();
  parallel.For((size + kBlock - 1) / kBlock, kBlock, [&](int64_t task, int) {
    const int64_t last = std::min(size, (task + 1) * kBlock);
    for (int64_t i = task * kBlock; i < last; ++i) {
      to[i] = static_cast<T>(factor * static_cast<A>(from[i]));
    }
  });
  return absl::OkStatus();
}

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_LOSS_LOSS_GRADIENTS_H_
