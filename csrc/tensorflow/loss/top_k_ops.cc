// Fastw2v>TopK: csrc/core/top_k.h as a TensorFlow op. Tables are lists of shards, as in ops.cc.
#include <vector>

#include "csrc/core/top_k.h"
#include "csrc/tensorflow/loss/loss_registration.h"
#include "csrc/tensorflow/loss/top_k_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/types.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status TopKShape(InferenceContext* c) {
  std::vector<ShapeHandle> inputs;
  TF_RETURN_IF_ERROR(c->input("inputs", &inputs));
  ShapeHandle hidden;
  TF_RETURN_IF_ERROR(c->WithRank(inputs[0], 2, &hidden));
  int64_t k;
  TF_RETURN_IF_ERROR(c->GetAttr("k", &k));
  for (int i = 0; i < 2; ++i) c->set_output(i, c->Matrix(c->Dim(hidden, 0), k));
  return absl::OkStatus();
}

// clang-format off
REGISTER_OP("Fastw2v>TopK")
    .Input("inputs: Accumulator")
    .Input("weights: Weights")
    .Input("biases: Biases")
    .FASTW2V_EXCLUDED_INPUT
    .Output("values: Accumulator")
    .Output("indices: int64")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("Accumulator: {float, double}")
    .Attr("Weights: list({resource, float, double, half, bfloat16}) >= 1")
    .Attr("Biases: list({resource, float, double, half, bfloat16}) >= 0")
    .Attr("k: int >= 1")
    .Attr("logit_scale: float = 1.0")
    .Attr("logit_softcap: float = 0.0")
    .FASTW2V_EXCLUDED_ATTR
    .SetShapeFn(TopKShape)
    .Doc(R"doc(
The k classes of largest logit of each row of activations, best first.

inputs: [batch, dim].
weights: Shards of a table [classes, dim] of type T, or handles of variables.
biases: Shards of [classes], or nothing.
excluded: [batch, 2], ranges of classes whose logits are -inf for a row, or nothing.
values: [batch, k].
indices: [batch, k].
)doc");
// clang-format on

template <typename T>
class TopKOp final : public TopKOpBase<T, TopKProblem<typename CoreType<T>::type>> {
  using Base = TopKOpBase<T, TopKProblem<typename CoreType<T>::type>>;
  using Base::Base;
  using typename Base::A, typename Base::Core;

  absl::Status Find(OpKernelContext* context, const TableArgument& weights,
                    const TableArgument& biases, TopKProblem<Core>* problem) const override {
    problem->weights = weights.View<T>();
    if (!biases.empty()) problem->biases = biases.View<T>();
    TF_RETURN_IF_ERROR(
        ReadExcluded(context, this->num_excluded(), problem->batch, &problem->excluded));
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckTopKProblem(*problem)));
    A* values;
    int64_t* indices;
    TF_RETURN_IF_ERROR(this->AllocateOutputs(context, *problem, &values, &indices));
    const TensorFlowParallel parallel(context);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, TopKScratchBytes(*problem, parallel)));
    TopK(*problem, parallel, scratch.data(), values, indices);
    return absl::OkStatus();
  }
};

#define FASTW2V_REGISTER(T) \
  REGISTER_KERNEL_BUILDER(  \
      Name("Fastw2v>TopK").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), TopKOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
