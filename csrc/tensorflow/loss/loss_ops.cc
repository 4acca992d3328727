// Registration and shape functions of the losses, whose tables and inputs are those of
// loss_registration.h.
//
// `coefficients` is absent or what the loss of each example is going to be multiplied with, of type
// Accumulator, [batch] or a scalar for all. Then `saved` holds the gradients of sum_b
// coefficients[b] * loss[b] in the order of the gradient op's outputs, as bytes: no gradient flows
// through integers, and tapes make no zeros for them. Nothing is saved where nobody asks for it.
// `only_reduced`: the losses go nowhere but into their sum times the coefficients, so that d_loss
// is a multiple of these. A GPU, on which nobody looks at d_loss, saves nothing without it.
//
// The ops of softmax parts are those of an exact loss whose classes lie in several places: `part`
// is [first_class, num_classes], the place of the weights at hand among all classes, `statistics`
// what csrc/core/softmax_parts.h joins, [4, batch] of a part and [parts, 4, batch] of all. The
// gradients of a part take the max and log_sum of all parts together.
#include "csrc/core/softmax_parts.h"
#include "csrc/tensorflow/loss/loss_registration.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Labels are [batch, num_true]; every output but those saved is [batch].
absl::Status LossShape(InferenceContext* c) {
  std::vector<ShapeHandle> inputs;
  TF_RETURN_IF_ERROR(c->input("labels", &inputs));
  ShapeHandle labels;
  TF_RETURN_IF_ERROR(c->WithRank(inputs[0], 2, &labels));
  for (const char* name : {"loss", "max", "log_sum"}) {
    TF_RETURN_IF_ERROR(c->set_output(name, {c->Vector(c->Dim(labels, 0))}));
  }
  for (int i = 3; i < c->num_outputs(); ++i) c->set_output(i, c->UnknownShape());
  return absl::OkStatus();
}

absl::Status SoftmaxPartShape(InferenceContext* c) {
  std::vector<ShapeHandle> inputs;
  TF_RETURN_IF_ERROR(c->input("labels", &inputs));
  ShapeHandle labels;
  TF_RETURN_IF_ERROR(c->WithRank(inputs[0], 2, &labels));
  return c->set_output("statistics", {c->Matrix(fastw2v::kPartStatistics, c->Dim(labels, 0))});
}

bool IsTensor(InferenceContext* c, const ShapeHandle& shape, tensorflow::DataType dtype) {
  return dtype != tensorflow::DT_RESOURCE && c->RankKnown(shape);
}

// A dense gradient has the shape of its shard where that is a tensor; the shape of a variable is
// not known here.
absl::Status SetDenseGradients(InferenceContext* c, const char* table, const char* types,
                               int rank) {
  std::vector<ShapeHandle> shards, gradients;
  TF_RETURN_IF_ERROR(c->input(table, &shards));
  std::vector<tensorflow::DataType> dtypes;
  TF_RETURN_IF_ERROR(c->GetAttr(types, &dtypes));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    gradients.push_back(IsTensor(c, shards[i], dtypes[i]) ? shards[i]
                                                          : c->UnknownShapeOfRank(rank));
  }
  return c->set_output(std::string("d_") + table, gradients);
}

// A sparse gradient: rows [u] and values [u, dim] (or [u] for biases), u known when it runs.
absl::Status SetSparseGradients(InferenceContext* c, const char* table, int rank) {
  std::vector<ShapeHandle> shards;
  TF_RETURN_IF_ERROR(c->input(table, &shards));
  std::vector<ShapeHandle> rows, values;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const auto unique = c->UnknownDim();
    rows.push_back(c->Vector(unique));
    values.push_back(rank == 1 ? c->Vector(unique) : c->Matrix(unique, c->UnknownDim()));
  }
  TF_RETURN_IF_ERROR(c->set_output(std::string(table) + "_rows", rows));
  return c->set_output(std::string("d_") + table, values);
}

absl::Status SetInputGradients(InferenceContext* c) {
  TF_RETURN_IF_ERROR(SetSparseGradients(c, "embeddings", 2));
  std::vector<ShapeHandle> inputs;
  TF_RETURN_IF_ERROR(c->input("inputs", &inputs));
  int num_inputs;
  TF_RETURN_IF_ERROR(c->GetAttr("num_activations", &num_inputs));
  return c->set_output("d_inputs", std::vector<ShapeHandle>(num_inputs, inputs[0]));
}

absl::Status SoftmaxLossGradShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(SetInputGradients(c));
  TF_RETURN_IF_ERROR(SetDenseGradients(c, "weights", "Weights", 2));
  return SetDenseGradients(c, "biases", "Biases", 1);
}

absl::Status SampledLossGradShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(SetInputGradients(c));
  TF_RETURN_IF_ERROR(SetSparseGradients(c, "weights", 2));
  return SetSparseGradients(c, "biases", 1);
}

}  // namespace

// clang-format off
#define FASTW2V_COEFFICIENTS                                  \
   Input("coefficients: Coefficients")

#define FASTW2V_SAVED                                         \
   Input("saved: num_saved * uint8")

#define FASTW2V_SAVED_ATTRS                                   \
   Attr("Coefficients: list({float, double}) >= 0")           \
  .Attr("num_saved: int >= 0 = 0")

#define FASTW2V_FORWARD_ATTRS                                 \
   Attr("only_reduced: bool = false")

#define FASTW2V_LOSS_OUTPUTS                                  \
   Output("loss: Accumulator")                                \
  .Output("max: Accumulator")                                 \
  .Output("log_sum: Accumulator")                             \
  .Output("saved: num_saved * uint8")

#define FASTW2V_BACKWARD_INPUTS                               \
   Input("d_loss: Accumulator")                               \
  .Input("max: Accumulator")                                  \
  .Input("log_sum: Accumulator")

#define FASTW2V_INPUT_GRADIENTS                               \
   Attr("num_embeddings: int >= 0")                           \
  .Attr("num_activations: int >= 0")                          \
  .Attr("num_weights: int >= 1")                              \
  .Attr("num_biases: int >= 0")                               \
  .Output("embeddings_rows: num_embeddings * int64")          \
  .Output("d_embeddings: num_embeddings * T")                 \
  .Output("d_inputs: num_activations * T")

REGISTER_OP("Fastw2v>SoftmaxLoss")
    .FASTW2V_LOSS_INPUTS
    .FASTW2V_EXCLUDED_INPUT
    .FASTW2V_COEFFICIENTS
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SAVED_ATTRS
    .FASTW2V_SOFTMAX_ATTRS
    .FASTW2V_EXCLUDED_ATTR
    .FASTW2V_FORWARD_ATTRS
    .FASTW2V_LOSS_OUTPUTS
    .SetShapeFn(LossShape);

REGISTER_OP("Fastw2v>SoftmaxLossGrad")
    .FASTW2V_BACKWARD_INPUTS
    .FASTW2V_LOSS_INPUTS
    .FASTW2V_EXCLUDED_INPUT
    .FASTW2V_COEFFICIENTS
    .FASTW2V_SAVED
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SAVED_ATTRS
    .FASTW2V_SOFTMAX_ATTRS
    .FASTW2V_EXCLUDED_ATTR
    .FASTW2V_INPUT_GRADIENTS
    .Output("d_weights: num_weights * T")
    .Output("d_biases: num_biases * T")
    .SetShapeFn(SoftmaxLossGradShape);

REGISTER_OP("Fastw2v>SoftmaxPart")
    .FASTW2V_LOSS_INPUTS
    .Input("part: int64")
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SOFTMAX_ATTRS
    .Output("statistics: Accumulator")
    .SetShapeFn(SoftmaxPartShape);

REGISTER_OP("Fastw2v>SoftmaxPartGrad")
    .FASTW2V_BACKWARD_INPUTS
    .FASTW2V_LOSS_INPUTS
    .Input("part: int64")
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SOFTMAX_ATTRS
    .FASTW2V_INPUT_GRADIENTS
    .Output("d_weights: num_weights * T")
    .Output("d_biases: num_biases * T")
    .SetShapeFn(SoftmaxLossGradShape);

REGISTER_OP("Fastw2v>JoinSoftmaxParts")
    .Input("statistics: Accumulator")
    .Input("part_classes: int64")
    .Input("labels: int64")
    .Attr("Accumulator: {float, double}")
    .FASTW2V_IGNORE_ATTRS
    .Attr("z_loss: float = 0.0")
    .FASTW2V_SOFTMAX_ATTRS
    .Output("loss: Accumulator")
    .Output("max: Accumulator")
    .Output("log_sum: Accumulator")
    .SetShapeFn(LossShape);

REGISTER_OP("Fastw2v>SampledLoss")
    .FASTW2V_LOSS_INPUTS
    .FASTW2V_SAMPLED_INPUTS
    .FASTW2V_COEFFICIENTS
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SAVED_ATTRS
    .FASTW2V_SAMPLED_ATTRS
    .FASTW2V_FORWARD_ATTRS
    .FASTW2V_LOSS_OUTPUTS
    .SetShapeFn(LossShape);

REGISTER_OP("Fastw2v>SampledLossGrad")
    .FASTW2V_BACKWARD_INPUTS
    .FASTW2V_LOSS_INPUTS
    .FASTW2V_SAMPLED_INPUTS
    .FASTW2V_COEFFICIENTS
    .FASTW2V_SAVED
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SAVED_ATTRS
    .FASTW2V_SAMPLED_ATTRS
    .FASTW2V_INPUT_GRADIENTS
    .Output("weights_rows: num_weights * int64")
    .Output("d_weights: num_weights * T")
    .Output("biases_rows: num_biases * int64")
    .Output("d_biases: num_biases * T")
    .SetShapeFn(SampledLossGradShape);

// clang-format on
