"""Gradients of gradient ops, composed from TensorFlow ops through `fastw2v.reference`, which stores
the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastw2v._losses import composed
from fastw2v._losses.call import TABLES, LossCall, attribute
from fastw2v._losses.lookup import gather_bags


def of_loss_gradient(op: Any, upstream: Sequence[Any], sampled: bool) -> list[Any]:
    """Gradients of sum(upstream * outputs) of a gradient op, by differentiating the reference."""
    d_loss = op.inputs[0]
    call, _ = LossCall.of(op, op.inputs[3:], sampled)
    num = {name: len(getattr(call, name)) for name in TABLES}
    outputs, upstream = list(op.outputs), list(upstream)

    def take(count: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The next outputs of a gradient op and what arrives for them (zeros for nothing)."""
        taken, rest = outputs[:count], upstream[:count]
        del outputs[:count], upstream[:count]
        return taken, [
            tf.zeros_like(value) if gradient is None else tf.convert_to_tensor(gradient)
            for value, gradient in zip(taken, rest, strict=True)
        ]

    embeddings_rows, _ = take(num["embeddings"])
    _, to_embeddings = take(num["embeddings"])
    _, to_inputs = take(0 if num["embeddings"] else 1)
    weights_rows, biases_rows = None, None
    if sampled:
        weights_rows, _ = take(num["weights"])
    _, to_weights = take(num["weights"])
    if sampled:
        biases_rows, _ = take(num["biases"])
    _, to_biases = take(num["biases"])

    embeddings = composed.Rows(call.embeddings, embeddings_rows, call.dtype)
    weights = composed.Rows(call.weights, weights_rows, call.dtype)
    biases = composed.Rows(call.biases, biases_rows, call.dtype)
    activations = None if call.embeddings else call.inputs
    sources = [embeddings.values, weights.values, biases.values, activations]
    targets = [embeddings.join(to_embeddings), weights.join(to_weights), biases.join(to_biases)]
    targets.append(None if call.embeddings else to_inputs[0])
    connected = [i for i, source in enumerate(sources) if source is not None]

    with tf.GradientTape() as second:
        second.watch([d_loss, *(sources[i] for i in connected)])
        with tf.GradientTape() as first:
            first.watch([sources[i] for i in connected])
            loss = composed.reference_loss(
                call,
                sources,
                embeddings.local(call.inputs),
                weights.local(call.labels),
                weights.local(call.sampled_candidates) if sampled else None,
            )
        gradients = first.gradient(
            loss,
            [sources[i] for i in connected],
            output_gradients=d_loss,
            unconnected_gradients="zero",
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    results = second.gradient(
        gradients,
        [d_loss, *(sources[i] for i in connected)],
        output_gradients=[targets[i] for i in connected],
        unconnected_gradients="zero",
    )
    d_d_loss, *results = [tf.convert_to_tensor(result) for result in results]
    by_source = dict(zip(connected, results, strict=True))
    tables = {
        "embeddings": embeddings.split(by_source.get(0)),
        "weights": weights.split(by_source.get(1)),
        "biases": biases.split(by_source.get(2)),
    }
    gradients = call.float_gradients(tables, by_source.get(3))
    # max, log_sum and what was saved are functions of the other inputs, whose gradients count what
    # they carry.
    return [d_d_loss, None, None, *gradients] + [None] * (len(op.inputs) - 3 - len(gradients))


def of_gather_gradient(op: Any, upstream: Sequence[Any]) -> list[Any]:
    """The gradient is linear in d_hidden, each row of which goes to rows of its bag: the way back
    gathers from these."""
    count = len(op.get_attr("Embeddings"))
    _, *shards = op.inputs[: count + 1]
    ids, *row_splits = op.inputs[count + 1 :]
    met = composed.Rows(shards, op.outputs[:count], op.get_attr("T"))
    back = [
        tf.zeros_like(values) if gradient is None else tf.convert_to_tensor(gradient)
        for values, gradient in zip(op.outputs[count:], upstream[count:], strict=True)
    ]
    d_d_hidden = gather_bags(
        [met.join(back)], back[0].dtype, met.local(ids), row_splits, attribute(op, "combiner")
    )
    return [d_d_hidden] + [None] * (len(op.inputs) - 1)
