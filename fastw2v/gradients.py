"""The gradients of the ops: every op with a float input has one, and none of them is ever None.

The gradient of a table of which only some rows were used is a `tf.IndexedSlices` with unique,
ascending rows; that of exact weights is dense. Importing this module registers them.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastw2v._core import forward_mode, tf_internals
from fastw2v._losses import lookup, prediction, second_order
from fastw2v._losses.call import LossCall


@tf.RegisterGradient("Fastw2v>SoftmaxLoss")
def _softmax_loss(op: Any, d_loss: tf.Tensor, *_: Any) -> list[Any]:
    return _loss(op, d_loss, sampled=False)


@tf.RegisterGradient("Fastw2v>SampledLoss")
def _sampled_loss(op: Any, d_loss: tf.Tensor, *_: Any) -> list[Any]:
    return _loss(op, d_loss, sampled=True)


def _loss(op: Any, d_loss: tf.Tensor, sampled: bool) -> list[Any]:
    call, coefficients = LossCall.of(op, op.inputs, sampled)
    _, maximum, log_sum, *saved = op.outputs
    if saved and tf_internals.outside_its_loop(maximum):
        # What the op saves would be kept from every turn of the loop: gradients of whole tables.
        coefficients, saved = [], []
    gradients = call.gradients(d_loss, maximum, log_sum, coefficients, saved)
    return gradients + [None] * (len(op.inputs) - len(gradients))


@tf.RegisterGradient("Fastw2v>SoftmaxLossGrad")
def _softmax_loss_grad(op: Any, *upstream: Any) -> list[Any]:
    return second_order.of_loss_gradient(op, upstream, sampled=False)


@tf.RegisterGradient("Fastw2v>SampledLossGrad")
def _sampled_loss_grad(op: Any, *upstream: Any) -> list[Any]:
    return second_order.of_loss_gradient(op, upstream, sampled=True)


@tf.RegisterGradient("Fastw2v>SoftmaxPart")
@tf.RegisterGradient("Fastw2v>SoftmaxPartGrad")
@tf.RegisterGradient("Fastw2v>JoinSoftmaxParts")
def _softmax_parts(op: Any, *_: Any) -> list[Any]:
    raise LookupError(
        f"{op.type} has no gradient by itself: the loss of which it is a part has a first one, and "
        "no second one"
    )


@tf.RegisterGradient("Fastw2v>TopK")
def _top_k(op: Any, d_values: tf.Tensor, _: Any) -> list[Any]:
    return prediction.gradient(op, d_values)


@tf.RegisterGradient("Fastw2v>Gather")
def _gather(op: Any, d_hidden: tf.Tensor) -> list[Any]:
    return lookup.gradient(op, d_hidden)


@tf.RegisterGradient("Fastw2v>GatherGrad")
def _gather_grad(op: Any, *upstream: Any) -> list[Any]:
    return second_order.of_gather_gradient(op, upstream)


for _name in ("SoftmaxLoss", "SampledLoss", "TopK", "Gather"):
    forward_mode.register(f"Fastw2v>{_name}")
    if _name != "TopK":  # whose gradient is composed from ops of TensorFlow
        forward_mode.register(f"Fastw2v>{_name}Grad")
