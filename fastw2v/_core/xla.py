"""Functions that XLA compiles: all shapes are fixed there, and only TensorFlow's own ops run."""

from __future__ import annotations

import tensorflow as tf

from fastw2v._core import tf_internals


def compiles() -> bool:
    """Whether XLA compiles what is traced now: a function of ``jit_compile=True`` or any function,
    loop or branch traced inside one.

    Example:
        >>> from fastw2v._core import xla
        >>> bool(tf.function(xla.compiles)()), bool(tf.function(xla.compiles, jit_compile=True)())
        (False, True)
    """
    # In eager mode the context is that of a function being called, not of what runs.
    return not tf.executing_eagerly() and tf_internals.enclosing_xla_context() is not None


def unique_rows(ids: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows of a table that ids pick, each once.

    The number of different ids is known only when they are, so the rows are as many as the ids
    (or all rows, where these are fewer) and filled up with the smallest rows that no id picks: what
    is gathered with ``rows`` has a gradient of unique, ascending rows, 0 for those that fill up.

    Args:
        ids: int64 [n]; those outside of [0, size) pick nothing.
        size: int64 scalar, rows of the table.

    Returns:
        ``rows`` [min(n, size)], and the position of each id among them, [n], -1 where it picks
        nothing.
    """
    count = tf.size(ids, tf.int64)
    slots = tf.minimum(count, size)
    picks = (ids >= 0) & (ids < size)
    order = tf.argsort(tf.where(picks, ids, size))
    ascending = tf.gather(tf.where(picks, ids, size), order)
    changes = tf.concat([tf.ones_like(ascending[:1], tf.bool), ascending[1:] != ascending[:-1]], 0)
    is_new = changes & (ascending < size)
    rank = tf.cumsum(tf.cast(is_new, tf.int64)) - 1
    distinct = _place(tf.where(is_new, rank, slots), tf.where(is_new, ascending, 0), slots + 1)
    # With `spare` slots to fill, slot s holds row s for as long as there are unpicked rows to take,
    # and after that the distinct rows, moved on by the spare slots.
    spare = slots - tf.reduce_sum(tf.cast(is_new, tf.int64))
    slot = tf.range(slots)
    moved = tf.where(slot >= spare, tf.gather(distinct, tf.maximum(slot - spare, 0)), 0)
    position = _place(order, tf.minimum(ascending, rank + spare), count)
    return tf.maximum(slot, moved), tf.where(picks, position, -1)


def _place(where: tf.Tensor, values: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """A vector of ``size`` that holds ``values`` ``where`` says so, and 0 elsewhere."""
    return tf.scatter_nd(where[:, tf.newaxis], values, [size])
