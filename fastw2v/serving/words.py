"""Word vectors as functions of strings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class Words(tf.Module):
    """What `fastw2v.serving.export` serves of word vectors.

    Args:
        vectors: The words and their vectors, a `fastw2v.KeyedVectors`.
        directory: Where a file of the words may lie until the module has been saved: it becomes
            a part of the SavedModel.
    """

    def __init__(self, vectors: Any, directory: str) -> None:
        super().__init__()
        file = Path(directory, "words.txt")
        file.write_text("".join(f"{_line(word)}\n" for word in vectors.words), encoding="utf8")
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER

        def table(key: tuple[Any, int], value: tuple[Any, int], default: Any) -> Any:
            lines = tf.lookup.TextFileInitializer(str(file), *key, *value)
            return tf.lookup.StaticHashTable(lines, default)

        self.rows = table((tf.string, line), (tf.int64, number), -1)
        self.words = table((tf.int64, number), (tf.string, line), "")
        values = np.asarray(vectors.vectors, np.float32)
        self.vectors = tf.Variable(values, trainable=False)
        lengths = np.linalg.norm(values, axis=1)
        self.lengths = tf.Variable(np.where(lengths > 0, lengths, 1), trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def lookup(self, words: tf.Tensor) -> tf.Tensor:
        """The vectors of words [n]."""
        rows = self.rows.lookup(words)
        return tf.where(
            rows[:, tf.newaxis] >= 0, tf.gather(self.vectors, tf.maximum(rows, 0)), np.nan
        )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "words"),
            tf.TensorSpec([], tf.int32, "topn"),
        ]
    )
    def most_similar(self, words: tf.Tensor, topn: tf.Tensor) -> dict[str, tf.Tensor]:
        """The ``topn`` words of the largest cosines with each of some words [n], or all others."""
        queries = self.lookup(words)
        queries /= tf.math.maximum(tf.norm(queries, axis=1, keepdims=True), 1e-30)
        cosines = tf.matmul(queries, self.vectors, transpose_b=True) / self.lengths
        own = tf.range(tf.size(self.lengths, tf.int64)) == self.rows.lookup(words)[:, tf.newaxis]
        others = tf.maximum(tf.size(self.lengths) - 1, 0)
        best = tf.math.top_k(tf.where(own, -np.inf, cosines), tf.minimum(topn, others))
        return {
            "words": self.words.lookup(tf.cast(best.indices, tf.int64)),
            "similarities": best.values,
        }


def _line(word: Any) -> str:
    if not isinstance(word, str) or not word or set(word) & {"\n", "\r"}:
        raise ValueError(
            f"the word {word!r} is not a string without line breaks, as a word has to be that is "
            "served"
        )
    return word
