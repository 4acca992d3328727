// GPU kernel of Fastw2v>TopK: csrc/cuda/top_k.h as a TensorFlow op.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/cuda/top_k.h"
#include "csrc/tensorflow/gpu.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class GpuTopKOp : public OpKernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit GpuTopKOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("k", &k_));
    OP_REQUIRES_OK(context, context->GetAttr("logit_scale", &logit_scale_));
    OP_REQUIRES_OK(context, context->GetAttr("logit_softcap", &logit_softcap_));
  }

  void Compute(OpKernelContext* context) override { OP_REQUIRES_OK(context, Run(context)); }

 private:
  absl::Status Run(OpKernelContext* context) const {
    cuda::Stream stream;
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
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

    cuda::TopKProblem<Core> problem;
    TF_RETURN_IF_ERROR(OneShard<T>(weights, "weights", &problem.weights));
    TF_RETURN_IF_ERROR(BiasesOrNull<T>(biases, weights.rows(), &problem.biases));
    const Tensor* inputs;
    TF_RETURN_IF_ERROR(context->input("inputs", &inputs));
    if (inputs->dtype() != DataTypeToEnum<A>::value || inputs->dims() != 2 ||
        inputs->dim_size(1) != weights.dim()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "inputs has dtype ", tensorflow::DataTypeString(inputs->dtype()), " and shape ",
          inputs->shape().DebugString(), ", expected ",
          tensorflow::DataTypeString(DataTypeToEnum<A>::value), " [batch, ", weights.dim(), "]"));
    }
    problem.batch = inputs->dim_size(0);
    problem.classes = weights.rows();
    problem.dim = weights.dim();
    problem.hidden = inputs->flat<A>().data();
    problem.k = k_;
    problem.logit_scale = logit_scale_;
    problem.logit_softcap = logit_softcap_;
    TF_RETURN_IF_ERROR(ToTensorFlow(cuda::CheckTopKProblem(problem)));

    const TensorShape shape({problem.batch, k_});
    Tensor *values, *indices;
    TF_RETURN_IF_ERROR(context->allocate_output(0, shape, &values));
    TF_RETURN_IF_ERROR(context->allocate_output(1, shape, &indices));
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, cuda::TopKScratchBytes(problem)));
    return ToTensorFlow(cuda::TopK(problem, stream, scratch.data(), values->flat<A>().data(),
                                   indices->flat<int64_t>().data()));
  }

  int64_t k_;
  float logit_scale_;
  float logit_softcap_;
};

#define FASTW2V_REGISTER(T) \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>TopK").TypeConstraint<T>("T"), GpuTopKOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
