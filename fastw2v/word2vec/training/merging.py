"""How tables that several workers have changed become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from fastw2v.word2vec.training.tables import values

_LEVELS = 3  # of frequency: the rarest words are merged every 2**_LEVELS times
_PIECE_ROWS = 1 << 16  # that are merged at once: bounds the memory that a merge takes


class Merging:
    """Tables of which each worker has its own, and their values when they were last merged.

    Frequent words are merged every time. A word that occurs half as often as another needs it half
    as often: as vocabularies are sorted by frequency, the first half of the rows of a table is
    merged twice as often as the second, a quarter four times as often, and so on.

    Rows are read and written in the memory of the variables: TensorFlow's ops on slices of a
    variable would copy all of it.

    Args:
        all_reduce: The sum over the workers of a tensor that each of them gives.
        tables: float32 ``[V, D]`` on the CPU, equal on all workers.
        are_sorted: Of each table, whether its first rows change most.
    """

    def __init__(
        self,
        all_reduce: Callable[[tf.Tensor], tf.Tensor],
        tables: Sequence[tf.Variable],
        are_sorted: Sequence[bool],
    ) -> None:
        self._all_reduce, self._tables, self._are_sorted = all_reduce, tables, are_sorted
        self._bases = [values(table).copy() for table in tables]

    def merge(self, time: int, whole: bool) -> None:
        """Merges, for the ``time``-th time, the rows whose turn it is; all if ``whole``."""
        ends = [
            len(base) if whole or not is_sorted else rows_to_merge(len(base), time)
            for base, is_sorted in zip(self._bases, self._are_sorted, strict=True)
        ]
        for first in range(0, max(ends), _PIECE_ROWS):
            self._merge_rows([slice(first, min(first + _PIECE_ROWS, end)) for end in ends])

    def _merge_rows(self, slices: list[slice]) -> None:
        places = list(zip(self._tables, self._bases, slices, strict=True))
        changes = [_change(values(table)[rows] - base[rows]) for table, base, rows in places]
        sums = self._all_reduce(tf.convert_to_tensor(np.concatenate(changes))).numpy()
        ends = np.cumsum([len(change) for change in changes])
        for (table, base, rows), total in zip(places, np.split(sums, ends[:-1]), strict=True):
            base[rows] += merged_change(total)
            values(table)[rows] = base[rows]


def rows_to_merge(rows: int, time: int) -> int:
    """How many of the rows of a table are merged the ``time``-th time, from 1 on.

    >>> [rows_to_merge(1600, time) for time in range(1, 9)]
    [200, 400, 200, 800, 200, 400, 200, 1600]
    """
    halvings = _LEVELS - min(_LEVELS, (time & -time).bit_length() - 1)
    return math.ceil(rows / (1 << halvings))


def _change(change: np.ndarray) -> np.ndarray:
    """What of a worker's change goes into the sums over all: [rows, D] -> [rows, D + 2]."""
    square = np.einsum("ij,ij->i", change, change)[:, np.newaxis]
    return np.concatenate([change, square, change.any(axis=1, keepdims=True)], axis=1)


def merged_change(sums: np.ndarray) -> np.ndarray:
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
    change, squares, number = sums[:, :-2], sums[:, -2], sums[:, -1]
    length = np.einsum("ij,ij->i", change, change)
    # Where no worker changed a row, or one, there is no cosine, and the factor is 1.
    ratio = np.divide(length, squares, out=np.ones_like(length), where=squares != 0)
    cosine = np.clip((ratio - 1) / np.maximum(number - 1, 1), 0, 1)
    return change * (1 - (1 - 1 / np.maximum(number, 1)) * cosine)[:, np.newaxis]
