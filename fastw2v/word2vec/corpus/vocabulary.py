"""The words of a corpus, sorted by how often they occur."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.whole_numbers import whole_numbers

_LINE = re.compile(rb"(.*) ([0-9]{1,30})\r?\n?", re.DOTALL)


def check_limits(min_count: int, max_vocab_size: int | None, max_final_vocab: int | None) -> None:
    """Raises ValueError for the limits of a vocabulary that is out of range."""
    if min_count < 1:
        raise ValueError(f"min_count is {min_count}; it must be at least 1")
    for name, limit in (("max_vocab_size", max_vocab_size), ("max_final_vocab", max_final_vocab)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} is {limit}; it must be at least 1, or None for no limit")


def words_to_json(words: Sequence[Hashable]) -> bytes:
    """Returns words as a JSON list; they keep their type.

    Raises:
        TypeError: A word is neither a str nor an int.

    Example:
        >>> words_from_json(words_to_json(["to", 7]))
        ['to', 7]
    """
    for word in words:
        if not isinstance(word, (str, int)) or isinstance(word, bool):
            raise TypeError(
                f"the word {word!r:.60} is of type {type(word).__name__}: only words that are str "
                "or int can be saved"
            )
    return json.dumps(words, ensure_ascii=False).encode("utf-8", "surrogatepass")


def words_from_json(content: bytes) -> list[str | int]:
    """Returns the words of `words_to_json`.

    Raises:
        ValueError: It is something else, or a word is there twice.
    """
    words = json.loads(content.decode("utf-8", "surrogatepass"))
    if not isinstance(words, list) or not set(map(type, words)) <= {str, int}:
        raise ValueError("the words are not a list of str and int")
    if len(set(words)) < len(words):
        raise ValueError("a word is there twice")
    return words


def _place_among_equals(word: Hashable) -> tuple[Any, ...]:
    """What words that occur equally often are sorted by; others keep the order of the text."""
    if isinstance(word, str):
        return 0, word
    return (1, word) if isinstance(word, int) else (2,)


class Vocabulary:
    r"""Words and their counts, the most frequent first.

    Word 0 is the most frequent one, as the log-uniform sampler expects; words that occur equally
    often stand in alphabetical order (numbers behind them, in theirs), so that the ids do not
    depend on the order of the text. Words of other types stand in the order in which they come.

    Args:
        counts: How often each word occurs. A word is a str or anything else that is hashable.
        min_count: Words that occur less often are left out; at least 1.
        max_final_vocab: How many words to keep at most, at least 1; None keeps all. As in gensim,
            words that occur equally often stay or go together, so that it may be fewer.

    Attributes:
        words: The words kept, a list.
        counts: int64 array of the same length, never increasing.
        index: The id of each word, a dict.

    Raises:
        ValueError: ``min_count`` or ``max_final_vocab`` is below 1.

    Example:
        >>> vocabulary = Vocabulary({"rare": 1, "b": 2, "a": 2, "often": 9}, min_count=2)
        >>> vocabulary.words
        ['often', 'a', 'b']
        >>> vocabulary.index["b"]
        2
        >>> Vocabulary({"b": 2, "a": 2, "often": 9}, max_final_vocab=2).words
        ['often']
    """

    def __init__(
        self, counts: Mapping[Any, int], min_count: int = 1, max_final_vocab: int | None = None
    ) -> None:
        check_limits(min_count, None, max_final_vocab)
        kept = sorted(
            (item for item in counts.items() if item[1] >= min_count),
            key=lambda item: (-item[1], *_place_among_equals(item[0])),
        )
        self.words = [word for word, _ in kept]
        self.counts = whole_numbers("counts", [count for _, count in kept])
        if max_final_vocab is not None and max_final_vocab < len(self.words):
            size = int(np.searchsorted(-self.counts, -self.counts[max_final_vocab]))
            self.words, self.counts = self.words[:size], self.counts[:size]

    @classmethod
    def from_sorted(cls, words: list[Any], counts: np.ndarray) -> Vocabulary:
        """Takes words that are in order already, as they are.

        Args:
            words: Different words, the most frequent first, ties in alphabetical order.
            counts: int64 ``[len(words)]``.
        """
        vocabulary = cls.__new__(cls)
        vocabulary.words, vocabulary.counts = words, counts
        return vocabulary

    @cached_property
    def index(self) -> dict[Any, int]:
        return {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def save(self, path: str | os.PathLike[str]) -> None:
        r"""Writes a UTF-8 text file, ``word count`` on each line, the most frequent word first.

        A file that is there already stays whole until the new one is complete.

        Raises:
            OSError: The file cannot be written.
            TypeError: A word is no str; the file does not hold types of words.
            ValueError: A word holds a line end.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     Vocabulary({"to": 2, "be": 2, "or": 1}).save(f"{directory}/vocab.txt")
            ...     print(open(f"{directory}/vocab.txt").read())
            ...     print(Vocabulary.load(f"{directory}/vocab.txt").words)
            be 2
            to 2
            or 1
            <BLANKLINE>
            ['be', 'to', 'or']
        """
        with replacing(path) as file:
            for word, count in zip(self.words, self.counts.tolist(), strict=True):
                if not isinstance(word, str):
                    raise TypeError(
                        f"the word {word!r:.60} is of type {type(word).__name__}; a vocabulary "
                        "file holds only str"
                    )
                if "\n" in word:
                    raise ValueError(f"the word {word!r} holds a line end and cannot be saved")
                file.write(f"{word} {count}\n".encode())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        min_count: int = 1,
        max_final_vocab: int | None = None,
    ) -> Vocabulary:
        """Reads a file that `save` wrote, or any other with ``word count`` on each line.

        Args:
            path: The file; its lines may stand in any order.
            min_count: As in the constructor.
            max_final_vocab: As in the constructor.

        Raises:
            OSError: The file cannot be read.
            ValueError: A line is not a word and a count, or a word is there twice; the message
                names the file and the line.
        """
        counts: dict[str, int] = {}
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                match = _LINE.fullmatch(line)
                try:
                    word = match[1].decode() if match else None
                except UnicodeDecodeError:
                    word = None
                count = int(match[2]) if match else 0
                if word is None:
                    reason = "not a word, a space and a count"
                elif word in counts:
                    reason = f"{word!r} is there already"
                elif count >= 2**63:
                    reason = f"the count {count} is above 2^63 - 1"
                else:
                    counts[word] = count
                    continue
                raise ValueError(f"{Path(path)}, line {number}: {reason}")
        return cls(counts, min_count, max_final_vocab)
