// What the registrations of losses and of training steps have in common.
//
// A table (embeddings, weights, biases) is a list of shards, each a tensor [rows, dim] of type T or
// the handle of a variable that holds one; biases are [rows] and may be absent (empty list).
// `inputs` are ids int64 [batch] or [batch, n], or, where the list of embeddings is empty,
// activations [batch, dim] of type T. `row_splits` is absent or one int64 vector that makes bags of
// the ids. `inputs` and `labels` are documented in csrc/core/gather.h and csrc/core/loss.h.
#ifndef FASTW2V_TENSORFLOW_LOSS_LOSS_REGISTRATION_H_
#define FASTW2V_TENSORFLOW_LOSS_LOSS_REGISTRATION_H_

// clang-format off
#define FASTW2V_LOSS_INPUTS                       \
   Input("embeddings: Embeddings")                \
  .Input("weights: Weights")                      \
  .Input("biases: Biases")                        \
  .Input("inputs: Inputs")                        \
  .Input("row_splits: num_row_splits * int64")    \
  .Input("labels: int64")

// Absent or [batch, 2], the ranges `excluded` of csrc/core.
#define FASTW2V_EXCLUDED_INPUT                                \
   Input("excluded: num_excluded * int64")

#define FASTW2V_EXCLUDED_ATTR                                 \
   Attr("num_excluded: int >= 0 = 0")

#define FASTW2V_SAMPLED_INPUTS                                \
   Input("sampled_candidates: int64")                         \
  .Input("true_expected_count: num_counts * float")           \
  .Input("sampled_expected_count: num_counts * float")

#define FASTW2V_IGNORE_ATTRS                                  \
   Attr("use_ignore_label: bool = false")                     \
  .Attr("ignore_label: int = -1")

#define FASTW2V_LOSS_ATTRS                                    \
   Attr("T: {float, double, half, bfloat16}")                 \
  .Attr("Accumulator: {float, double}")                       \
  .Attr("Embeddings: list({resource, float, double, half, bfloat16}) >= 0") \
  .Attr("Weights: list({resource, float, double, half, bfloat16}) >= 1")    \
  .Attr("Biases: list({resource, float, double, half, bfloat16}) >= 0")     \
  .Attr("Inputs: {int64, float, double, half, bfloat16}")     \
  .Attr("num_row_splits: int >= 0")                           \
  .Attr("combiner: {'mean', 'sum'} = 'mean'")                 \
  .FASTW2V_IGNORE_ATTRS                                       \
  .Attr("logit_scale: float = 1.0")                           \
  .Attr("logit_softcap: float = 0.0")                         \
  .Attr("z_loss: float = 0.0")                                \
  .Attr("compute_dtype: {float, double, bfloat16}")

#define FASTW2V_SOFTMAX_ATTRS                                 \
   Attr("label_smoothing: float = 0.0")                       \
  .Attr("margin: float = 0.0")

#define FASTW2V_SAMPLED_ATTRS                                 \
   Attr("num_counts: int >= 0")                               \
  .Attr("link: {'softmax', 'logistic'}")                      \
  .Attr("split_target: bool = false")                         \
  .Attr("remove_accidental_hits: bool = true")
// clang-format on

#endif  // FASTW2V_TENSORFLOW_LOSS_LOSS_REGISTRATION_H_
