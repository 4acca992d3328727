// CPU kernels of exact softmax losses whose classes lie in several places.
#include <vector>

#include "csrc/core/loss.h"
#include "csrc/core/softmax_parts.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/loss/loss_gradients.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

// The call of a part; variables stay locked for reading as long as it lives.
template <typename T>
absl::Status ReadPart(OpKernelContext* context, const Attributes& attributes,
                      Call<T, false>* call) {
  const Tensor* part;
  TF_RETURN_IF_ERROR(context->input("part", &part));
  if (part->shape() != TensorShape({2})) {
    return WrongShape("part", *part, "[2], for first_class and num_classes");
  }
  const auto numbers = part->vec<int64_t>();
  if (numbers(1) < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_classes = ", numbers(1), " is not at least 1"));
  }
  call->problem.first_class = numbers(0);
  call->problem.part_of = numbers(1);
  return call->Read(context, attributes);
}

template <typename T>
class SoftmaxPartOp : public Kernel {
  using A = Accumulator<typename CoreType<T>::type>;

 public:
  explicit SoftmaxPartOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, /*sampled=*/false));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    Call<T, false> call;
    TF_RETURN_IF_ERROR(ReadPart(context, attributes_, &call));
    const int64_t batch = call.problem.batch;
    const TensorFlowParallel parallel(context);
    Tensor hidden_memory, *output;
    TF_RETURN_IF_ERROR(call.Gather(context, parallel, &hidden_memory));
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({kPartStatistics, batch}), &output));
    A* const statistics = output->flat<A>().data();
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, LossForwardScratchBytes(call.problem, parallel)));
    SoftmaxPartForward(
        call.problem, parallel, scratch.data(),
        {statistics, statistics + batch, statistics + 2 * batch, statistics + 3 * batch});
    return absl::OkStatus();
  }

  Attributes attributes_;
};

template <typename T>
class SoftmaxPartGradOp : public Kernel {
 public:
  explicit SoftmaxPartGradOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, /*sampled=*/false));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    Call<T, false> call;
    TF_RETURN_IF_ERROR(ReadPart(context, attributes_, &call));
    return ComputeGradients(context, &call);
  }

  Attributes attributes_;
};

template <typename A>
class JoinSoftmaxPartsOp : public Kernel {
 public:
  explicit JoinSoftmaxPartsOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, Attributes::ReadIgnored(context, &options_.ignored));
    OP_REQUIRES_OK(context, Attributes::ReadNumbers(context, &options_));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    const Tensor *statistics, *part_classes, *labels;
    TF_RETURN_IF_ERROR(context->input("statistics", &statistics));
    TF_RETURN_IF_ERROR(context->input("part_classes", &part_classes));
    TF_RETURN_IF_ERROR(context->input("labels", &labels));
    if (part_classes->dims() != 1) return WrongShape("part_classes", *part_classes, "[parts]");
    if (labels->dims() != 2) return WrongShape("labels", *labels, "[batch, num_true]");
    SoftmaxParts<A> parts;
    parts.batch = labels->dim_size(0);
    parts.num_true = labels->dim_size(1);
    parts.num_parts = part_classes->dim_size(0);
    if (statistics->shape() != TensorShape({parts.num_parts, kPartStatistics, parts.batch})) {
      return WrongShape("statistics", *statistics,
                        absl::StrCat("[parts, 4, batch] = [", parts.num_parts, ",", kPartStatistics,
                                     ",", parts.batch, "]"));
    }
    parts.part_classes = part_classes->flat<int64_t>().data();
    parts.statistics = statistics->flat<A>().data();
    parts.labels = labels->flat<int64_t>().data();
    parts.options = options_;
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckSoftmaxParts(parts)));
    A* outputs[kNumForwardOutputs];
    TF_RETURN_IF_ERROR(AllocateForwardOutputs(context, parts.batch, outputs));
    JoinSoftmaxParts<A>(parts, TensorFlowParallel(context), outputs[0], {outputs[1], outputs[2]});
    return absl::OkStatus();
  }

  LossOptions options_;
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
