"""Cutting text into words, and the table by which the core does the same."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable

import numpy as np

# In the table of letters: goes on with a word and begins none (csrc/core/text.h, kMark).
TOKENIZERS = WHITESPACE, WORDS = "whitespace", "words"

_MARK = 1 << 31
_JOINERS = "\u200c\u200d"  # stand within words of Persian and of the scripts of India


def tokenize(text: str) -> list[str]:
    r"""Splits text into lower-case words; a line end is a token of its own, ``"\n"``.

    A word is a run of letters with the marks that belong to them (accents, vowel signs), and with
    apostrophes inside it. A capital sigma at the end of a word becomes the final sigma.

    Example:
        >>> tokenize("Don't panic, it's\nonly 42 lines_of text.")
        ["don't", 'panic', "it's", '\n', 'only', 'lines', 'of', 'text']
        >>> tokenize("हिन्दी में")
        ['हिन्दी', 'में']
    """
    return [_lower(token) for token in _token().findall(text)]


def splitter_of(tokenizer: str) -> Callable[[str], list[str]]:
    """Returns what cuts a line into words.

    Raises:
        ValueError: There is no such tokenizer.
    """
    if tokenizer not in TOKENIZERS:
        raise ValueError(f'tokenizer is {tokenizer!r}; it must be "whitespace" or "words"')
    return tokenize if tokenizer == WORDS else str.split


def letters_of(tokenizer: str) -> np.ndarray | None:
    """Returns the letters that make words, as csrc/core/text.h takes them; None where white space
    separates words.

    Raises:
        ValueError: There is no such tokenizer.
    """
    return _letters() if splitter_of(tokenizer) is tokenize else None


def _lower(word: str) -> str:
    if "Σ" in word:  # str.lower looks at what stands around a sigma by other rules
        word = _final_sigma().sub("ς", word).replace("Σ", "σ")
    return word.lower()


@functools.cache
def _token() -> re.Pattern[str]:
    letters = rf"[^\W\d_]+(?:[{_marks()}]+[^\W\d_]*)*"
    return re.compile(rf"{letters}(?:['’]{letters})*|\n")


@functools.cache
def _final_sigma() -> re.Pattern[str]:
    return re.compile(rf"(?<=.)Σ(?=[{_marks()}]*$)")


@functools.cache
def _marks() -> str:
    every = map(chr, range(sys.maxunicode + 1))
    return _JOINERS + "".join(c for c in every if unicodedata.category(c)[0] == "M")


@functools.cache
def _letters() -> np.ndarray:
    """Returns the lower case of each letter and mark by code point, 0 for all others.

    The lower case of the dotted capital I is two characters; the core adds the second.
    """
    code_points = np.arange(sys.maxunicode + 1, dtype="<u4")
    characters = code_points.tobytes().decode("utf-32-le", "surrogatepass")
    letters = "".join(re.findall(r"[^\W\d_]+", characters))
    table = np.zeros(sys.maxunicode + 1, np.uint32)
    table[_code_points(letters)] = [ord(letter.lower()[0]) for letter in letters]
    table[_code_points(_marks())] = _code_points(_marks()) | _MARK
    return table[: np.flatnonzero(table)[-1] + 1]


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
