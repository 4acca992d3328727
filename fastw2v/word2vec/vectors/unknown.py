"""The error of a word that has no vector."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from typing import Any

_MAX_SUGGESTIONS = 3
_SUGGESTION_RANKS = 100_000  # comparing with all of millions of words would take minutes


class UnknownWordError(KeyError):
    """A word has no vector. The text names words that are spelled like it."""

    def __init__(self, word: object, words: Sequence[Hashable]) -> None:
        super().__init__(word)
        self.word = word
        self._words = words

    def __str__(self) -> str:
        # Looked for only when somebody reads it: programs catch this error for every unknown word.
        text = f"the word {self.word!r} is not among the {len(self._words):,} words"
        frequent = [word for word in self._words[:_SUGGESTION_RANKS] if word is not None]
        of_other_type = [word for word in frequent if str(word) == str(self.word)]
        if of_other_type:
            other = of_other_type[0]
            return f"{text}; there is {other!r} of type {type(other).__name__}"
        if not isinstance(self.word, str):
            return text
        similar = _spelled_like(self.word, [word for word in frequent if isinstance(word, str)])
        return text + (f"; similar ones: {', '.join(similar)}" if similar else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.word, self._words)


def _spelled_like(word: str, words: Sequence[str]) -> list[str]:
    candidates = [other for other in words if abs(len(other) - len(word)) <= 2]
    similar = [other for other in candidates if other.casefold() == word.casefold()]
    close = set(difflib.get_close_matches(word, candidates, 4 * _MAX_SUGGESTIONS, 0.7))
    matcher = difflib.SequenceMatcher(b=word)

    def difference(other: str) -> float:
        matcher.set_seq1(other)
        return -matcher.ratio()

    # Of those that are spelled equally like it, the most frequent ones.
    similar += sorted((other for other in candidates if other in close), key=difference)
    return list(dict.fromkeys(similar))[:_MAX_SUGGESTIONS]
