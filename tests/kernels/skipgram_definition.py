"""What csrc/core/skipgram.h says, one word at a time, and the texts that tests try it on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from kernels.random_streams import integer, random_stream


@dataclass(frozen=True)
class Text:
    """Ids of words, and where sentences begin and end besides."""

    ids: np.ndarray
    row_splits: np.ndarray | None = None


def _random_text(
    size: int, *, words: int = 50, ends: float = 0.0, sentences: int | None = None
) -> Text:
    """A text in which so many of the ids are negative, cut into so many sentences."""
    rng = np.random.default_rng(size)
    ids = rng.integers(0, words, size)
    ids[rng.random(size) < ends] = -1
    if sentences is None:
        return Text(ids)
    inner = np.sort(rng.integers(0, size + 1, sentences - 1))
    return Text(ids, np.concatenate([[0], inner, [size]]))


def _ids(*ids: int) -> np.ndarray:
    return np.array(ids, np.int64)


TEXTS = {
    "no words": Text(_ids()),
    "no words, no rows": Text(_ids(), _ids(0)),
    "no words, three rows": Text(_ids(), _ids(0, 0, 0, 0)),
    "one word": Text(_ids(7)),
    "two words": Text(_ids(7, 9)),
    "no words between ends": Text(_ids(-1, -5, -1)),
    "a word between ends": Text(_ids(-1, 3, -1)),
    "ends at both ends": Text(_ids(-1, 3, 4, -1, -1, 5, 6, 7, -2)),
    "the same word": Text(_ids(*[3] * 30)),
    "empty rows": Text(_ids(1, 2, 3, 4, 5), _ids(0, 0, 0, 2, 2, 5, 5)),
    "a row for each word": Text(_ids(1, 2, 3), _ids(0, 1, 2, 3)),
    "rows and ends": Text(_ids(-1, 1, 2, -1, -1, 3, 4, 5, -1), _ids(0, 1, 4, 6, 9)),
    "a chunk and one": _random_text(257, ends=0.1),
    # Tasks take 8192 tokens.
    "a task less one": _random_text(8191, ends=0.02),
    "a task": _random_text(8192),
    "a task and one": _random_text(8193, ends=0.3),
    "many short rows": _random_text(20_000, sentences=9000),
    "long rows with ends": _random_text(20_000, sentences=100, ends=0.05),
    "a row from task to task": Text(
        np.arange(17_000) % 47, np.array([0, 8190, 8192, 8192, 16_384, 16_385, 17_000])
    ),
}
SMALL = {name: text for name, text in TEXTS.items() if len(text.ids) <= 300}


def centers_with_contexts(
    kernels: ModuleType,
    text: Text,
    window: int,
    *,
    shrink_windows: bool = True,
    keep_probability: Sequence[float] | None = None,
    seed: tuple[int, int] = (0, 0),
) -> Iterator[tuple[int, list[int]]]:
    """Yields each word that stays, with its contexts."""
    keep_bits, reach_bits = (random_stream(kernels, seed, number) for number in (-1, -2))
    starts = set() if text.row_splits is None else set(text.row_splits.tolist())
    sentences: list[list[tuple[int, int]]] = [[]]
    for i, word in enumerate(text.ids.tolist()):
        if i in starts or word < 0:
            sentences.append([])
        if word < 0:
            continue
        reach = window
        if shrink_windows:
            reach = 1 + (reach_bits(i // 4)[i % 4] * window >> 32)
        if keep_probability is None or (
            keep_bits(i // 4)[i % 4] < float(keep_probability[word]) * 2**32
        ):
            sentences[-1].append((word, reach))
    for sentence in sentences:
        words = [word for word, _ in sentence]
        for k, (word, reach) in enumerate(sentence):
            yield word, words[max(0, k - reach) : k] + words[k + 1 : k + 1 + reach]


def shuffled(kernels: ModuleType, examples: list, seed: tuple[int, int]) -> list:
    """The examples in the order that the seed gives them."""
    block = random_stream(kernels, seed, -3)
    examples = list(examples)
    for i in reversed(range(1, len(examples))):
        j = integer(*block(i // 2)[2 * (i % 2) :][:2], i + 1)
        examples[i], examples[j] = examples[j], examples[i]
    return examples


def define_pairs(
    kernels: ModuleType, text: Text, window: int, *, shuffle: bool = False, **options: Any
) -> np.ndarray:
    """The pairs, [num_pairs, 2]."""
    pairs = [
        (center, context)
        for center, contexts in centers_with_contexts(kernels, text, window, **options)
        for context in contexts
    ]
    if shuffle:
        pairs = shuffled(kernels, pairs, options.get("seed", (0, 0)))
    return np.array(pairs, np.int64).reshape(-1, 2)


def define_bags(
    kernels: ModuleType, text: Text, window: int, *, shuffle: bool = False, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The bags, [num_bags, 2 * window], and their labels."""
    examples = [
        (contexts + [-1] * (2 * window - len(contexts)), center)
        for center, contexts in centers_with_contexts(kernels, text, window, **options)
        if contexts
    ]
    if shuffle:
        examples = shuffled(kernels, examples, options.get("seed", (0, 0)))
    bags = np.array([bag for bag, _ in examples], np.int64).reshape(-1, 2 * window)
    return bags, np.array([label for _, label in examples], np.int64)
