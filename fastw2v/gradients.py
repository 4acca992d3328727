"""Registers a gradient for every op that has a float input; none of them is ever None.

The gradient of a table of which only some rows were met is a `tf.IndexedSlices` with unique,
ascending rows; that of exact weights is dense. The gradients of the gradient ops are composed from
TensorFlow ops through `fastw2v.reference` and store the logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.ops.control_flow_v2_func_graphs import WhileBodyFuncGraph

from fastw2v import reference
from fastw2v._library import ops as _ops

# In the order of the ops' inputs.
_TABLES = ("embeddings", "weights", "biases")
_COMMON_ATTRIBUTES = (
    "T",
    "combiner",
    "use_ignore_label",
    "ignore_label",
    "logit_scale",
    "logit_softcap",
    "z_loss",
    "compute_bfloat16",
)
_SOFTMAX_ATTRIBUTES = (*_COMMON_ATTRIBUTES, "label_smoothing")
_SAMPLED_ATTRIBUTES = (*_COMMON_ATTRIBUTES, "link", "split_target", "remove_accidental_hits")


class _Call:
    """The inputs of a loss op by name; each list input is a list."""

    def __init__(self, op: Any, inputs: Sequence[tf.Tensor], sampled: bool) -> None:
        names = _SAMPLED_ATTRIBUTES if sampled else _SOFTMAX_ATTRIBUTES
        self.attributes = {name: _attribute(op, name) for name in names}
        self.dtype = tf.as_dtype(self.attributes["T"])
        rest = list(inputs)

        def take(count: int) -> list[tf.Tensor]:
            taken, rest[:count] = rest[:count], []
            return taken

        self.embeddings = take(len(op.get_attr("Embeddings")))
        self.weights = take(len(op.get_attr("Weights")))
        self.biases = take(len(op.get_attr("Biases")))
        (self.inputs,) = take(1)
        self.row_splits = take(op.get_attr("num_row_splits"))
        (self.labels,) = take(1)
        self.sampled = sampled
        if sampled:
            (self.sampled_candidates,) = take(1)
            counts = op.get_attr("num_counts")
            self.true_expected_count = take(counts)
            self.sampled_expected_count = take(counts)
        self.coefficients = take(len(op.get_attr("Coefficients")))
        self._num_inputs = len(inputs)

    def op_inputs(self) -> dict[str, Any]:
        names = ["embeddings", "weights", "biases", "inputs", "row_splits", "labels"]
        if self.sampled:
            names += ["sampled_candidates", "true_expected_count", "sampled_expected_count"]
        return {name: getattr(self, name) for name in names}

    def input_gradients(self, tables: dict[str, list], d_inputs: tf.Tensor | None) -> list:
        """Gradients in the order of the op's inputs: tables, inputs, then what has none: integers,
        counts, and the coefficients and gradients of one pass, which have no part in the values."""
        gradients = [gradient for name in _TABLES for gradient in tables[name]]
        gradients.append(d_inputs)
        return gradients + [None] * (self._num_inputs - len(gradients))


def _attribute(op: Any, name: str) -> Any:
    value = op.get_attr(name)
    return value.decode() if isinstance(value, bytes) else value


def _sparse(
    tables: Sequence[tf.Tensor], rows: Sequence[tf.Tensor], values: Sequence[tf.Tensor]
) -> list[tf.IndexedSlices]:
    return [
        tf.IndexedSlices(value, row, dense_shape=_shape(table))
        for table, row, value in zip(tables, rows, values, strict=True)
    ]


def _shape(table: tf.Tensor) -> tf.Tensor:
    if table.dtype == tf.resource:
        return resource_variable_ops.variable_shape(table)
    return tf.shape(table)


@tf.RegisterGradient("Fastw2v>SoftmaxLoss")
def _softmax_loss_gradient(op: Any, d_loss: tf.Tensor, *_: Any) -> list:
    return _gradient(op, d_loss, sampled=False)


@tf.RegisterGradient("Fastw2v>SampledLoss")
def _sampled_loss_gradient(op: Any, d_loss: tf.Tensor, *_: Any) -> list:
    return _gradient(op, d_loss, sampled=True)


def _gradient(op: Any, d_loss: tf.Tensor, sampled: bool) -> list:
    call = _Call(op, op.inputs, sampled)
    grad_op = _ops.fastw2v_sampled_loss_grad if sampled else _ops.fastw2v_softmax_loss_grad
    _, maximum, log_sum, *saved = op.outputs
    in_one_pass = saved and not _outside_its_loop(maximum)
    grads = grad_op(
        d_loss=d_loss,
        max=maximum,
        log_sum=log_sum,
        coefficients=call.coefficients if in_one_pass else [],
        saved=saved if in_one_pass else [],
        num_embeddings=len(call.embeddings),
        num_activations=0 if call.embeddings else 1,
        num_weights=len(call.weights),
        num_biases=len(call.biases),
        **call.op_inputs(),
        **call.attributes,
    )
    tables = {
        "embeddings": _sparse(call.embeddings, grads.embeddings_rows, grads.d_embeddings),
        "weights": grads.d_weights,
        "biases": grads.d_biases,
    }
    if sampled:
        tables["weights"] = _sparse(call.weights, grads.weights_rows, grads.d_weights)
        tables["biases"] = _sparse(call.biases, grads.biases_rows, grads.d_biases)
    return call.input_gradients(tables, None if call.embeddings else grads.d_inputs[0])


def _outside_its_loop(output: tf.Tensor) -> bool:
    """Whether an op is in the body of a loop whose gradient is made after the loop has run. What
    the op saves would then be kept from every turn of the loop: gradients of whole tables."""
    if not tf.is_symbolic_tensor(output):
        return False
    here = list(_enclosing(tf.compat.v1.get_default_graph()))
    return any(
        isinstance(graph, WhileBodyFuncGraph) and graph not in here
        for graph in _enclosing(output.graph)
    )


def _enclosing(graph: tf.Graph | None) -> Iterator[tf.Graph]:
    """A graph and the graphs of functions around it."""
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)


@tf.RegisterGradient("Fastw2v>SoftmaxLossGrad")
def _softmax_loss_second_gradient(op: Any, *grads: Any) -> list:
    return _second_gradient(op, grads, sampled=False)


@tf.RegisterGradient("Fastw2v>SampledLossGrad")
def _sampled_loss_second_gradient(op: Any, *grads: Any) -> list:
    return _second_gradient(op, grads, sampled=True)


class _Rows:
    """The rows of a table that a gradient op met, as one tensor that can be differentiated.

    ``rows`` are the distinct rows of each shard, counted from its first; None stands for all.
    """

    def __init__(
        self, shards: Sequence[tf.Tensor], rows: Sequence[tf.Tensor] | None, dtype: tf.DType
    ) -> None:
        self._shards = shards
        self._rows = rows
        sizes = [tf.cast(_shape(shard)[0], tf.int64) for shard in shards]
        begins = tf.cumsum(tf.stack(sizes), exclusive=True) if shards else []
        if rows is None:
            parts = [_read(shard, dtype) for shard in shards]
            self._numbers = None
        else:
            parts = [_gather(shard, row, dtype) for shard, row in zip(shards, rows, strict=True)]
            numbers = [row + begins[i] for i, row in enumerate(rows)]
            self._numbers = tf.concat(numbers, axis=0) if shards else None
        self._counts = [tf.shape(part)[0] for part in parts]
        self.values = tf.concat(parts, axis=0) if shards else None

    def local(self, ids: tf.Tensor) -> tf.Tensor:
        """Positions of the given rows of the whole table among ``values``; -1 for absent ids."""
        if self._numbers is None:
            return ids
        position = tf.searchsorted(self._numbers, tf.reshape(ids, [-1]), out_type=tf.int64)
        last = tf.maximum(tf.size(self._numbers, tf.int64) - 1, 0)
        position = tf.minimum(position, last)
        met = tf.gather(self._numbers, position) == tf.reshape(ids, [-1])
        return tf.reshape(tf.where(met, position, -tf.ones_like(position)), tf.shape(ids))

    def join(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor | None:
        """The parts that belong to each shard as one tensor in the shape of ``values``."""
        return tf.concat(list(gradients), axis=0) if self._shards else None

    def split(self, gradient: tf.Tensor | None) -> list:
        """The reverse: what each shard receives."""
        if not self._shards:
            return []
        parts = tf.split(gradient, self._counts, num=len(self._shards))
        return parts if self._rows is None else _sparse(self._shards, self._rows, parts)


def _read(shard: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if shard.dtype == tf.resource:
        return tf.raw_ops.ReadVariableOp(resource=shard, dtype=dtype)
    return shard


def _gather(shard: tf.Tensor, rows: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if shard.dtype == tf.resource:
        return tf.raw_ops.ResourceGather(resource=shard, indices=rows, dtype=dtype)
    return tf.gather(shard, rows)


def _second_gradient(op: Any, upstream: Sequence[Any], sampled: bool) -> list:
    """Gradients of sum(upstream * outputs) of a gradient op, by differentiating the reference."""
    d_loss = op.inputs[0]
    call = _Call(op, op.inputs[3:], sampled)
    num = {name: len(getattr(call, name)) for name in _TABLES}
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

    embeddings = _Rows(call.embeddings, embeddings_rows, call.dtype)
    weights = _Rows(call.weights, weights_rows, call.dtype)
    biases = _Rows(call.biases, biases_rows, call.dtype)
    activations = None if call.embeddings else call.inputs
    sources = [embeddings.values, weights.values, biases.values, activations]
    targets = [embeddings.join(to_embeddings), weights.join(to_weights), biases.join(to_biases)]
    targets.append(None if call.embeddings else to_inputs[0])
    connected = [i for i, source in enumerate(sources) if source is not None]

    with tf.GradientTape() as second:
        second.watch([d_loss, *(sources[i] for i in connected)])
        with tf.GradientTape() as first:
            first.watch([sources[i] for i in connected])
            loss = _reference_loss(call, embeddings, weights, sources)
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
    # max and log_sum are functions of the other inputs, whose gradients count what they carry.
    return [d_d_loss, None, None, *call.input_gradients(tables, by_source.get(3))]


def _reference_loss(
    call: _Call, embeddings: _Rows, weights: _Rows, sources: Sequence[Any]
) -> tf.Tensor:
    table, weight_rows, bias_rows, activations = sources
    if call.embeddings:
        inputs = embeddings.local(call.inputs)
        if call.row_splits:
            inputs = tf.RaggedTensor.from_row_splits(inputs, call.row_splits[0], validate=False)
        hidden = reference.hidden_rows(table, inputs, call.attributes["combiner"])
    else:
        hidden = activations
    options = {name: call.attributes[name] for name in ("logit_scale", "logit_softcap", "z_loss")}
    ignore_label = call.attributes["ignore_label"] if call.attributes["use_ignore_label"] else None
    if not call.sampled:
        return reference.exact_loss(
            hidden,
            weight_rows,
            bias_rows,
            call.labels,
            ignore_label=ignore_label,
            label_smoothing=call.attributes["label_smoothing"],
            **options,
        )
    counts = (
        (call.true_expected_count[0], call.sampled_expected_count[0])
        if call.true_expected_count
        else (None, None)
    )
    labels = weights.local(call.labels)
    if ignore_label is not None:  # it may be a class that was met as a candidate
        labels = tf.where(call.labels == ignore_label, -tf.ones_like(labels), labels)
        ignore_label = -1
    return reference.sampled_loss(
        hidden,
        weight_rows,
        bias_rows,
        labels,
        (weights.local(call.sampled_candidates), *counts),
        ignore_label=ignore_label,
        link=call.attributes["link"],
        positive_target=1.0 / call.labels.shape[1] if call.attributes["split_target"] else 1.0,
        remove_accidental_hits=call.attributes["remove_accidental_hits"],
        **options,
    )
