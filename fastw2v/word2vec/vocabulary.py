"""The words of a corpus, sorted by how often they occur."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Vocabulary:
    """Words and their counts, the most frequent first.

    Word 0 is the most frequent one, as the log-uniform sampler expects; words that occur equally
    often stand in alphabetical order, so that the ids do not depend on the order of the text.

    Args:
        counts: How often each word occurs.
        min_count: Words that occur less often are left out; at least 1.

    Attributes:
        words: The words kept, a list of str.
        counts: int64 array of the same length, never increasing.
        index: The id of each word, a dict.

    Raises:
        ValueError: ``min_count`` is below 1.

    Example:
        >>> vocabulary = Vocabulary({"rare": 1, "b": 2, "a": 2, "often": 9}, min_count=2)
        >>> vocabulary.words
        ['often', 'a', 'b']
        >>> vocabulary.index["b"]
        2
    """

    def __init__(self, counts: Mapping[str, int], min_count: int = 1):
        if min_count < 1:
            raise ValueError(f"min_count is {min_count}; it must be at least 1")
        kept = sorted(
            ((word, int(count)) for word, count in counts.items() if count >= min_count),
            key=lambda item: (-item[1], item[0]),
        )
        self.words = [word for word, _ in kept]
        self.counts = np.array([count for _, count in kept], dtype=np.int64)
        self.index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index
