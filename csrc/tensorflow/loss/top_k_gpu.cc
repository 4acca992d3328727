// GPU kernel of Fastw2v>TopK: csrc/cuda/loss/top_k.h as a TensorFlow op.
#include "csrc/cuda/loss/top_k.h"
#include "csrc/tensorflow/loss/top_k_call.h"
#include "csrc/tensorflow/support/gpu.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernelContext;

template <typename T>
class GpuTopKOp final : public TopKOpBase<T, cuda::TopKProblem<typename CoreType<T>::type>> {
  using Base = TopKOpBase<T, cuda::TopKProblem<typename CoreType<T>::type>>;
  using Base::Base;
  using typename Base::A, typename Base::Core;

  absl::Status Find(OpKernelContext* context, const TableArgument& weights,
                    const TableArgument& biases, cuda::TopKProblem<Core>* problem) const override {
    TF_RETURN_IF_ERROR(Attributes::RefuseExcluded(this->num_excluded()));
    cuda::Stream stream;
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    TF_RETURN_IF_ERROR(OneShard<T>(weights, "weights", &problem->weights));
    TF_RETURN_IF_ERROR(BiasesOrNull<T>(biases, weights.rows(), &problem->biases));
    problem->classes = weights.rows();
    problem->dim = weights.dim();
    TF_RETURN_IF_ERROR(ToTensorFlow(cuda::CheckTopKProblem(*problem)));
    A* values;
    int64_t* indices;
    TF_RETURN_IF_ERROR(this->AllocateOutputs(context, *problem, &values, &indices));
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, cuda::TopKScratchBytes(*problem)));
    return ToTensorFlow(cuda::TopK(*problem, stream, scratch.data(), values, indices));
  }
};

#define FASTW2V_REGISTER(T)                                                              \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>TopK").TypeConstraint<T>("T"), \
                              GpuTopKOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
