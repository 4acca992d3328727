"""Tables whose rows are cut among replicas (`fastw2v.distribute.ShardedTable`): rows are fetched by
all-to-all of distinct ids; an exact softmax is computed by all replicas, each with its classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from fastw2v._core import tf_internals
from fastw2v._core.library import ops as _ops
from fastw2v._core.tables import ACCUMULATORS, Table
from fastw2v._losses import parts

if TYPE_CHECKING:
    from fastw2v._losses.call import LossCall


def rows_of(tables: Sequence[Table], ids: tf.Tensor) -> list[tf.Tensor]:
    """Rows of tables that are cut alike, of one dtype.

    Args:
        tables: The first says how all are cut.
        ids: Distinct rows, int64 [n]; each replica has its own.

    Returns:
        Of each table [n, dim], or [n] of biases. Gradients go to where the rows are.
    """
    group, cut = tables[0].sharded.group, tables[0].sharded.cut
    owner = cut.part_of(ids)
    order = tf.argsort(owner, stable=True)
    owner, ids = tf.gather(owner, order), tf.gather(ids, order)
    counts = tf.math.bincount(
        tf.cast(owner, tf.int32), minlength=cut.parts, maxlength=cut.parts, dtype=tf.int64
    )
    # All-to-all takes chunks of one size.
    most = group.all_reduce(tf.reduce_max(counts), "max")
    size = cut.parts * most
    starts = tf.cumsum(counts, exclusive=True)
    place = owner * most + tf.range(tf.size(ids, tf.int64)) - tf.gather(starts, owner)
    asked = tf.tensor_scatter_nd_update(
        tf.fill([size], tf.constant(-1, tf.int64)),
        place[:, tf.newaxis],
        ids - cut.first_row(owner),
    )
    asked = tf.reshape(group.all_to_all(tf.reshape(asked, [cut.parts, most])), [size])
    wanted = tf.where(asked >= 0)
    rows = tf.gather(asked, wanted[:, 0])
    values = tf.concat([_rows_here(table, rows) for table in tables], axis=1)
    widths = [table.dim or 1 for table in tables]
    answers = tf.scatter_nd(wanted, values, tf.stack([size, sum(widths)]))
    answers = group.all_to_all(tf.reshape(answers, [cut.parts, most, sum(widths)]))
    answers = tf.gather(tf.reshape(answers, [size, sum(widths)]), place)
    answers = tf.gather(answers, tf.argsort(order))
    return [
        part if table.dim is not None else tf.reshape(part, [-1])
        for table, part in zip(tables, tf.split(answers, widths, axis=1), strict=True)
    ]


def _rows_here(table: Table, rows: tf.Tensor) -> tf.Tensor:
    """Rows of this replica's part, [n, dim]; biases are a table of width 1."""
    table.prepare([rows])
    values = tf.gather(table.sharded.variable, rows)
    return values if table.dim is not None else values[:, tf.newaxis]


def exact_loss(call: LossCall) -> tf.Tensor:
    """The losses [batch] of this replica's examples, where all classes compete.

    The hidden rows of all replicas are compared with the classes of each. Four collectives bring
    them together, the parts' statistics of an example back to its replica, the gradients of the
    losses to all, and the sum of all parts' gradients of a hidden row to its replica.
    """
    assert call.tables is not None
    tables = [table for table in (call.tables.weights, call.tables.biases) if table is not None]
    group, cut = tables[0].sharded.group, tables[0].sharded.cut
    first_class = cut.first_row(group.rank)
    parts_here = [table.sharded.variable for table in tables]
    for table in tables:
        table.prepare(None)

    @tf.custom_gradient
    def losses_of(hidden: tf.Tensor) -> Any:
        for variable in parts_here:
            tf_internals.mark_as_read(variable)
        inputs, labels = _gathered(group, hidden, call.labels)
        arguments = {**call.op_inputs, "embeddings": [], "inputs": inputs, "row_splits": []}
        part = type(call)({**arguments, "labels": labels}, call.attributes)
        # All parts' statistics of an example go to the replica that has it.
        statistics = parts.statistics(part, first_class, cut.rows)
        statistics = tf.reshape(statistics, [4, cut.parts, -1])
        statistics = group.all_to_all(tf.transpose(statistics, [1, 0, 2]))
        mine = parts.join(call, statistics, cut.sizes())

        def backward(d_loss: tf.Tensor, variables: Any = None) -> Any:
            together = tf.stack([d_loss, mine.max, mine.log_sum], axis=1)
            d_all, maximum, log_sum = tf.unstack(group.all_gather(together), axis=1)
            every = parts.Losses(d_all, maximum, log_sum)
            *d_tables, d_hidden = parts.gradients(part, first_class, cut.rows, d_all, every)
            d_hidden = group.reduce_scatter(d_hidden)
            by_variable = {
                variable.ref(): gradient
                for variable, gradient in zip(parts_here, d_tables, strict=True)
            }
            return d_hidden, [by_variable[variable.ref()] for variable in variables or []]

        return mine.loss, backward

    losses = losses_of(hidden_rows(call))
    losses.set_shape(call.labels.shape[:1])
    return losses


def top_k(
    largest: Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]],
    weights: Table,
    hidden: tf.Tensor,
    k: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The k largest logits [batch, k] of this replica's rows, and their classes.

    Args:
        largest: The same for rows of all replicas and the classes that are here; at most as many.
        weights: The table of the classes.
        hidden: [batch, dim].
        k: At most the number of classes.
    """
    group, cut = weights.sharded.group, weights.sharded.cut
    everyone = group.all_gather(hidden)
    rank, batch = group.rank, tf.shape(hidden)[0]
    here = min(k, cut.sizes()[rank])
    values = tf.zeros([tf.shape(everyone)[0], 0], hidden.dtype)
    classes = tf.zeros([tf.shape(everyone)[0], 0], tf.int64)
    if here:
        values, classes = largest(everyone, here)
    missing = [[0, 0], [0, k - here]]
    values = tf.pad(values, missing, constant_values=-math.inf)
    classes = tf.pad(classes + cut.first_row(rank), missing, constant_values=-1)

    def of_this_replica(part: tf.Tensor) -> tf.Tensor:
        part = group.all_to_all(tf.reshape(part, [group.size, batch, k]))
        return tf.reshape(tf.transpose(part, [1, 0, 2]), [batch, group.size * k])

    values, classes = of_this_replica(values), of_this_replica(classes)
    values, place = tf.math.top_k(values, k)
    return values, tf.gather(classes, place, batch_dims=1)


def hidden_rows(call: LossCall) -> tf.Tensor:
    """The hidden rows [batch, dim] of the examples, where the embeddings lie in one place."""
    if not call.embeddings:
        return call.inputs
    assert call.tables is not None and call.tables.embeddings is not None
    call.tables.embeddings.prepare([call.inputs])
    rows = _ops.fastw2v_gather(
        embeddings=call.embeddings,
        inputs=call.inputs,
        row_splits=call.row_splits,
        T=call.dtype,
        Accumulator=ACCUMULATORS[call.dtype],
        combiner=call.attributes["combiner"],
    )
    return tf.cast(rows, call.dtype)


def _gathered(group: Any, hidden: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Hidden rows and labels of all replicas, by one collective: the bits of labels travel as
    numbers of the hidden rows' type."""
    bits = tf.bitcast(labels, hidden.dtype)
    bits = tf.reshape(bits, [tf.shape(labels)[0], -1])
    width = tf.shape(hidden)[1]
    together = group.all_gather(tf.concat([hidden, bits], axis=1))
    bits = together[:, width:]
    if hidden.dtype.size < tf.int64.size:
        bits = tf.reshape(bits, [tf.shape(bits)[0], -1, tf.int64.size // hidden.dtype.size])
    gathered = tf.bitcast(bits, tf.int64)
    hidden_rows = together[:, :width]
    hidden_rows.set_shape([None, hidden.shape[1]])
    gathered.set_shape([None, labels.shape[1]])
    return hidden_rows, gathered
