"""Counting and numbering words, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastw2v.word2vec.vocabulary import Vocabulary

_MAX_SENTENCE = 10_000


class TextScanner:
    """Numbers words as they come and counts them, or looks them up in a vocabulary."""

    def __init__(self, words: Sequence[str] | None = None, max_vocab_size: int = 0) -> None:
        self._index = None if words is None else {word: i for i, word in enumerate(words)}
        self._numbers: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._max_vocab_size = max_vocab_size
        self._min_reduce = 1
        self._rest = b""
        self.num_words = 0
        self.pruned = False

    def scan(self, piece: bytes, workers: int) -> np.ndarray:
        text, newline, self._rest = (self._rest + piece).rpartition(b"\n")
        return self.scan_sentences([line.split() for line in (text + newline).decode().split("\n")])

    def end_text(self) -> np.ndarray:
        text, self._rest = self._rest, b""
        return self.scan_sentences([text.decode().split()])

    def scan_sentences(self, sentences: list[Sequence[str]]) -> np.ndarray:
        ids: list[int] = []
        for sentence in sentences:
            for begin in range(0, len(sentence), _MAX_SENTENCE):
                words = sentence[begin : begin + _MAX_SENTENCE]
                self.num_words += len(words)
                if self._index is not None:
                    words = [word for word in words if word in self._index]
                    ids.extend(self._index[word] for word in words)
                else:
                    for word in words:
                        self._counts[word] = self._counts.get(word, 0) + 1
                        ids.append(self._numbers.setdefault(word, len(self._numbers)))
                    self._prune()
                if words:
                    ids.append(-1)
        return np.array(ids, np.int32)

    def _prune(self) -> None:
        if self._max_vocab_size and len(self._counts) > self._max_vocab_size:
            self._counts = {w: c for w, c in self._counts.items() if c >= self._min_reduce}
            self._min_reduce += 1
            self.pruned = True

    def vocabulary(self, min_count: int, max_final: int | None):
        vocabulary = Vocabulary(self._counts, min_count, max_final)
        final = np.full(len(self._numbers), -1, np.int32)
        for i, word in enumerate(vocabulary.words):
            final[self._numbers[word]] = i
        return vocabulary.words, vocabulary.counts, final


class Renumbering:
    """Gives words their final ids and leaves out those that have none."""

    def __init__(self, final_ids: np.ndarray) -> None:
        self._final_ids = np.append(final_ids, np.int32(-2))
        self._final_ids[:-1][self._final_ids[:-1] < 0] = -3
        self._last = -1

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        ids = self._final_ids[ids]
        ids = np.maximum(ids[ids != -3], -1)
        before = np.append(np.int32(self._last), ids[:-1])
        ids_kept = ids[(ids >= 0) | (before >= 0)]
        if len(ids_kept):
            self._last = int(ids_kept[-1])
        return ids_kept
