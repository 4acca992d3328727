// Registration and shape function of the training steps.
#include <vector>

#include "csrc/tensorflow/loss/loss_registration.h"
#include "csrc/tensorflow/optimizer/update_registration.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// A training step: losses [batch], and the gradient of activations.
absl::Status StepShape(InferenceContext* c) {
  std::vector<ShapeHandle> inputs;
  TF_RETURN_IF_ERROR(c->input("labels", &inputs));
  ShapeHandle labels;
  TF_RETURN_IF_ERROR(c->WithRank(inputs[0], 2, &labels));
  TF_RETURN_IF_ERROR(c->set_output("loss", {c->Vector(c->Dim(labels, 0))}));
  TF_RETURN_IF_ERROR(c->input("inputs", &inputs));
  int num_activations;
  TF_RETURN_IF_ERROR(c->GetAttr("num_activations", &num_activations));
  return c->set_output("d_inputs", std::vector<ShapeHandle>(num_activations, inputs[0]));
}

}  // namespace

// clang-format off
// A step trains the tables that its attributes name: each is then the handle of one variable, beside
// whose state it is given.
#define FASTW2V_STEP_INPUTS                                   \
   Input("coefficients: Accumulator")                         \
  .Input("embeddings_state: num_embeddings_state * resource") \
  .Input("weights_state: num_weights_state * resource")       \
  .Input("biases_state: num_biases_state * resource")

#define FASTW2V_STEP_ATTRS                                    \
   Attr("num_embeddings_state: int >= 0")                     \
  .Attr("num_weights_state: int >= 0")                        \
  .Attr("num_biases_state: int >= 0")                         \
  .Attr("train_embeddings: bool")                             \
  .Attr("train_weights: bool")                                \
  .Attr("train_biases: bool")                                 \
  .Attr("num_activations: int >= 0")

#define FASTW2V_STEP_OUTPUTS                                  \
   Output("loss: Accumulator")                                \
  .Output("d_inputs: num_activations * T")

REGISTER_OP("Fastw2v>SoftmaxStep")
    .FASTW2V_LOSS_INPUTS
    .FASTW2V_STEP_INPUTS
    .FASTW2V_UPDATE_NUMBERS
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SOFTMAX_ATTRS
    .FASTW2V_UPDATE_ATTRS
    .FASTW2V_STEP_ATTRS
    .FASTW2V_STEP_OUTPUTS
    .SetIsStateful()
    .SetShapeFn(StepShape);

REGISTER_OP("Fastw2v>SampledStep")
    .FASTW2V_LOSS_INPUTS
    .FASTW2V_SAMPLED_INPUTS
    .FASTW2V_STEP_INPUTS
    .FASTW2V_UPDATE_NUMBERS
    .FASTW2V_LOSS_ATTRS
    .FASTW2V_SAMPLED_ATTRS
    .FASTW2V_UPDATE_ATTRS
    .FASTW2V_STEP_ATTRS
    .FASTW2V_STEP_OUTPUTS
    .SetIsStateful()
    .SetShapeFn(StepShape);
// clang-format on
