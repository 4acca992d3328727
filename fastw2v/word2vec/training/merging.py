"""How tables that several workers have changed become one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from fastw2v._core import tf_internals
from fastw2v.word2vec.training.tables import own

if TYPE_CHECKING:
    from fastw2v.distribute import Group

_LEVELS = 4  # of frequency: the rarest words are merged every 2**_LEVELS times
_PIECE_ROWS = 1 << 16  # that are merged at once: bounds the memory that a merge takes


class Merging:
    """Tables of which each worker has its own, and their values when they were last merged.

    Frequent words are merged every time. A word that occurs half as often as another needs it half
    as often: as vocabularies are sorted by frequency, the first half of the rows of a table is
    merged twice as often as the second, a quarter four times as often, and so on.

    Args:
        group: The workers.
        tables: float32 ``[V, D]``, equal on all workers.
        are_sorted: Of each table, whether its first rows change most.
    """

    def __init__(
        self, group: Group, tables: Sequence[tf.Variable], are_sorted: Sequence[bool]
    ) -> None:
        self._group, self._tables, self._are_sorted = group, tables, are_sorted
        self._bases = [
            tf_internals.PlainVariable(table.read_value(), trainable=False) for table in tables
        ]
        for variable in (*tables, *self._bases):
            own(variable)
        self._merge_rows = tf.function(
            self._merge_rows_of_all,
            autograph=False,
            input_signature=[tf.TensorSpec([None, 2], tf.int32)],
        )

    def merge(self, time: int, whole: bool) -> None:
        """Merges, for the ``time``-th time, the rows whose turn it is; all if ``whole``."""
        lasts = [
            table.shape[0] if whole or not is_sorted else rows_to_merge(table.shape[0], time)
            for table, is_sorted in zip(self._tables, self._are_sorted, strict=True)
        ]
        for first in range(0, max(lasts), _PIECE_ROWS):
            ranges = [[min(first, last), min(first + _PIECE_ROWS, last)] for last in lasts]
            self._merge_rows(tf.constant(ranges))

    def _merge_rows_of_all(self, ranges: tf.Tensor) -> None:
        self._group.strategy.run(self._merge_rows_here, args=(ranges,))

    def _merge_rows_here(self, ranges: tf.Tensor) -> None:
        bases = [
            base[ranges[place, 0] : ranges[place, 1]] for place, base in enumerate(self._bases)
        ]
        changes = [
            _change(table[ranges[place, 0] : ranges[place, 1]] - base)
            for place, (table, base) in enumerate(zip(self._tables, bases, strict=True))
        ]
        sums = tf.split(
            self._group.all_reduce(tf.concat(changes, 0)),
            ranges[:, 1] - ranges[:, 0],
            num=len(bases),
        )
        for place, (base, total) in enumerate(zip(bases, sums, strict=True)):
            merged = base + merged_change(total)
            for variable in (self._tables[place], self._bases[place]):
                variable[ranges[place, 0] : ranges[place, 1]].assign(merged)


def rows_to_merge(rows: int, time: int) -> int:
    """How many of the rows of a table are merged the ``time``-th time, from 1 on.

    >>> [rows_to_merge(1600, time) for time in range(1, 17)]
    [100, 200, 100, 400, 100, 200, 100, 800, 100, 200, 100, 400, 100, 200, 100, 1600]
    """
    halvings = _LEVELS - min(_LEVELS, (time & -time).bit_length() - 1)
    return math.ceil(rows / (1 << halvings))


def _change(change: tf.Tensor) -> tf.Tensor:
    """What of a worker's change goes into the sums over all: [rows, D] -> [rows, D + 2]."""
    square = tf.reduce_sum(tf.square(change), axis=1, keepdims=True)
    is_changed = tf.cast(tf.reduce_any(change != 0, axis=1, keepdims=True), change.dtype)
    return tf.concat([change, square, is_changed], axis=1)


def merged_change(sums: tf.Tensor) -> tf.Tensor:
    """The change of rows that several workers have changed: [rows, D + 2] -> [rows, D].

    With the changes ``d_1, ..., d_m`` of those workers that changed a row, their sum ``s`` and the
    mean cosine between two of them, ``c = (|s|^2 / sum |d|^2 - 1) / (m - 1)``, the row changes by
    ``s * (1 - (1 - 1 / m) * c)``, c in [0, 1]: by the sum of changes that have nothing in common,
    and by the mean of those that agree, of which the sum would overshoot. For two changes of one
    length this is the rule of Adasum (Maleki et al., "Scaling Distributed Training with Adaptive
    Summation", 2020), and needs no order of the workers.

    Args:
        sums: Over all workers, of the change, of its squared length, and of 1 where it is one.
    """
    change, squares, number = tf.split(sums, [sums.shape[1] - 2, 1, 1], axis=1)
    ratio = tf.math.divide_no_nan(tf.reduce_sum(tf.square(change), 1, keepdims=True), squares)
    cosine = tf.clip_by_value(tf.math.divide_no_nan(ratio - 1, number - 1), 0.0, 1.0)
    return change * (1 - (1 - tf.math.divide_no_nan(1.0, number)) * cosine)
