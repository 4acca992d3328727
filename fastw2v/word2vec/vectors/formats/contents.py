"""What a file of word vectors holds, whatever its format, and what is true of it in all of them."""

from __future__ import annotations

import errno
import os
import reprlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fastw2v.word2vec.corpus.subwords import MOST_CHARACTERS


class SubwordTable(NamedTuple):
    """What vectors of words are made of, see `fastw2v.word2vec.corpus.subwords.Subwords`.

    Attributes:
        rows: float32 ``[V + bucket, D]``, of the words and then of n-grams.
        min_n, max_n: How many characters the n-grams have.
    """

    rows: np.ndarray
    min_n: int
    max_n: int


class Contents(NamedTuple):
    """What a file of word vectors holds.

    Attributes:
        words: V different ones, strings or integers; of a file of gensim any plain values.
        vectors: float32 ``[V, D]``.
        counts: How often each word occurs, int64 ``[V]``; None: not known.
        attributes: Other numbers for each word that a file of gensim holds, by name, ``[V, ...]``.
        subwords: What the vectors are made of, where the file has that.
    """

    words: list[Any]
    vectors: np.ndarray
    counts: np.ndarray | None
    attributes: Mapping[str, np.ndarray] = MappingProxyType({})
    subwords: SubwordTable | None = None


@contextmanager
def damage_named(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Makes one ValueError that names the file of whatever libraries say of bytes that they cannot
    read: there is no end of exceptions that they raise for a file that is damaged.

    Args:
        path: The file.
        what: What it should be, with an article.
    """
    try:
        yield
    except Exception as error:
        of_the_machine = isinstance(error, (OSError, MemoryError))
        if of_the_machine and getattr(error, "errno", None) != errno.EINVAL:  # a place below 0
            raise
        reason = " ".join(str(error).split())[:300]
        if not isinstance(error, ValueError) or not reason:
            reason = f"{type(error).__name__} {reason}".rstrip()
        raise ValueError(f"{path} is not {what}, or is damaged: {reason}") from error


def is_text_or_integer(word: Any) -> bool:
    """Whether files of all formats may hold a word."""
    return isinstance(word, (str, int)) and not isinstance(word, bool)


def check_contents(contents: Contents, is_word: Callable[[Any], bool] = is_text_or_integer) -> None:
    """Checks what a file says that is data for any program, not only for the one that wrote it.

    Args:
        contents: What was read.
        is_word: Whether a value may be a word.

    Raises:
        ValueError: Words, vectors and counts do not fit together. The file is not named.
    """
    words, vectors, counts, attributes = contents[:4]
    check_words(words, is_word)
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(
            f"vectors must be floats with a row for each of the {len(words)} words; got "
            f"{vectors.dtype} {vectors.shape}"
        )
    if vectors.shape[1] < 1:
        raise ValueError("the width of the vectors is 0; it must be at least 1")
    if counts is not None:
        check_counts(counts, len(words))
    for name, values in attributes.items():
        if values.ndim < 1 or len(values) != len(words):
            raise ValueError(f"the attribute {name!r} has not a value for each word")


def check_subwords(words: Any, subwords: SubwordTable) -> None:
    """Raises ValueError for what words cannot be made of."""
    check_words(words)
    rows, min_n, max_n = subwords
    if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) < len(words):
        raise ValueError(
            f"the rows of {len(words)} words and of n-grams are {rows.dtype} {rows.shape}"
        )
    for name, value, high in (("min_n", min_n, 2**31 - 1), ("max_n", max_n, MOST_CHARACTERS)):
        if type(value) is not int or not 0 <= value <= high:
            raise ValueError(f"{name} is {value!r}, not an integer in [0, {high}]")


def check_words(words: Any, is_word: Callable[[Any], bool] = is_text_or_integer) -> None:
    """Raises ValueError for what is not a list of different words."""
    if not isinstance(words, list):
        raise ValueError(f"the words are a {type(words).__name__}, not a list")
    for word in words:
        if not is_word(word):
            raise ValueError(
                f"the word {reprlib.repr(word)} is of type {type(word).__name__}, neither a string "
                "nor an integer"
            )
    if len(set(words)) != len(words):
        seen: set[Any] = set()
        for word in words:
            if word in seen:
                raise ValueError(f"the word {word!r} occurs more than once")
            seen.add(word)


def check_counts(counts: np.ndarray, num_words: int) -> None:
    """Raises ValueError for what is not a count for each word."""
    if counts.dtype != np.int64 or counts.shape != (num_words,):
        raise ValueError(
            f"counts must be int64 with a number for each of the {num_words} words; got "
            f"{counts.dtype} {counts.shape}"
        )
    if num_words and (counts.min() < 0 or counts.sum(dtype=np.float64) >= 2.0**63):
        raise ValueError("counts must be at least 0, and their sum below 2^63")


def check_finite(path: str | os.PathLike[str], words: Sequence[Any], vectors: np.ndarray) -> None:
    """Raises ValueError that names the first word whose vector holds NaN or infinity."""
    if not vectors.size:
        return
    # NaN and infinities show in the extremes; a mask of all elements would take more memory.
    broken = ~(np.isfinite(vectors.max(axis=1)) & np.isfinite(vectors.min(axis=1)))
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(
            f"{path}: the vector of word {row + 1:,}, {words[row]!r}, holds a number that is not "
            "finite; the file is damaged or not in the format that was expected"
        )


def first_of_each(path: str | os.PathLike[str], words: list[str], vectors: np.ndarray) -> Contents:
    """Leaves out words that were there before, as gensim does."""
    first = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    if len(first) == len(words):
        return Contents(words, vectors, None)
    rows = sorted(first.values())
    repeated = next(word for row, word in enumerate(words) if first[word] != row)
    warnings.warn(
        f"{path}: {len(words) - len(rows):,} words occur more than once, for example {repeated!r}; "
        "the first vector of each is kept",
        stacklevel=5,
    )
    return Contents([words[row] for row in rows], vectors[rows], None)
