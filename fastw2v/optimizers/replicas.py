"""Sums of gradients over the replicas of a strategy, where TensorFlow's own do not work.

TensorFlow's collectives take their keys from the caller of a function, at each call. A function
that is called in a loop, as Keras does with ``steps_per_execution``, gets none.
"""

from __future__ import annotations

import weakref
from typing import Any

import tensorflow as tf

from fastw2v._core import tf_internals
from fastw2v.distribute.group import Group

_groups: weakref.WeakKeyDictionary[tf.distribute.Strategy, Group] = weakref.WeakKeyDictionary()


def make_group(strategy: tf.distribute.Strategy) -> Group | None:
    """All replicas of a strategy; None where there is one, or where one runs and none was made.
    To be called once by all processes, where no replica runs, before they sum."""
    has_collectives = isinstance(
        strategy, (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    )
    if has_collectives and strategy.num_replicas_in_sync > 1 and strategy not in _groups:
        if tf.distribute.in_cross_replica_context() or not tf.distribute.has_strategy():
            _groups[strategy] = Group(strategy)
    return _groups.get(strategy)


def group_in_loop() -> Group | None:
    """The replicas that sum what they have, if this is a loop or a branch of one of them."""
    context = tf.distribute.get_replica_context()
    if context is None or not tf_internals.is_in_control_flow():
        return None
    return _groups.get(context.strategy)


def total(group: Group, gradient: Any) -> Any:
    """The sum of the replicas' gradients; of slices all rows, one replica's after the other's."""
    if not isinstance(gradient, tf.IndexedSlices):
        return None if gradient is None else group.all_reduce(gradient)
    rows = tf.cast(tf.reshape(gradient.indices, [-1]), tf.int64)
    counts = group.all_gather(tf.reshape(tf.size(rows), [1]))
    most = tf.reduce_max(counts)
    missing = most - tf.size(rows)
    is_row = tf.reshape(tf.sequence_mask(counts, most), [-1])

    def gathered(part: tf.Tensor) -> tf.Tensor:
        filled = tf.pad(part, [[0, missing]] + [[0, 0]] * (part.shape.rank - 1))
        return tf.boolean_mask(group.all_gather(filled), is_row)

    return tf.IndexedSlices(gathered(gradient.values), gathered(rows), gradient.dense_shape)
