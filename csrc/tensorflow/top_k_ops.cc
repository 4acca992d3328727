// Fastw2v>TopK: csrc/core/top_k.h as a TensorFlow op. Tables are lists of shards, as in ops.cc.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/top_k.h"
#include "csrc/tensorflow/adapter.h"
#include "csrc/tensorflow/scratch_memory.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/types.h"

namespace fastw2v {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
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

REGISTER_OP("Fastw2v>TopK")
    .Input("inputs: Accumulator")
    .Input("weights: Weights")
    .Input("biases: Biases")
    .Output("values: Accumulator")
    .Output("indices: int64")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("Accumulator: {float, double}")
    .Attr("Weights: list({resource, float, double, half, bfloat16}) >= 1")
    .Attr("Biases: list({resource, float, double, half, bfloat16}) >= 0")
    .Attr("k: int >= 1")
    .Attr("logit_scale: float = 1.0")
    .Attr("logit_softcap: float = 0.0")
    .SetShapeFn(TopKShape)
    .Doc(R"doc(
The k classes of largest logit of each row of activations, best first.

inputs: [batch, dim].
weights: Shards of a table [classes, dim] of type T, or handles of variables.
biases: Shards of [classes], or nothing.
values: [batch, k].
indices: [batch, k].
)doc");

template <typename T>
class TopKOp : public OpKernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit TopKOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("k", &k_));
    OP_REQUIRES_OK(context, context->GetAttr("logit_scale", &logit_scale_));
    OP_REQUIRES_OK(context, context->GetAttr("logit_softcap", &logit_softcap_));
  }

  void Compute(OpKernelContext* context) override { OP_REQUIRES_OK(context, Run(context)); }

 private:
  absl::Status Run(OpKernelContext* context) const {
    const auto dtype = DataTypeToEnum<T>::value;
    TableArgument weights, biases;
    TF_RETURN_IF_ERROR(weights.Read(context, "weights", dtype, 2));
    TF_RETURN_IF_ERROR(biases.Read(context, "biases", dtype, 1));
    std::vector<tensorflow::Var*> variables;
    weights.AppendVariables(&variables);
    biases.AppendVariables(&variables);
    const ReadLock lock(std::move(variables));
    TF_RETURN_IF_ERROR(weights.Resolve());
    TF_RETURN_IF_ERROR(biases.Resolve());

    const Tensor* inputs;
    TF_RETURN_IF_ERROR(context->input("inputs", &inputs));
    if (inputs->dtype() != DataTypeToEnum<A>::value) {
      return absl::InvalidArgumentError(
          absl::StrCat("inputs has dtype ", tensorflow::DataTypeString(inputs->dtype()),
                       ", expected ", tensorflow::DataTypeString(DataTypeToEnum<A>::value)));
    }
    if (inputs->dims() != 2 || inputs->dim_size(1) != weights.dim()) {
      return absl::InvalidArgumentError(
          absl::StrCat("inputs has shape ", inputs->shape().DebugString(),
                       ", expected [batch, dim] with ", "the width of weights, ", weights.dim()));
    }

    TopKProblem<Core> problem;
    problem.batch = inputs->dim_size(0);
    problem.hidden = inputs->flat<A>().data();
    problem.weights = weights.View<T>();
    if (!biases.empty()) problem.biases = biases.View<T>();
    problem.k = k_;
    problem.logit_scale = logit_scale_;
    problem.logit_softcap = logit_softcap_;
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckTopKProblem(problem)));

    const TensorShape shape({problem.batch, k_});
    Tensor *values, *indices;
    TF_RETURN_IF_ERROR(context->allocate_output(0, shape, &values));
    TF_RETURN_IF_ERROR(context->allocate_output(1, shape, &indices));
    const TensorFlowParallel parallel(context);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, TopKScratchBytes(problem, parallel)));
    TopK(problem, parallel, scratch.data(), values->flat<A>().data(),
         indices->flat<int64_t>().data());
    return absl::OkStatus();
  }

  int64_t k_;
  float logit_scale_;
  float logit_softcap_;
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
