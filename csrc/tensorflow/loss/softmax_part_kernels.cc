// CPU kernels of exact softmax losses whose classes lie in several places.
#include "csrc/core/loss.h"
#include "csrc/core/softmax_parts.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/loss/loss_gradients.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/loss/softmax_part_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

template <typename T>
class SoftmaxPartOp final : public SoftmaxPartKernel {
  using SoftmaxPartKernel::SoftmaxPartKernel;

  absl::Status Run(OpKernelContext* context) const override {
    Call<T, false> call;
    TF_RETURN_IF_ERROR(ReadPart(context, attributes_, &call));
    const TensorFlowParallel parallel(context);
    Tensor hidden_memory;
    TF_RETURN_IF_ERROR(call.Gather(context, parallel, &hidden_memory));
    SoftmaxPart<Accumulator<typename CoreType<T>::type>> part;
    TF_RETURN_IF_ERROR(AllocateStatistics(context, call.problem.batch, &part));
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, LossForwardScratchBytes(call.problem, parallel)));
    SoftmaxPartForward(call.problem, parallel, scratch.data(), part);
    return absl::OkStatus();
  }
};

template <typename T>
class SoftmaxPartGradOp final : public SoftmaxPartKernel {
  using SoftmaxPartKernel::SoftmaxPartKernel;

  absl::Status Run(OpKernelContext* context) const override {
    Call<T, false> call;
    TF_RETURN_IF_ERROR(ReadPart(context, attributes_, &call));
    return ComputeGradients(context, &call);
  }
};

template <typename A>
class JoinSoftmaxPartsOp final : public JoinSoftmaxPartsKernel<A> {
  using JoinSoftmaxPartsKernel<A>::JoinSoftmaxPartsKernel;

  absl::Status Join(OpKernelContext* context, const SoftmaxParts<A>& parts) const override {
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckSoftmaxParts(parts)));
    A* outputs[kNumForwardOutputs];
    TF_RETURN_IF_ERROR(AllocateForwardOutputs(context, parts.batch, outputs));
    JoinSoftmaxParts<A>(parts, TensorFlowParallel(context), outputs[0], {outputs[1], outputs[2]});
    return absl::OkStatus();
  }
};

#define FASTW2V_REGISTER(T)                                                                  \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("Fastw2v>SoftmaxPart").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
      SoftmaxPartOp<T>);                                                                     \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("Fastw2v>SoftmaxPartGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      SoftmaxPartGradOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

#define FASTW2V_REGISTER(A)                                      \
  REGISTER_KERNEL_BUILDER(Name("Fastw2v>JoinSoftmaxParts")       \
                              .Device(tensorflow::DEVICE_CPU)    \
                              .TypeConstraint<A>("Accumulator"), \
                          JoinSoftmaxPartsOp<A>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
