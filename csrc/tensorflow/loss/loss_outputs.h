// The outputs of the loss ops and of their gradient ops, on every device.
#ifndef FASTW2V_TENSORFLOW_LOSS_LOSS_OUTPUTS_H_
#define FASTW2V_TENSORFLOW_LOSS_LOSS_OUTPUTS_H_

#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

constexpr int kNumForwardOutputs = 3;  // loss, max and log_sum, before `saved`

// loss, max and log_sum.
template <typename A>
absl::Status AllocateForwardOutputs(OpKernelContext* context, int64_t batch,
                                    A* (&outputs)[kNumForwardOutputs]) {
  for (int i = 0; i < kNumForwardOutputs; ++i) {
    Tensor* output;
    TF_RETURN_IF_ERROR(context->allocate_output(i, TensorShape({batch}), &output));
    outputs[i] = output->flat<A>().data();
  }
  return absl::OkStatus();
}

// The coefficients of the losses, null where they are not known. With them the forward op has a
// saved output for each gradient.
inline absl::Status FindCoefficients(OpKernelContext* context, int num_gradients,
                                     const Tensor** coefficients) {
  OpInputList list;
  TF_RETURN_IF_ERROR(context->input_list("coefficients", &list));
  *coefficients = list.size() == 0 ? nullptr : &list[0];
  const int num_saved = context->num_outputs() - kNumForwardOutputs;
  if (num_saved == (list.size() == 0 ? 0 : num_gradients)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("num_saved = ", num_saved, ", expected ", num_gradients,
                   ", one for each gradient, with coefficients, and 0 without"));
}

// A graph says which outputs something consumes; eagerly all are.
inline bool AnySavedRequired(OpKernelContext* context) {
  for (int i = kNumForwardOutputs; i < context->num_outputs(); ++i) {
    if (context->output_required(i)) return true;
  }
  return false;
}

// The same memory as numbers of another type; the last axis shrinks or grows.
inline absl::Status Reinterpret(const Tensor& tensor, tensorflow::DataType dtype, Tensor* result) {
  TensorShape shape = tensor.shape();
  if (shape.dims() == 0) return absl::InvalidArgumentError("a scalar has no last axis");
  const int last = shape.dims() - 1;
  shape.set_dim(last, shape.dim_size(last) * tensorflow::DataTypeSize(tensor.dtype()) /
                          tensorflow::DataTypeSize(dtype));
  return result->BitcastFrom(tensor, dtype, shape);
}

// Where the gradients of float inputs, and the rows that they are of, stand among the outputs of
// the gradient op: the first shard of each, -1 for what the call does not have.
class GradientTensors {
 public:
  // `wanted` says of each tensor whether anybody asks for it.
  template <typename Call>
  GradientTensors(const Call& call, const std::function<bool(int)>& wanted) {
    int next = 0;
    const auto take = [&next](int count) {
      return count == 0 ? -1 : std::exchange(next, next + count);
    };
    const int embeddings = call.embeddings.num_shards();
    embeddings_rows_ = take(embeddings);
    d_embeddings_ = take(embeddings);
    d_inputs_ = take(call.gathers() ? 0 : 1);
    weights_rows_ = take(Call::kIsSampled ? call.weights.num_shards() : 0);
    d_weights_ = take(call.weights.num_shards());
    biases_rows_ = take(Call::kIsSampled ? call.biases.num_shards() : 0);
    d_biases_ = take(call.biases.num_shards());
    tensors_.resize(next);
    for (int i = 0; i < next; ++i) wanted_.push_back(wanted(i));
  }

  int size() const { return static_cast<int>(tensors_.size()); }
  bool wanted(int i) const { return i >= 0 && wanted_[i]; }

  // The outputs of the forward op that the gradient op hands on.
  absl::Status Save(OpKernelContext* context) const {
    for (int i = 0; i < size(); ++i) {
      Tensor bytes;
      TF_RETURN_IF_ERROR(Reinterpret(tensors_[i], tensorflow::DT_UINT8, &bytes));
      context->set_output(kNumForwardOutputs + i, bytes);
    }
    return absl::OkStatus();
  }

  // The outputs of the gradient op.
  void SetOutputs(OpKernelContext* context) const {
    for (int i = 0; i < size(); ++i) {
      if (wanted_[i]) context->set_output(i, tensors_[i]);
    }
  }

 protected:
  int embeddings_rows_, d_embeddings_, d_inputs_, weights_rows_, d_weights_, biases_rows_,
      d_biases_;
  std::vector<Tensor> tensors_;
  std::vector<bool> wanted_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_LOSS_LOSS_OUTPUTS_H_
