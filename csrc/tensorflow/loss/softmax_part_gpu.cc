// GPU kernels of exact softmax losses whose classes lie in several places. The number of classes
// and the first one of a part are read on the host, all else on the device.
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/softmax_parts.h"
#include "csrc/tensorflow/loss/loss_call_gpu.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/loss/softmax_part_call.h"
#include "csrc/tensorflow/support/gpu.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

template <typename T>
class GpuSoftmaxPartOp final : public SoftmaxPartKernel {
  using SoftmaxPartKernel::SoftmaxPartKernel;

  absl::Status Run(OpKernelContext* context) const override {
    GpuCall<T, false> call;
    TF_RETURN_IF_ERROR(ReadPart(context, attributes_, &call));
    SoftmaxPart<Accumulator<typename CoreType<T>::type>> part;
    TF_RETURN_IF_ERROR(AllocateStatistics(context, call.problem.batch, &part));
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, call.ScratchBytes()));
    return ToTensorFlow(cuda::SoftmaxPartForward(call.problem, call.stream, scratch.data(), part));
  }
};

template <typename T>
class GpuSoftmaxPartGradOp final : public SoftmaxPartKernel {
  using SoftmaxPartKernel::SoftmaxPartKernel;

  absl::Status Run(OpKernelContext* context) const override {
    GpuCall<T, false> call;
    TF_RETURN_IF_ERROR(ReadPart(context, attributes_, &call));
    return ComputeGradients(context, call);
  }
};

template <typename A>
class GpuJoinSoftmaxPartsOp final : public JoinSoftmaxPartsKernel<A> {
  using JoinSoftmaxPartsKernel<A>::JoinSoftmaxPartsKernel;

  absl::Status Join(OpKernelContext* context, const SoftmaxParts<A>& parts) const override {
    TF_RETURN_IF_ERROR(ToTensorFlow(cuda::CheckSoftmaxParts(parts)));
    cuda::Stream stream;
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    A* outputs[kNumForwardOutputs];
    TF_RETURN_IF_ERROR(AllocateForwardOutputs(context, parts.batch, outputs));
    return ToTensorFlow(
        cuda::JoinSoftmaxParts<A>(parts, stream, outputs[0], {outputs[1], outputs[2]}));
  }
};

#define FASTW2V_REGISTER(T)                                                                    \
  FASTW2V_REGISTER_GPU_KERNEL(                                                                 \
      FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxPart").HostMemory("part").TypeConstraint<T>("T"),     \
      GpuSoftmaxPartOp<T>);                                                                    \
  FASTW2V_REGISTER_GPU_KERNEL(                                                                 \
      FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxPartGrad").HostMemory("part").TypeConstraint<T>("T"), \
      GpuSoftmaxPartGradOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

#define FASTW2V_REGISTER(A)                                                            \
  FASTW2V_REGISTER_GPU_KERNEL(                                                         \
      FASTW2V_GPU_KERNEL("Fastw2v>JoinSoftmaxParts").TypeConstraint<A>("Accumulator"), \
      GpuJoinSoftmaxPartsOp<A>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
