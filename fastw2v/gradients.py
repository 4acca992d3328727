"""Calls the loss ops and registers a gradient for every op that has a float input; none of them is
ever None.

The gradient of a table of which only some rows were met is a `tf.IndexedSlices` with unique,
ascending rows; that of exact weights is dense. The gradients of the gradient ops are composed from
TensorFlow ops through `fastw2v.reference` and store the logits. So is the whole loss where XLA
compiles, which knows no ops but TensorFlow's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import forwardprop_util, record
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.ops.control_flow_v2_func_graphs import WhileBodyFuncGraph

from fastw2v import reference, xla
from fastw2v._library import ops as _ops
from fastw2v._tables import Table

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
    """The arguments of a loss op by name; each list input is a list."""

    def __init__(self, sampled: bool, inputs: dict[str, Any], attributes: dict[str, Any]) -> None:
        self.sampled = sampled
        self.op_inputs = inputs
        self.attributes = attributes
        self.dtype = tf.as_dtype(attributes["T"])
        used = attributes.get("use_ignore_label", False)
        self.ignore_label = attributes["ignore_label"] if used else None
        self.embeddings = inputs["embeddings"]
        self.weights = inputs["weights"]
        self.biases = inputs["biases"]
        self.inputs = inputs["inputs"]
        self.row_splits = inputs["row_splits"]
        self.labels = inputs["labels"]
        if sampled:
            self.sampled_candidates = inputs["sampled_candidates"]
            self.true_expected_count = inputs["true_expected_count"]
            self.sampled_expected_count = inputs["sampled_expected_count"]

    @classmethod
    def of(cls, op: Any, inputs: Sequence[tf.Tensor], sampled: bool) -> tuple[_Call, list]:
        """The call of an op that has these inputs, and those that come after its arguments."""
        rest = list(inputs)

        def take(count: int) -> list[tf.Tensor]:
            taken, rest[:count] = rest[:count], []
            return taken

        arguments: dict[str, Any] = {
            "embeddings": take(len(op.get_attr("Embeddings"))),
            "weights": take(len(op.get_attr("Weights"))),
            "biases": take(len(op.get_attr("Biases"))),
            "inputs": take(1)[0],
            "row_splits": take(op.get_attr("num_row_splits")),
            "labels": take(1)[0],
        }
        if sampled:
            counts = op.get_attr("num_counts")
            arguments["sampled_candidates"] = take(1)[0]
            arguments["true_expected_count"] = take(counts)
            arguments["sampled_expected_count"] = take(counts)
        names = _SAMPLED_ATTRIBUTES if sampled else _SOFTMAX_ATTRIBUTES
        attributes = {name: _attribute(op, name) for name in names}
        return cls(sampled, arguments, attributes), rest

    def float_inputs(self) -> list[tf.Tensor]:
        """What may have a gradient, in the order of the op's inputs (and ids, which have none)."""
        return [*self.embeddings, *self.weights, *self.biases, self.inputs]

    def num_gradients(self) -> int:
        """Number of outputs of the gradient op."""
        sparse = 2  # rows and values
        hidden = sparse * len(self.embeddings) if self.embeddings else 1
        classes = len(self.weights) + len(self.biases)
        return hidden + (sparse * classes if self.sampled else classes)

    def float_gradients(self, tables: dict[str, list], d_inputs: tf.Tensor | None) -> list:
        """Gradients of these, from those of each table."""
        return [*(gradient for name in _TABLES for gradient in tables[name]), d_inputs]


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


def loss(
    inputs: dict[str, Any],
    attributes: dict[str, Any],
    coefficients: Callable[[], tf.Tensor | None],
    *,
    sampled: bool,
) -> tf.Tensor:
    """The losses [batch] by one of the loss ops.

    Where gradients may be asked for, the op is given the ``coefficients`` of a sum or mean, if
    there are any, and makes the gradients in the same pass: in a graph if something consumes them,
    eagerly at once.
    """
    call = _Call(sampled, inputs, attributes)
    if xla.compiles():
        return _composed_loss(call)
    op = _ops.fastw2v_sampled_loss if sampled else _ops.fastw2v_softmax_loss
    eager = tf.executing_eagerly()
    known = coefficients() if not eager or _only_tapes_record(call.float_inputs()) else None
    arguments = {**inputs, **attributes, "Accumulator": accumulator(call.dtype)}
    if known is None:
        return op(**arguments, coefficients=[], num_saved=0).loss
    arguments.update(coefficients=[known], num_saved=call.num_gradients())
    if not eager:
        return op(**arguments).loss
    # Left to itself an eager tape makes zeros in the shapes of all outputs beside the loss, and
    # keeps them; those of what is saved are as large as the tables.
    with record.stop_recording():
        outputs = op(**arguments)

    def backward(d_loss: tf.Tensor) -> list:
        return _gradients(call, d_loss, outputs.max, outputs.log_sum, [known], outputs.saved)

    record.record_operation("Fastw2vLoss", [outputs.loss], call.float_inputs(), backward)
    return outputs.loss


def _composed_loss(call: _Call) -> tf.Tensor:
    """The losses [batch] from TensorFlow ops, which differentiate themselves.

    An example with an id or count out of range, or with an empty bag, has the loss NaN and no
    gradient; a candidate out of range in a list for the whole batch counts for every example.
    """
    for name in ("inputs", "sampled_candidates") if call.sampled else ("inputs",):
        if getattr(call, name).shape.rank is None:
            raise ValueError(
                f"{name} has an unknown rank, which XLA cannot compile: set it by tf.ensure_shape"
            )
    batch = tf.shape(call.inputs if not call.row_splits else call.row_splits[0][1:])[0]
    # Sizes that only turn out when the function is compiled must agree then, not be broadcast.
    call.labels = tf.reshape(call.labels, [batch, tf.shape(call.labels)[1]])
    valid = _valid_examples(call)
    dtype = accumulator(call.dtype)
    inputs, labels, candidates = call.inputs, call.labels, None
    embeddings, bias_rows, activations = None, None, None
    if call.embeddings:
        rows, position = _met_rows(call.embeddings, inputs, call.dtype)
        embeddings = _widened(rows, dtype)
        padded = not call.row_splits and inputs.shape.rank == 2
        inputs = position if padded else tf.maximum(position, 0)
    else:
        activations = inputs
    if call.sampled:
        for counts in (call.true_expected_count, call.sampled_expected_count):
            counts[:] = [tf.where(count > 0, count, 1) for count in counts]
        candidates = call.sampled_candidates
        ids = tf.concat([tf.reshape(labels, [-1]), tf.reshape(candidates, [-1])], axis=0)
        weights, position = _met_rows(call.weights, ids, call.dtype)
        labels = tf.reshape(position[: tf.size(labels)], tf.shape(labels))
        candidates = tf.reshape(position[tf.size(labels) :], tf.shape(candidates))
        candidates = tf.maximum(candidates, 0)
        if call.biases:
            biases, position = _met_rows(call.biases, weights.numbers, call.dtype)
            bias_rows = tf.gather(_widened(biases, dtype), position)
    else:
        weights = _Rows(call.weights, None, call.dtype)
        bias_rows = _Rows(call.biases, None, call.dtype).values
    labels = tf.where(valid[:, tf.newaxis], labels, 0)
    sources = [embeddings, _widened(weights, dtype), bias_rows, activations]
    options = {"compute_dtype": "bfloat16" if call.attributes["compute_bfloat16"] else None}
    losses = _reference_loss(call, sources, inputs, labels, candidates, **options)
    return tf.where(valid, losses, math.nan)


def _widened(rows: _Rows, dtype: tf.DType) -> tf.Tensor:
    """The rows in ``dtype``. The gradient of a reshape is dense: what one row receives several
    times is summed in ``dtype`` too, before it is rounded to that of the table."""
    values = tf.cast(rows.values, dtype)
    return tf.reshape(values, tf.shape(values))


def _met_rows(
    shards: Sequence[tf.Tensor], ids: tf.Tensor, dtype: tf.DType
) -> tuple[_Rows, tf.Tensor]:
    """The rows of a table that ids pick, and the position of each id among them, or -1."""
    flat = tf.reshape(ids, [-1])
    positions = -tf.ones_like(flat)
    met, first = [], tf.constant(0, tf.int64)
    num_met = tf.constant(0, tf.int64)
    for shard in shards:
        size = tf.cast(_shape(shard)[0], tf.int64)
        rows, position = xla.unique_rows(flat - first, size)
        positions = tf.where(position >= 0, num_met + position, positions)
        met.append(rows)
        first += size
        num_met += tf.size(rows, tf.int64)
    return _Rows(shards, met, dtype), tf.reshape(positions, tf.shape(ids))


def _valid_examples(call: _Call) -> tf.Tensor:
    """Which examples [batch] have all their ids in range."""

    def known(ids: tf.Tensor, shards: Sequence[tf.Tensor]) -> tf.Tensor:
        rows = tf.add_n([tf.cast(_shape(shard)[0], tf.int64) for shard in shards])
        return (ids >= 0) & (ids < rows)

    labels_known = known(call.labels, call.weights)
    if call.ignore_label is not None:
        labels_known |= call.labels == call.ignore_label
    valid = tf.reduce_all(labels_known, axis=1)
    if call.embeddings:
        inputs_known = known(call.inputs, call.embeddings)
        if call.row_splits:
            bags = tf.RaggedTensor.from_row_splits(
                tf.cast(~inputs_known, tf.int32), call.row_splits[0], validate=False
            )
            valid &= (tf.reduce_sum(bags, axis=1) == 0) & (bags.row_lengths() > 0)
        elif call.inputs.shape.rank == 2:
            padding = call.inputs < 0
            valid &= tf.reduce_all(inputs_known | padding, axis=1) & ~tf.reduce_all(padding, axis=1)
        else:
            valid &= inputs_known
    if call.sampled:
        candidates = [known(call.sampled_candidates, call.weights)]
        candidates += [count > 0 for count in call.sampled_expected_count]
        for good in candidates:
            valid &= tf.reduce_all(good, axis=-1)  # for all examples or for each
        for count in call.true_expected_count:
            valid &= tf.reduce_all(tf.reshape(count > 0, tf.shape(call.labels)), axis=1)
    return valid


def _only_tapes_record(inputs: list[tf.Tensor]) -> bool:
    """Whether a gradient may be asked for eagerly, and no directional derivative by a
    `tf.autodiff.ForwardAccumulator`, which needs to see the op itself."""
    if not record.should_record_backprop(inputs):
        return False
    return not forwardprop_util.pack_tangents(inputs).tangents


def accumulator(dtype: tf.DType) -> tf.DType:
    """In what the losses of tables of ``dtype`` are summed."""
    return tf.float64 if dtype == tf.float64 else tf.float32


@tf.RegisterGradient("Fastw2v>SoftmaxLoss")
def _softmax_loss_gradient(op: Any, d_loss: tf.Tensor, *_: Any) -> list:
    return _gradient(op, d_loss, sampled=False)


@tf.RegisterGradient("Fastw2v>SampledLoss")
def _sampled_loss_gradient(op: Any, d_loss: tf.Tensor, *_: Any) -> list:
    return _gradient(op, d_loss, sampled=True)


def _gradient(op: Any, d_loss: tf.Tensor, sampled: bool) -> list:
    call, coefficients = _Call.of(op, op.inputs, sampled)
    _, maximum, log_sum, *saved = op.outputs
    if saved and _outside_its_loop(maximum):
        coefficients, saved = [], []
    gradients = _gradients(call, d_loss, maximum, log_sum, coefficients, saved)
    return gradients + [None] * (len(op.inputs) - len(gradients))


def _gradients(
    call: _Call,
    d_loss: tf.Tensor,
    maximum: tf.Tensor,
    log_sum: tf.Tensor,
    coefficients: list[tf.Tensor],
    saved: list[tf.Tensor],
) -> list:
    """Gradients of `_Call.float_inputs`."""
    grad_op = _ops.fastw2v_sampled_loss_grad if call.sampled else _ops.fastw2v_softmax_loss_grad
    grads = grad_op(
        d_loss=d_loss,
        max=maximum,
        log_sum=log_sum,
        coefficients=coefficients,
        saved=saved,
        num_embeddings=len(call.embeddings),
        num_activations=0 if call.embeddings else 1,
        num_weights=len(call.weights),
        num_biases=len(call.biases),
        **call.op_inputs,
        **call.attributes,
    )
    tables = {
        "embeddings": _sparse(call.embeddings, grads.embeddings_rows, grads.d_embeddings),
        "weights": grads.d_weights,
        "biases": grads.d_biases,
    }
    if call.sampled:
        tables["weights"] = _sparse(call.weights, grads.weights_rows, grads.d_weights)
        tables["biases"] = _sparse(call.biases, grads.biases_rows, grads.d_biases)
    return call.float_gradients(tables, None if call.embeddings else grads.d_inputs[0])


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
            self.numbers = None
        else:
            parts = [_gather(shard, row, dtype) for shard, row in zip(shards, rows, strict=True)]
            numbers = [row + begins[i] for i, row in enumerate(rows)]
            self.numbers = tf.concat(numbers, axis=0) if shards else None
        self._counts = [tf.shape(part)[0] for part in parts]
        self.values = tf.concat(parts, axis=0) if shards else None

    def local(self, ids: tf.Tensor) -> tf.Tensor:
        """Positions of the given rows of the whole table among ``values``; -1 for absent ids."""
        if self.numbers is None:
            return ids
        position = tf.searchsorted(self.numbers, tf.reshape(ids, [-1]), out_type=tf.int64)
        last = tf.maximum(tf.size(self.numbers, tf.int64) - 1, 0)
        position = tf.minimum(position, last)
        met = tf.gather(self.numbers, position) == tf.reshape(ids, [-1])
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
    call, _ = _Call.of(op, op.inputs[3:], sampled)
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
            loss = _reference_loss(
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


def _reference_loss(
    call: _Call,
    sources: Sequence[Any],
    inputs: Any,
    labels: tf.Tensor,
    candidates: Any,
    **options: Any,
) -> tf.Tensor:
    """The losses of a call: rows of its tables (or activations), and ids that count among these."""
    table, weight_rows, bias_rows, activations = sources
    if call.embeddings:
        if call.row_splits:
            inputs = tf.RaggedTensor.from_row_splits(inputs, call.row_splits[0], validate=False)
        hidden = reference.hidden_rows(table, inputs, call.attributes["combiner"])
    else:
        hidden = activations
    for name in ("logit_scale", "logit_softcap", "z_loss"):
        options[name] = call.attributes[name]
    ignore_label = call.ignore_label
    if not call.sampled:
        return reference.exact_loss(
            hidden,
            weight_rows,
            bias_rows,
            labels,
            ignore_label=ignore_label,
            label_smoothing=call.attributes["label_smoothing"],
            **options,
        )
    counts = (
        (call.true_expected_count[0], call.sampled_expected_count[0])
        if call.true_expected_count
        else (None, None)
    )
    if ignore_label is not None:  # it may be a class that was met as a candidate
        labels = tf.where(call.labels == ignore_label, -tf.ones_like(labels), labels)
        ignore_label = -1
    return reference.sampled_loss(
        hidden,
        weight_rows,
        bias_rows,
        labels,
        (candidates, *counts),
        ignore_label=ignore_label,
        link=call.attributes["link"],
        positive_target=1.0 / call.labels.shape[1] if call.attributes.get("split_target") else 1.0,
        remove_accidental_hits=call.attributes["remove_accidental_hits"],
        **options,
    )


def top_k(
    hidden: tf.Tensor, weights: Table, biases: Table | None, k: int, **options: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The k largest logits of each row of ``hidden`` [batch, dim], and their classes."""
    shards = biases.shards if biases is not None else []
    if not xla.compiles():
        return _ops.fastw2v_top_k(
            inputs=hidden, weights=weights.shards, biases=shards, T=weights.dtype, k=k, **options
        )
    tables = [_Rows(parts, None, weights.dtype).values for parts in (weights.shards, shards)]
    return reference.top_k(hidden, *tables, k, **options)


@tf.RegisterGradient("Fastw2v>TopK")
def _top_k_gradient(op: Any, d_values: tf.Tensor, _: Any) -> list:
    """Only the rows of the classes found count: their logits are made again from these."""
    hidden, *tables = op.inputs
    num_weights = len(op.get_attr("Weights"))
    shards = {"weights": tables[:num_weights], "biases": tables[num_weights:]}
    indices = op.outputs[1]
    met = tf.sort(tf.unique(tf.reshape(indices, [-1])).y)
    rows = {
        name: _Rows(parts, _split_rows(met, parts), op.get_attr("T"))
        for name, parts in shards.items()
    }
    sources = [hidden, *(rows[name].values for name in shards if shards[name])]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        logits = reference.candidate_logits(
            hidden,
            rows["weights"].values,
            rows["biases"].values,
            rows["weights"].local(indices),
            logit_scale=op.get_attr("logit_scale"),
            logit_softcap=op.get_attr("logit_softcap"),
        )
    d_hidden, *d_tables = tape.gradient(logits, sources, output_gradients=d_values)
    d_tables = [tf.convert_to_tensor(gradient) for gradient in d_tables]
    d_weights, d_biases = d_tables if shards["biases"] else (*d_tables, None)
    return [d_hidden, *rows["weights"].split(d_weights), *rows["biases"].split(d_biases)]


def _split_rows(rows: tf.Tensor, shards: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Ascending rows of a table as those of each shard, counted from its first."""
    parts, begin = [], tf.constant(0, tf.int64)
    for shard in shards:
        end = begin + tf.cast(_shape(shard)[0], tf.int64)
        parts.append(tf.boolean_mask(rows, (rows >= begin) & (rows < end)) - begin)
        begin = end
    return parts


def gather(table: Table, ids: tf.Tensor, row_splits: list[tf.Tensor], combiner: str) -> tf.Tensor:
    """Rows of a table for ids [batch], or sums or means of bags of them, [batch, dim]."""
    table.prepare([ids])
    make = _composed_bags if xla.compiles() else _gather_bags
    hidden = make(table.shards, table.dtype, ids, row_splits, combiner)
    return tf.ensure_shape(hidden, [None, table.dim])


def _composed_bags(
    shards: Sequence[tf.Tensor],
    dtype: tf.DType,
    ids: tf.Tensor,
    row_splits: Sequence[tf.Tensor],
    combiner: str,
) -> tf.Tensor:
    """The same from TensorFlow ops; an id out of range makes its row or bag NaN."""
    rows, position = _met_rows(shards, ids, dtype)
    padding = (ids < 0) & (not row_splits and ids.shape.rank == 2)
    wrong = (position < 0) & ~padding
    inputs = tf.where(padding, position, tf.maximum(position, 0))
    if row_splits:
        inputs, wrong = (
            tf.RaggedTensor.from_row_splits(flat, row_splits[0], validate=False)
            for flat in (inputs, tf.cast(wrong, tf.int32))
        )
        wrong = tf.reduce_sum(wrong, axis=1) > 0
    elif ids.shape.rank == 2:
        wrong = tf.reduce_any(wrong, axis=1)
    hidden = reference.hidden_rows(_widened(rows, accumulator(dtype)), inputs, combiner)
    return tf.where(wrong[:, tf.newaxis], tf.cast(math.nan, hidden.dtype), hidden)


def _gather_bags(
    shards: Sequence[tf.Tensor],
    dtype: tf.DType,
    ids: tf.Tensor,
    row_splits: Sequence[tf.Tensor],
    combiner: str,
) -> tf.Tensor:
    return _ops.fastw2v_gather(
        embeddings=shards,
        inputs=ids,
        row_splits=row_splits,
        T=dtype,
        Accumulator=accumulator(dtype),
        combiner=combiner,
    )


@tf.RegisterGradient("Fastw2v>Gather")
def _gather_gradient(op: Any, d_hidden: tf.Tensor) -> list:
    count = len(op.get_attr("Embeddings"))
    shards, (ids, *row_splits) = op.inputs[:count], op.inputs[count:]
    rows, values = _ops.fastw2v_gather_grad(
        d_hidden=d_hidden,
        embeddings=shards,
        inputs=ids,
        row_splits=row_splits,
        T=op.get_attr("T"),
        num_embeddings=count,
        combiner=_attribute(op, "combiner"),
    )
    return [*_sparse(shards, rows, values), None, *(None for _ in row_splits)]


@tf.RegisterGradient("Fastw2v>GatherGrad")
def _gather_second_gradient(op: Any, *upstream: Any) -> list:
    """The gradient is linear in d_hidden, each row of which goes to rows of its bag: the way back
    gathers from these."""
    count = len(op.get_attr("Embeddings"))
    _, *shards = op.inputs[: count + 1]
    ids, *row_splits = op.inputs[count + 1 :]
    met = _Rows(shards, op.outputs[:count], op.get_attr("T"))
    back = [
        tf.zeros_like(values) if gradient is None else tf.convert_to_tensor(gradient)
        for values, gradient in zip(op.outputs[count:], upstream[count:], strict=True)
    ]
    d_d_hidden = _gather_bags(
        [met.join(back)], back[0].dtype, met.local(ids), row_splits, _attribute(op, "combiner")
    )
    return [d_d_hidden] + [None] * (len(op.inputs) - 1)
