"""The n-grams of characters that words are made of, as in fastText and gensim."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fastw2v import _kernels

MOST_CHARACTERS = 100  # of an n-gram: with more, a long word would have millions of them


@dataclass(frozen=True)
class Subwords:
    """Which n-grams a word has, and in which rows of a table their vectors are.

    A word is taken between angle brackets, ``<word>``. Its n-grams are the runs of ``min_n`` to
    ``max_n`` characters of that; which of the ``bucket`` rows one has, the hash of fastText says.
    The table has the rows of V words and behind them those of n-grams.

    Attributes:
        min_n, max_n: How many characters an n-gram has; there are none where ``max_n < min_n``.
        bucket: How many rows n-grams have; 0: there are none.

    Example:
        >>> Subwords(min_n=3, max_n=3, bucket=100).buckets("up").shape  # of "<up" and "up>"
        (2,)

    Source: Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword
    Information", TACL 2017, section 3.2.
    """

    min_n: int
    max_n: int
    bucket: int

    def buckets(self, word: Hashable) -> np.ndarray:
        """The rows of the n-grams of a word among those of n-grams, int32."""
        return _kernels.subwords(_bytes_of(word), self.min_n, self.max_n, self.bucket)

    def bags(self, words: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
        """The rows of words in the table: of word ``k`` ``rows[splits[k]:splits[k + 1]]``, the
        first of which is ``k``. int64 ``[V + 1]``, int32."""
        as_bytes = [_bytes_of(word) for word in words]
        return _kernels.word_bags(as_bytes, self.min_n, self.max_n, self.bucket)

    def vectors(self, words: Sequence[Hashable], table: np.ndarray) -> np.ndarray:
        """The vectors of words, float32 ``[V, D]``: the mean of the rows of each.

        Args:
            words: The words.
            table: float32 ``[V + bucket, D]``.
        """
        return mean_rows(table, *self.bags(words))


def mean_rows(table: np.ndarray, splits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mean of the rows of each bag, float32 ``[n, D]``: of bag ``k`` those of the table that
    ``rows[splits[k]:splits[k + 1]]`` names."""
    threads = len(os.sched_getaffinity(0))
    return _kernels.mean_rows(table, splits, rows.astype(np.int64), num_threads=threads)


def _bytes_of(word: Hashable) -> bytes:
    # Words read with errors="surrogateescape" get their bytes back.
    return str(word).encode("utf-8", "surrogateescape")
