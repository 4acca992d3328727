"""Word vectors: nearest neighbours, and the text format of word2vec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


class WordVectors:
    """Words and one vector for each.

    Args:
        words: V different words, the most frequent first.
        vectors: ``[V, D]``, kept as float32.

    Attributes:
        words: The words, a list of str.
        vectors: float32 ``[V, D]``.
        index: The row of each word, a dict.

    Raises:
        ValueError: ``vectors`` has not one row for each word, or a word occurs twice.

    Example:
        >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
        >>> [(word, round(cosine, 2)) for word, cosine in vectors.most_similar("north", topn=1)]
        [('up', 0.8)]
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        self.words = list(words)
        self.vectors = np.asarray(vectors, dtype=np.float32)
        self.index = {word: row for row, word in enumerate(self.words)}
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.words):
            raise ValueError(
                f"vectors has shape {self.vectors.shape}; it must be a matrix with a row for each "
                f"of the {len(self.words)} words"
            )
        if len(self.index) < len(self.words):
            twice = next(word for row, word in enumerate(self.words) if self.index[word] != row)
            raise ValueError(f"the word {twice!r} occurs more than once")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> np.ndarray:
        return self.vectors[self.index[word]]

    def normalized(self, rows: slice = slice(None)) -> np.ndarray:
        """Returns vectors scaled to length 1; one of length 0 stays as it is."""
        vectors = self.vectors[rows]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)

    def most_similar(
        self, word: str, topn: int = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """Returns the words whose vectors have the largest cosine with that of a word.

        Args:
            word: The word, which is not among its own neighbours.
            topn: How many neighbours to return.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.

        Raises:
            KeyError: ``word`` has no vector.
        """
        target = self.index[word]
        others = self.normalized(slice(restrict_vocab))
        cosines = others @ self.normalized(slice(target, target + 1))[0]
        nearest = np.argsort(-cosines, kind="stable")
        return [
            (self.words[row], float(cosines[row])) for row in nearest[: topn + 1] if row != target
        ][:topn]

    def save_word2vec_format(self, path: str | Path) -> None:
        """Writes the text format of word2vec, which gensim and others read.

        The first line holds V and D, each other line a word and its vector, with the digits that
        give the same float32 back.

        Raises:
            OSError: The file cannot be written.
            ValueError: A word is empty or holds white space, which the format cannot express.
        """
        for word in self.words:
            if word.split() != [word]:
                raise ValueError(f"the word {word!r} is empty or holds white space")
        line = "%s" + " %.9g" * self.vectors.shape[1] + "\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write("{} {}\n".format(*self.vectors.shape))
            for word, vector in zip(self.words, self.vectors.tolist(), strict=True):
                file.write(line % (word, *vector))

    @classmethod
    def load_word2vec_format(cls, path: str | Path) -> WordVectors:
        """Reads the text format of word2vec.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not in that format; the message names the line.
        """
        with open(path, encoding="utf-8") as file:
            header = file.readline().split()
            if len(header) != 2 or not all(number.isdecimal() for number in header):
                raise ValueError(f"{path}, line 1: expected the number of words and the width")
            num_words, size = map(int, header)
            words = []
            vectors = np.empty((num_words, size), dtype=np.float32)
            for row in range(num_words):
                word, *numbers = file.readline().split() or [""]
                if len(numbers) != size:
                    raise ValueError(
                        f"{path}, line {row + 2}: expected a word and {size} numbers, "
                        f"found {len(numbers)} numbers"
                    )
                words.append(word)
                try:
                    vectors[row] = numbers
                except ValueError as error:
                    raise ValueError(f"{path}, line {row + 2}: {error}") from error
        return cls(words, vectors)
