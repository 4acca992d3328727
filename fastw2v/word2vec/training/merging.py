"""How tables that several workers have changed become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from fastw2v.word2vec.training.tables import values

_LEVELS = 5  # of frequency: the rarest words are merged every 2**_LEVELS times
_PIECE_ROWS = 1 << 16  # that are merged at once: bounds the memory that a merge takes


class Merging:
    """Tables of which each worker has its own, and their values when they were last merged.

    Frequent words are merged every time. A word that occurs half as often as another needs it half
    as often: as vocabularies are sorted by frequency, the first half of the rows of a table is
    merged twice as often as the second, a quarter four times as often, and so on.

    Rows are read and written in the memory of the variables: TensorFlow's ops on slices of a
    variable would copy all of it. Changes may be rounded on their way: the values when they were
    last merged are not, and are the same bits for all workers.

    Args:
        sums: The sums over the workers of two arrays that each of them gives: of float32, which may
            be rounded, and of float64, which is not.
        tables: float32 ``[V, D]`` on the CPU, equal on all workers.
        are_sorted: Of each table, whether its first rows change most.
    """

    def __init__(
        self,
        sums: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
        tables: Sequence[tf.Variable],
        are_sorted: Sequence[bool],
    ) -> None:
        self._sums, self._tables, self._are_sorted = sums, tables, are_sorted
        self._bases = [values(table).copy() for table in tables]
        rows = sum(min(len(base), _PIECE_ROWS) for base in self._bases)
        self._summands = np.empty([rows, tables[0].shape[1] + 1], np.float32)

    def merge(self, time: int, whole: bool, numbers: np.ndarray) -> np.ndarray:
        """Merges, for the ``time``-th time, the rows whose turn it is; all if ``whole``.

        Args:
            numbers: float64, which go with the rows: a collective of their own takes as long as
                that of a few thousand rows.

        Returns:
            Their sums over the workers.
        """
        ends = [
            len(base) if whole or not is_sorted else rows_to_merge(len(base), time)
            for base, is_sorted in zip(self._bases, self._are_sorted, strict=True)
        ]
        for first in range(0, max(ends), _PIECE_ROWS):
            last = first + _PIECE_ROWS
            slices = [slice(min(first, end), min(last, end)) for end in ends]
            sums = self._merge_rows(slices, numbers)
        return sums

    def _merge_rows(self, slices: list[slice], numbers: np.ndarray) -> np.ndarray:
        ends = np.cumsum([rows.stop - rows.start for rows in slices])
        parts = np.split(self._summands[: ends[-1]], ends[:-1])
        places = list(zip(map(values, self._tables), self._bases, slices, strict=True))
        for (table, base, rows), part in zip(places, parts, strict=True):
            write_summands(table[rows], base[rows], part)
        sums, numbers = self._sums(self._summands[: ends[-1]], numbers)
        for (table, base, rows), total in zip(places, np.split(sums, ends[:-1]), strict=True):
            base[rows] += merged_change(total)
            table[rows] = base[rows]
        return numbers


def rows_to_merge(rows: int, time: int) -> int:
    """How many of the rows of a table are merged the ``time``-th time, from 1 on.

    >>> [rows_to_merge(6400, time) for time in range(1, 9)]
    [200, 400, 200, 800, 200, 400, 200, 1600]
    """
    halvings = _LEVELS - min(_LEVELS, (time & -time).bit_length() - 1)
    return math.ceil(rows / (1 << halvings))


def write_summands(table: np.ndarray, base: np.ndarray, summands: np.ndarray) -> None:
    """Writes what of a worker's change goes into the sums of `merged_change`: [rows, D + 1]."""
    change, square = summands[:, :-1], summands[:, -1]
    np.subtract(table, base, out=change)
    np.einsum("ij,ij->i", change, change, out=square)


def merged_change(sums: np.ndarray) -> np.ndarray:
    """The change of rows that several workers have changed: [rows, D + 1] -> [rows, D].

    With the changes ``d_1, ..., d_N`` of a row by the workers, their sum ``s`` and ``q = |d_1|^2 +
    ... + |d_N|^2`` it is ``s * min(1, q / |s|^2)``: the sum of changes that have nothing in common,
    and the mean of those that agree, of which the sum would overshoot. Workers that did not change
    the row do not count. The quotient is the gradient diversity of Yin et al., "Gradient Diversity:
    a Key Ingredient for Scalable Distributed Learning", 2018: up to it, several gradients of one
    point are worth as many steps.

    Args:
        sums: Over all workers, of the change and of its squared length.
    """
    change, squares = sums[:, :-1], sums[:, -1]
    length = np.einsum("ij,ij->i", change, change)
    diversity = np.divide(squares, length, out=np.ones_like(length), where=length > squares)
    return change * diversity[:, np.newaxis]
