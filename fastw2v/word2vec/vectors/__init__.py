"""Word vectors: what they answer, how good they are, and the files they lie in."""

from fastw2v.word2vec.vectors.fasttext_vectors import FastTextKeyedVectors, FastTextVectors
from fastw2v.word2vec.vectors.unknown import UnknownWordError
from fastw2v.word2vec.vectors.word_vectors import KeyedVectors, WordVectors

__all__ = [
    "FastTextKeyedVectors",
    "FastTextVectors",
    "KeyedVectors",
    "UnknownWordError",
    "WordVectors",
]
