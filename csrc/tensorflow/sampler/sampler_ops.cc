// Fastw2v>UnigramTable and Fastw2v>CandidateSampler: csrc/core/sampler.h as TensorFlow ops.
#include <string>

#include "csrc/core/sampler.h"
#include "csrc/tensorflow/sampler/sampler_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/host_kernel.h"
#include "csrc/tensorflow/support/kernel.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace fastw2v {
namespace {

using tensorflow::DT_INT64;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::TensorShapeUtils;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status UnigramTableShape(InferenceContext* c) {
  ShapeHandle counts, power;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &counts));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &power));
  for (int i = 0; i < 3; ++i) c->set_output(i, counts);
  c->set_output(3, c->Scalar());
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>UnigramTable")
    .Input("counts: double")
    .Input("power: double")
    .Output("probability: double")
    .Output("acceptance: double")
    .Output("alias: int64")
    .Output("support: int64")
    .SetShapeFn(UnigramTableShape)
    .Doc(R"doc(
The alias table of the distribution p(k) ~ counts[k]^power over the classes.

counts: [num_classes], finite and not negative, at least one above 0.
power: Scalar; an input and not an attribute because attributes are float32.
probability: [num_classes], p(k).
acceptance: [num_classes], the probability that column k of the table gives class k.
alias: [num_classes], the class that column k gives otherwise.
support: Scalar, the number of classes with a probability above 0.
)doc");

class UnigramTableOp : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    const Tensor& counts = context->input(0);
    const Tensor& power = context->input(1);
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsVector(counts.shape()), "counts", counts, "[num_classes]"));
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsScalar(power.shape()), "power", power, "a scalar"));
    const int64_t num_classes = counts.NumElements();
    Tensor *probability = nullptr, *acceptance = nullptr, *alias = nullptr, *support = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, counts.shape(), &probability));
    TF_RETURN_IF_ERROR(context->allocate_output(1, counts.shape(), &acceptance));
    TF_RETURN_IF_ERROR(context->allocate_output(2, counts.shape(), &alias));
    TF_RETURN_IF_ERROR(context->allocate_output(3, TensorShape({}), &support));
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, UnigramTableScratchBytes(num_classes)));
    TF_RETURN_IF_ERROR(ToTensorFlow(BuildUnigramTable(
        counts.flat<double>().data(), num_classes, power.scalar<double>()(), scratch.data(),
        probability->flat<double>().data(), acceptance->flat<double>().data(),
        alias->flat<int64_t>().data(), support->flat<int64_t>().data())));
    return absl::OkStatus();
  }
};

FASTW2V_REGISTER_HOST_KERNEL("Fastw2v>UnigramTable", UnigramTableOp,
                             HostMemory("counts")
                                 .HostMemory("power")
                                 .HostMemory("probability")
                                 .HostMemory("acceptance")
                                 .HostMemory("alias")
                                 .HostMemory("support"));

absl::Status CandidateSamplerShape(InferenceContext* c) {
  int64_t num_sampled;
  bool per_example;
  TF_RETURN_IF_ERROR(c->GetAttr("num_sampled", &num_sampled));
  TF_RETURN_IF_ERROR(c->GetAttr("per_example", &per_example));
  ShapeHandle true_classes, seed;
  DimensionHandle two;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &true_classes));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &seed));
  TF_RETURN_IF_ERROR(c->WithValue(c->Dim(seed, 0), 2, &two));
  const ShapeHandle sampled =
      per_example ? c->Matrix(c->Dim(true_classes, 0), num_sampled) : c->Vector(num_sampled);
  c->set_output(0, sampled);
  c->set_output(1, true_classes);
  c->set_output(2, sampled);
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>CandidateSampler")
    .Input("true_classes: int64")
    .Input("seed: int64")
    .Input("table: Table")
    .Output("sampled: int64")
    .Output("true_expected_count: float")
    .Output("sampled_expected_count: float")
    .Attr("Table: list({double, int64}) >= 0")
    .Attr("sampler: {'uniform', 'log_uniform', 'unigram'}")
    .Attr("num_sampled: int >= 1")
    .Attr("range_max: int >= 1")
    .Attr("unique: bool")
    .Attr("per_example: bool")
    .SetShapeFn(CandidateSamplerShape)
    .Doc(R"doc(
Draws candidate classes from [0, range_max), and how often each class is expected among them.

true_classes: [batch, num_true], each in [0, range_max).
seed: [2], decides the draw.
table: The outputs of Fastw2v>UnigramTable for the sampler "unigram", nothing otherwise.
sampled: [num_sampled], or [batch, num_sampled] where each example has its own list.
true_expected_count: [batch, num_true].
sampled_expected_count: Like sampled.
)doc");

class CandidateSamplerOp : public Kernel {
 public:
  explicit CandidateSamplerOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    SamplerCall call;
    TF_RETURN_IF_ERROR(call.Read(
        context, attributes_, [](const Tensor& support) { return support.scalar<int64_t>()(); }));
    Tensor num_tries;
    TF_RETURN_IF_ERROR(
        context->allocate_temp(DT_INT64, TensorShape({call.problem.num_lists()}), &num_tries));
    const TensorFlowParallel parallel(context);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, SamplerScratchBytes(call.problem, parallel)));
    return ToTensorFlow(SampleCandidates(
        call.problem, call.seed, call.true_classes, parallel, scratch.data(), call.sampled,
        call.true_expected_count, call.sampled_expected_count, num_tries.flat<int64_t>().data()));
  }

  SamplerAttributes attributes_;
};

REGISTER_KERNEL_BUILDER(Name("Fastw2v>CandidateSampler").Device(tensorflow::DEVICE_CPU),
                        CandidateSamplerOp);

}  // namespace
}  // namespace fastw2v
