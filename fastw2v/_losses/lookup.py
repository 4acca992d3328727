"""Rows of a table for ids, and sums and means of rows for bags of ids of all forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastw2v._core import tensorflow_ops
from fastw2v._core.arguments import check_one_of, to_floats, to_ids
from fastw2v._core.library import ops as _ops
from fastw2v._core.tables import ACCUMULATORS, Table, slices, table
from fastw2v._losses import composed, remote
from fastw2v._losses.build import bags, ragged_ids
from fastw2v._losses.call import attribute

COMBINERS = ("mean", "sum", "sqrtn")
EMPTY_BAGS = ("error", "zeros")


@tf.autograph.experimental.do_not_convert
def lookup(
    embeddings: Any,
    inputs: Any,
    combiner: str | None,
    *,
    weights: Any = None,
    empty_bags: str = "error",
) -> tf.Tensor:
    """Rows of a table for ids of any shape or, with a combiner, for bags of them along the last
    axis, in float32 (float64 for such tables); the gradient has unique ascending rows.

    Args:
        embeddings: Table [rows, dim].
        inputs: Integer ids, as a tensor, a ``tf.RaggedTensor`` or a ``tf.SparseTensor``. In bags
            that are a tensor negative ids are padding.
        combiner: None, "mean", "sum" or "sqrtn", the sum divided by the root of the summed squares
            of the weights, as in ``tf.nn.embedding_lookup_sparse``.
        weights: Factors of the ids, in the form of ``inputs``; None: 1 for each.
        empty_bags: "error", or "zeros": a bag without an id gives a row of zeros.
    """
    if combiner is not None:
        return _bags(table("embeddings", embeddings), inputs, weights, combiner, empty_bags)
    if isinstance(inputs, tf.RaggedTensor):
        return inputs.with_flat_values(lookup(embeddings, inputs.flat_values, None))
    if isinstance(inputs, tf.SparseTensor):
        inputs = tf.sparse.to_dense(inputs)
    ids = to_ids("inputs", inputs)
    rows = table("embeddings", embeddings)
    hidden = gather(rows, tf.reshape(ids, [-1]), [], "sum")
    hidden = tf.reshape(hidden, tf.concat([tf.shape(ids), [tf.shape(hidden)[1]]], axis=0))
    return _with_shape(hidden, ids.shape.concatenate(rows.dim))


def _bags(rows: Table, inputs: Any, weights: Any, combiner: str, empty_bags: str) -> tf.Tensor:
    check_one_of("combiner", combiner, COMBINERS)
    if isinstance(inputs, tf.SparseTensor):
        inputs, weights = _ragged("inputs", inputs), _ragged("weights", weights)
    if weights is not None:
        _check_form(inputs, weights)

    def inner(ids: Any, factors: Any) -> tf.Tensor:
        return _bags(rows, ids, factors, combiner, empty_bags)

    if isinstance(inputs, tf.RaggedTensor):
        if inputs.flat_values.shape.rank != 1:  # bags of one length, in the flat values
            factors = None if weights is None else weights.flat_values
            return inputs.with_flat_values(inner(inputs.flat_values, factors))
        if inputs.ragged_rank > 1:
            factors = None if weights is None else weights.values
            return inputs.with_values(inner(inputs.values, factors))
    else:
        inputs = to_ids("inputs", inputs)
        if weights is not None:
            weights = tf.convert_to_tensor(weights)
        if inputs.shape.rank is not None and inputs.shape.rank > 2:
            flat = [-1, tf.shape(inputs)[-1]]
            factors = None if weights is None else tf.reshape(weights, flat)
            hidden = inner(tf.reshape(inputs, flat), factors)
            shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(hidden)[-1:]], axis=0)
            static_shape = inputs.shape[:-1].concatenate(rows.dim)
            return _with_shape(tf.reshape(hidden, shape), static_shape)
    if weights is None and combiner != "sqrtn" and empty_bags == "error":
        ragged = isinstance(inputs, tf.RaggedTensor)
        hidden = bags(ragged_ids(inputs) if ragged else inputs)
        return gather(rows, hidden.inputs, hidden.row_splits, combiner)
    return _composed(rows, inputs, weights, combiner, empty_bags)


def _ragged(name: str, value: Any) -> tf.RaggedTensor | None:
    """Bags that are rows of a sparse tensor, in their order."""
    if value is None:
        return None
    if not isinstance(value, tf.SparseTensor) or value.shape.rank not in (None, 2):
        raise ValueError(
            f"{name} is a {type(value).__name__} of shape {value.shape}, expected a "
            "tf.SparseTensor [batch, n] as bags and their weights"
        )
    return tf.RaggedTensor.from_value_rowids(
        value.values, value.indices[:, 0], value.dense_shape[0], validate=False
    )


def _check_form(inputs: Any, weights: Any) -> None:
    """Weights lie as the ids do."""
    ragged = isinstance(inputs, tf.RaggedTensor)
    fits = ragged == isinstance(weights, tf.RaggedTensor)
    if fits and ragged:
        fits = weights.ragged_rank == inputs.ragged_rank
    elif fits:
        shapes = [tf.TensorShape(getattr(each, "shape", None)) for each in (inputs, weights)]
        fits = shapes[0].is_compatible_with(shapes[1])
    if not fits:
        raise ValueError(
            f"weights is a {type(weights).__name__} of shape {getattr(weights, 'shape', '?')}, "
            f"expected the form of inputs, a {type(inputs).__name__} of shape "
            f"{getattr(inputs, 'shape', '?')}"
        )


def _composed(rows: Table, inputs: Any, weights: Any, combiner: str, empty_bags: str) -> tf.Tensor:
    """Bags from single rows, for what the op does not offer; the rows of all ids are stored."""
    dtype = ACCUMULATORS[rows.dtype]
    if isinstance(inputs, tf.RaggedTensor):
        ids, bag_of_id, number = inputs.values, inputs.value_rowids(), inputs.nrows()
        factors = None if weights is None else to_floats("weights", weights.values, dtype)
        factors = tf.ones(tf.shape(ids), dtype) if factors is None else factors
        counts = tf.ones(tf.shape(ids), dtype)
        batch = inputs.shape[0]
    else:
        shape = tf.shape(inputs, tf.int64)
        number, batch = shape[0], inputs.shape[0]
        bag_of_id = tf.repeat(tf.range(number), tf.reduce_prod(shape[1:]))
        ids = tf.reshape(inputs, [-1])
        factors = 1 if weights is None else to_floats("weights", weights, dtype)
        factors = tf.reshape(tf.broadcast_to(factors, tf.shape(inputs)), [-1])
        factors = tf.cast(factors, dtype)
        counts = tf.cast(ids >= 0, dtype)
        if tensorflow_ops.only():  # where sizes are fixed: padding counts as row 0, with weight 0
            ids, factors = tf.maximum(ids, 0), factors * counts
        else:
            kept = tf.reshape(tf.where(ids >= 0), [-1])
            ids, bag_of_id, factors, counts = (
                tf.gather(each, kept) for each in (ids, bag_of_id, factors, counts)
            )

    def per_bag(values: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(values, bag_of_id, number)

    hidden = gather(rows, to_ids("inputs", ids), [], "sum")
    hidden = per_bag(hidden * factors[:, tf.newaxis])
    if combiner != "sum":
        divisor = per_bag(factors) if combiner == "mean" else tf.sqrt(per_bag(factors**2))
        hidden = tf.math.divide_no_nan(hidden, divisor[:, tf.newaxis])
    if empty_bags == "error":
        is_empty = per_bag(counts) == 0
        if tensorflow_ops.only():
            hidden = tf.where(is_empty[:, tf.newaxis], tf.cast(math.nan, dtype), hidden)
        else:
            message = (
                'inputs has an empty bag: each bag needs at least one id, or empty_bags="zeros"'
            )
            with tf.control_dependencies([tf.debugging.assert_equal(is_empty, False, message)]):
                hidden = tf.identity(hidden)
    return _with_shape(hidden, [batch, rows.dim])


def _with_shape(tensor: tf.Tensor, shape: Any) -> tf.Tensor:
    """Says what is known of the shape. tf.ensure_shape has no directional derivative."""
    tensor.set_shape(shape)
    return tensor


# ---- The op --------------------------------------------------------------------------------------


def gather(table: Table, ids: tf.Tensor, row_splits: list[tf.Tensor], combiner: str) -> tf.Tensor:
    """Rows of a table for ids [batch], or sums or means of bags of them, [batch, dim]."""
    if table.sharded is None:
        table.prepare([ids])
    make, shards = composed.bags if tensorflow_ops.only() else gather_bags, table.shards
    if table.sharded is not None or (len(table.machines) > 1 and not tensorflow_ops.only()):
        shards, ids = remote.fetched_rows(table, ids, row_splits)
    hidden = make(shards, table.dtype, ids, row_splits, combiner)
    hidden.set_shape([None, table.dim])
    return hidden


def gather_bags(
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
        Accumulator=ACCUMULATORS[dtype],
        combiner=combiner,
    )


def gradient(op: Any, d_hidden: tf.Tensor) -> list[Any]:
    """The gradient of the op: unique ascending rows of each shard."""
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
    return [*slices(shards, rows, values), None, *(None for _ in row_splits)]
