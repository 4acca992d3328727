"""Calls the loss ops and registers a gradient for every op that has a float input; none of them is
ever None.

The gradient of a table of which only some rows were met is a `tf.IndexedSlices` with unique,
ascending rows; that of exact weights is dense. The gradients of the gradient ops are composed from
TensorFlow ops through `fastw2v.reference` and store the logits. So is the whole loss where XLA
compiles, which knows no ops but TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import forwardprop_util, record
from tensorflow.python.ops.control_flow_v2_func_graphs import WhileBodyFuncGraph

from fastw2v import composed, reference, xla
from fastw2v._call import TABLES, Call, accumulator, attribute, sparse, table_shape
from fastw2v._library import ops as _ops
from fastw2v._reduction import Reduction
from fastw2v._tables import Table


def loss(
    inputs: dict[str, Any],
    attributes: dict[str, Any],
    reduction: Reduction,
    *,
    sampled: bool,
) -> tf.Tensor:
    """The losses [batch] by one of the loss ops.

    Where gradients may be asked for, the op is given the coefficients of a sum or mean, if
    there are any, and makes the gradients in the same pass: in a graph if something consumes them,
    eagerly at once.
    """
    call = Call(sampled, inputs, attributes)
    if xla.compiles():
        return composed.loss(call)
    op = _ops.fastw2v_sampled_loss if sampled else _ops.fastw2v_softmax_loss
    eager = tf.executing_eagerly()
    asks = not eager or _only_tapes_record(call.float_inputs())
    known = reduction.coefficients() if asks else None
    arguments = {**inputs, **attributes, "Accumulator": accumulator(call.dtype)}
    if known is None:
        return op(**arguments, coefficients=[], num_saved=0).loss
    arguments.update(
        coefficients=[known],
        num_saved=call.num_gradients(),
        only_reduced=reduction.only_reduced,
    )
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


def _only_tapes_record(inputs: list[tf.Tensor]) -> bool:
    """Whether a gradient may be asked for eagerly, and no directional derivative by a
    `tf.autodiff.ForwardAccumulator`, which needs to see the op itself."""
    if not record.should_record_backprop(inputs):
        return False
    return not forwardprop_util.pack_tangents(inputs).tangents


@tf.RegisterGradient("Fastw2v>SoftmaxLoss")
def _softmax_loss_gradient(op: Any, d_loss: tf.Tensor, *_: Any) -> list:
    return _gradient(op, d_loss, sampled=False)


@tf.RegisterGradient("Fastw2v>SampledLoss")
def _sampled_loss_gradient(op: Any, d_loss: tf.Tensor, *_: Any) -> list:
    return _gradient(op, d_loss, sampled=True)


def _gradient(op: Any, d_loss: tf.Tensor, sampled: bool) -> list:
    call, coefficients = Call.of(op, op.inputs, sampled)
    _, maximum, log_sum, *saved = op.outputs
    if saved and _outside_its_loop(maximum):
        coefficients, saved = [], []
    gradients = _gradients(call, d_loss, maximum, log_sum, coefficients, saved)
    return gradients + [None] * (len(op.inputs) - len(gradients))


def _gradients(
    call: Call,
    d_loss: tf.Tensor,
    maximum: tf.Tensor,
    log_sum: tf.Tensor,
    coefficients: list[tf.Tensor],
    saved: list[tf.Tensor],
) -> list:
    """Gradients of `Call.float_inputs`."""
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
        "embeddings": sparse(call.embeddings, grads.embeddings_rows, grads.d_embeddings),
        "weights": grads.d_weights,
        "biases": grads.d_biases,
    }
    if call.sampled:
        tables["weights"] = sparse(call.weights, grads.weights_rows, grads.d_weights)
        tables["biases"] = sparse(call.biases, grads.biases_rows, grads.d_biases)
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


def _second_gradient(op: Any, upstream: Sequence[Any], sampled: bool) -> list:
    """Gradients of sum(upstream * outputs) of a gradient op, by differentiating the reference."""
    d_loss = op.inputs[0]
    call, _ = Call.of(op, op.inputs[3:], sampled)
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


def top_k(
    hidden: tf.Tensor, weights: Table, biases: Table | None, k: int, **options: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The k largest logits of each row of ``hidden`` [batch, dim], and their classes."""
    shards = biases.shards if biases is not None else []
    if not xla.compiles():
        return _ops.fastw2v_top_k(
            inputs=hidden, weights=weights.shards, biases=shards, T=weights.dtype, k=k, **options
        )
    tables = [
        composed.Rows(parts, None, weights.dtype).values for parts in (weights.shards, shards)
    ]
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
        name: composed.Rows(parts, _split_rows(met, parts), op.get_attr("T"))
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
        end = begin + tf.cast(table_shape(shard)[0], tf.int64)
        parts.append(tf.boolean_mask(rows, (rows >= begin) & (rows < end)) - begin)
        begin = end
    return parts


def gather(table: Table, ids: tf.Tensor, row_splits: list[tf.Tensor], combiner: str) -> tf.Tensor:
    """Rows of a table for ids [batch], or sums or means of bags of them, [batch, dim]."""
    table.prepare([ids])
    make = composed.bags if xla.compiles() else _gather_bags
    hidden = make(table.shards, table.dtype, ids, row_splits, combiner)
    return tf.ensure_shape(hidden, [None, table.dim])


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
        combiner=attribute(op, "combiner"),
    )
    return [*sparse(shards, rows, values), None, *(None for _ in row_splits)]


@tf.RegisterGradient("Fastw2v>GatherGrad")
def _gather_second_gradient(op: Any, *upstream: Any) -> list:
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
    d_d_hidden = _gather_bags(
        [met.join(back)], back[0].dtype, met.local(ids), row_splits, attribute(op, "combiner")
    )
    return [d_d_hidden] + [None] * (len(op.inputs) - 1)
