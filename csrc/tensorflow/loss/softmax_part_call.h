// What the ops of exact softmax losses whose classes lie in several places have in common, on every
// device.
#ifndef FASTW2V_TENSORFLOW_LOSS_SOFTMAX_PART_CALL_H_
#define FASTW2V_TENSORFLOW_LOSS_SOFTMAX_PART_CALL_H_

#include "absl/strings/str_cat.h"
#include "csrc/core/softmax_parts.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

// The call of a part, a Call or GpuCall; variables stay locked for reading as long as it lives.
template <typename PartCall>
absl::Status ReadPart(OpKernelContext* context, const Attributes& attributes, PartCall* call) {
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

// [kPartStatistics, batch]
template <typename A>
absl::Status AllocateStatistics(OpKernelContext* context, int64_t batch, SoftmaxPart<A>* part) {
  Tensor* output;
  TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({kPartStatistics, batch}), &output));
  A* const statistics = output->flat<A>().data();
  *part = {statistics, statistics + batch, statistics + 2 * batch, statistics + 3 * batch};
  return absl::OkStatus();
}

// An op whose attributes are those of a part.
class SoftmaxPartKernel : public Kernel {
 public:
  explicit SoftmaxPartKernel(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, /*sampled=*/false));
  }

 protected:
  Attributes attributes_;
};

// Reads the arguments of Fastw2v>JoinSoftmaxParts and checks types and shapes; a device adds how it
// joins.
template <typename A>
class JoinSoftmaxPartsKernel : public Kernel {
 public:
  explicit JoinSoftmaxPartsKernel(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, Attributes::ReadIgnored(context, &options_.ignored));
    OP_REQUIRES_OK(context, Attributes::ReadNumbers(context, &options_));
  }

 private:
  virtual absl::Status Join(OpKernelContext* context, const SoftmaxParts<A>& parts) const = 0;

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
    return Join(context, parts);
  }

  LossOptions options_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_LOSS_SOFTMAX_PART_CALL_H_
