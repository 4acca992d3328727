// Fastw2v>KeepProbabilities, Fastw2v>SkipGrams and Fastw2v>CbowBags: csrc/core/skipgram.h as
// TensorFlow ops.
#include "csrc/core/skipgram.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/host_kernel.h"
#include "csrc/tensorflow/support/huge_pages.h"
#include "csrc/tensorflow/support/kernel.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::TensorShapeUtils;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status KeepProbabilitiesShape(InferenceContext* c) {
  ShapeHandle counts, sample;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &counts));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &sample));
  c->set_output(0, counts);
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>KeepProbabilities")
    .Input("counts: double")
    .Input("sample: double")
    .Output("keep_probability: float")
    .SetShapeFn(KeepProbabilitiesShape)
    .Doc(R"doc(
The probability with which subsampling of frequent words keeps each word.

counts: [num_classes], finite and not negative.
sample: Scalar in [0, 1), word2vec's threshold; an input because attributes are float32.
keep_probability: [num_classes].
)doc");

class KeepProbabilitiesOp : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    const Tensor& counts = context->input(0);
    const Tensor& sample = context->input(1);
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsVector(counts.shape()), "counts", counts, "[num_classes]"));
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsScalar(sample.shape()), "sample", sample, "a scalar"));
    Tensor* keep_probability = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, counts.shape(), &keep_probability));
    TF_RETURN_IF_ERROR(ToTensorFlow(
        KeepProbabilities(counts.flat<double>().data(), counts.NumElements(),
                          sample.scalar<double>()(), keep_probability->flat<float>().data())));
    return absl::OkStatus();
  }
};

FASTW2V_REGISTER_HOST_KERNEL(
    "Fastw2v>KeepProbabilities", KeepProbabilitiesOp,
    HostMemory("counts").HostMemory("sample").HostMemory("keep_probability"));

absl::Status CheckInputShapes(InferenceContext* c) {
  ShapeHandle vector;
  DimensionHandle two;
  for (int i = 0; i < 4; ++i) TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 1, &vector));
  return c->WithValue(c->Dim(vector, 0), 2, &two);
}

absl::Status SkipGramsShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(CheckInputShapes(c));
  const ShapeHandle pairs = c->Vector(c->UnknownDim());
  c->set_output(0, pairs);
  c->set_output(1, pairs);
  return absl::OkStatus();
}

absl::Status CbowBagsShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(CheckInputShapes(c));
  int64_t window;
  TF_RETURN_IF_ERROR(c->GetAttr("window", &window));
  const DimensionHandle num_bags = c->UnknownDim();
  c->set_output(0, c->Matrix(num_bags, 2 * window));
  c->set_output(1, c->Vector(num_bags));
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>SkipGrams")
    .Input("ids: int64")
    .Input("row_splits: int64")
    .Input("keep_probability: float")
    .Input("seed: int64")
    .Output("centers: int64")
    .Output("contexts: int64")
    .Attr("window: int >= 1")
    .Attr("shrink_windows: bool")
    .Attr("shuffle: bool")
    .SetShapeFn(SkipGramsShape)
    .Doc(R"doc(
Each word of a text with the words near it, one pair at a time.

ids: [size], the words in order; a negative id is no word and ends a sentence.
row_splits: [num_sentences + 1], where sentences begin and end; or empty, for one sentence.
keep_probability: [num_classes], by id, the probability that subsampling keeps a word; or empty,
  where all words stay.
seed: [2], decides which words stay, how far each looks, and the order where shuffled.
centers: [num_pairs].
contexts: [num_pairs].
window: How far a word looks to the left and to the right, among the words that stay.
shrink_windows: Whether the window of each word is drawn from 1, ..., window.
shuffle: Whether the pairs come in a random order, or in that of the text.
)doc");

REGISTER_OP("Fastw2v>CbowBags")
    .Input("ids: int64")
    .Input("row_splits: int64")
    .Input("keep_probability: float")
    .Input("seed: int64")
    .Output("bags: int64")
    .Output("labels: int64")
    .Attr("window: int >= 1")
    .Attr("shrink_windows: bool")
    .Attr("shuffle: bool")
    .SetShapeFn(CbowBagsShape)
    .Doc(R"doc(
The words near each word of a text as a bag, with that word as its label.

The inputs and attributes are those of Fastw2v>SkipGrams.

bags: [num_bags, 2 * window], filled up by -1.
labels: [num_bags].
)doc");

// The problem and its plan, from the inputs and attributes that both ops have.
class ExamplesOp : public Kernel {
 public:
  explicit ExamplesOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("window", &options_.window));
    OP_REQUIRES_OK(context, context->GetAttr("shrink_windows", &options_.shrink_windows));
    OP_REQUIRES_OK(context, context->GetAttr("shuffle", &options_.shuffle));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    const Tensor& ids = context->input(0);
    const Tensor& row_splits = context->input(1);
    const Tensor& keep_probability = context->input(2);
    const Tensor& seed = context->input(3);
    const auto is_vector = [](const Tensor& t) { return TensorShapeUtils::IsVector(t.shape()); };
    TF_RETURN_IF_ERROR(CheckShape(is_vector(ids), "ids", ids, "[size]"));
    TF_RETURN_IF_ERROR(
        CheckShape(is_vector(row_splits), "row_splits", row_splits, "[num_sentences + 1] or [0]"));
    TF_RETURN_IF_ERROR(CheckShape(is_vector(keep_probability), "keep_probability", keep_probability,
                                  "[num_classes] or [0]"));
    TF_RETURN_IF_ERROR(CheckShape(seed.shape() == TensorShape({2}), "seed", seed, "[2]"));

    SkipGramProblem problem = options_;
    problem.ids = ids.flat<int64_t>().data();
    problem.size = ids.NumElements();
    if (row_splits.NumElements() > 0) {
      problem.row_splits = row_splits.flat<int64_t>().data();
      problem.num_splits = row_splits.NumElements();
    }
    if (keep_probability.NumElements() > 0) {
      problem.keep_probability = keep_probability.flat<float>().data();
      problem.num_classes = keep_probability.NumElements();
    }
    problem.seed[0] = seed.flat<int64_t>()(0);
    problem.seed[1] = seed.flat<int64_t>()(1);

    const TensorFlowParallel parallel(context);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, SkipGramScratchBytes(problem)));
    SkipGramPlan plan;
    TF_RETURN_IF_ERROR(ToTensorFlow(PlanSkipGrams(problem, parallel, scratch.data(), &plan)));
    TF_RETURN_IF_ERROR(Fill(context, problem, plan, parallel));
    return absl::OkStatus();
  }

  virtual absl::Status Fill(OpKernelContext* context, const SkipGramProblem& problem,
                            const SkipGramPlan& plan, const Parallel& parallel) const = 0;

  SkipGramProblem options_;
};

absl::Status AllocateIds(OpKernelContext* context, int output, int64_t rows, int64_t width,
                         int64_t** data) {
  TensorShape shape({rows});
  if (width > 0) TF_RETURN_IF_ERROR(shape.AddDimWithStatus(width));
  Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(output, shape, &tensor));
  PreferHugePages(*tensor);
  *data = tensor->flat<int64_t>().data();
  return absl::OkStatus();
}

class SkipGramsOp final : public ExamplesOp {
 public:
  using ExamplesOp::ExamplesOp;

 private:
  absl::Status Fill(OpKernelContext* context, const SkipGramProblem& problem,
                    const SkipGramPlan& plan, const Parallel& parallel) const override {
    int64_t *centers, *contexts;
    TF_RETURN_IF_ERROR(AllocateIds(context, 0, plan.num_pairs, 0, &centers));
    TF_RETURN_IF_ERROR(AllocateIds(context, 1, plan.num_pairs, 0, &contexts));
    FillPairs(problem, plan, parallel, centers, contexts);
    return absl::OkStatus();
  }
};

class CbowBagsOp final : public ExamplesOp {
 public:
  using ExamplesOp::ExamplesOp;

 private:
  absl::Status Fill(OpKernelContext* context, const SkipGramProblem& problem,
                    const SkipGramPlan& plan, const Parallel& parallel) const override {
    int64_t *bags, *labels;
    TF_RETURN_IF_ERROR(AllocateIds(context, 0, plan.num_bags, 2 * problem.window, &bags));
    TF_RETURN_IF_ERROR(AllocateIds(context, 1, plan.num_bags, 0, &labels));
    FillBags(problem, plan, parallel, bags, labels);
    return absl::OkStatus();
  }
};

#define FASTW2V_TEXT_ON_HOST \
  HostMemory("ids").HostMemory("row_splits").HostMemory("keep_probability").HostMemory("seed")
FASTW2V_REGISTER_HOST_KERNEL("Fastw2v>SkipGrams", SkipGramsOp,
                             FASTW2V_TEXT_ON_HOST.HostMemory("centers").HostMemory("contexts"));
FASTW2V_REGISTER_HOST_KERNEL("Fastw2v>CbowBags", CbowBagsOp,
                             FASTW2V_TEXT_ON_HOST.HostMemory("bags").HostMemory("labels"));
#undef FASTW2V_TEXT_ON_HOST

}  // namespace
}  // namespace fastw2v
