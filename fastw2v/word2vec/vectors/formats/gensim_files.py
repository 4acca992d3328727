"""Files of gensim 3 and 4, ``KeyedVectors.save`` and ``Word2Vec.save``: words, vectors, a model."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from fastw2v.word2vec.vectors.formats.array_archive import ArrayArchive, read_npy
from fastw2v.word2vec.vectors.formats.contents import (
    Contents,
    check_contents,
    check_finite,
    damage_named,
)
from fastw2v.word2vec.vectors.formats.plain_pickle import Array, Record, is_plain_key, unpickled
from fastw2v.word2vec.whole_numbers import whole_numbers

_DESCRIPTION = "a file of gensim"


class Model(NamedTuple):
    """What a file of gensim's ``Word2Vec`` holds.

    Attributes:
        contents: Words, their vectors and their counts.
        syn1neg, syn1: float32 [V, D], None where the model has none: the words as negative sampling
            predicts them, and the inner nodes of the tree of hierarchical softmax.
        fields: The numbers among the attributes of the model, by name.
    """

    contents: Contents
    syn1neg: np.ndarray | None
    syn1: np.ndarray | None
    fields: dict[str, Any]


def read_vectors(path: str | os.PathLike[str], mmap: str | None = None) -> Contents:
    """Reads the vectors of a file of gensim: of ``KeyedVectors``, or of a model that has such.

    Args:
        path: The file.
        mmap: Map vectors that lie in a file of their own rather than read them, as in
            ``numpy.load``. Whether they are finite is not looked at then.

    Raises:
        OSError: The file, or one of those beside it that hold its arrays, cannot be read.
        ValueError: It is damaged, holds no vectors of words, or names what gensim does not write.
    """
    with damage_named(path, _DESCRIPTION):
        contents = _vectors_of(_Loaded(path), mmap)
    if mmap is None:
        check_finite(path, contents.words, contents.vectors)
    return contents


def read_model(path: str | os.PathLike[str]) -> Model:
    """Reads a whole model of gensim.

    Raises:
        OSError: The file, or one of those beside it that hold its arrays, cannot be read.
        ValueError: It is damaged, is no model of ``Word2Vec``, or names what gensim does not write.
    """
    with damage_named(path, _DESCRIPTION):
        loaded = _Loaded(path)
        if loaded.kind != "Word2Vec":
            raise ValueError(
                f"it holds {loaded.kind}, not a model of Word2Vec; WordVectors.load reads vectors"
            )
        contents = _vectors_of(loaded)
        # gensim 3 has parts in objects of their own.
        parts = map(loaded.part, ("trainables", "vocabulary"))
        owners = [loaded, *(part for part in parts if part is not None)]
        fields: dict[str, Any] = {}
        weights: dict[str, np.ndarray] = {}
        for owner in reversed(owners):
            for name, value in owner.fields.items():
                if value is None or isinstance(value, (bool, int, float, str)):
                    fields[name] = value
            for name in ("syn1neg", "syn1"):
                if (array := owner.array(name)) is not None:
                    weights[name] = _as_float32(array)
                    check_contents(Contents(contents.words, weights[name], None), is_plain_key)
    return Model(contents, weights.get("syn1neg"), weights.get("syn1"), fields)


# ---- Objects and their arrays --------------------------------------------------------------------


class _Loaded:
    """An object of a file of gensim, with the arrays that lie in files of their own beside it."""

    def __init__(
        self, path: str | os.PathLike[str], record: Any = None, prefix: str | None = None
    ) -> None:
        self._path = os.fspath(path)
        self._prefix = self._path if prefix is None else prefix
        record = unpickled(path) if record is None else record
        if not isinstance(record, Record):
            raise ValueError(f"it holds a {type(record).__name__}, no word vectors")
        self.kind = record.kind
        self.fields = record.fields

    def part(self, name: str) -> _Loaded | None:
        """The object that is an attribute of this one, None if there is none."""
        record = self.fields.get(name)
        if not isinstance(record, Record):
            return None
        return _Loaded(self._path, record, f"{self._prefix}.{name}")

    def array(self, name: str, mmap: str | None = None) -> np.ndarray | None:
        """The array that is an attribute of this object, None if there is none."""
        stored = self.fields.get(name)
        apart = self.fields.get("__numpys", [])
        if isinstance(stored, Array):
            return stored.values()
        if not isinstance(apart, list) or name not in apart:
            return None
        if not self._path.endswith((".gz", ".bz2")):
            return read_npy(f"{self._prefix}.{name}.npy", mmap)
        with open(f"{self._prefix}.{name}.npz", "rb") as file:
            return ArrayArchive(file).array("val.npy")


def _vectors_of(loaded: _Loaded, mmap: str | None = None) -> Contents:
    keyed = loaded.part("wv") or loaded
    vectors = keyed.array("vectors", mmap)
    vectors = keyed.array("syn0", mmap) if vectors is None else vectors  # gensim before 3.3
    words = keyed.fields.get("index_to_key", keyed.fields.get("index2word"))
    if vectors is None or words is None:
        raise ValueError(f"{keyed.kind} holds no word vectors")
    if isinstance(words, Array):
        words = words.values().tolist()
    vectors = _as_float32(vectors)
    if not isinstance(words, list) or not all(map(is_plain_key, words)):
        raise ValueError("its words are not a list of strings, numbers and tuples of such")
    attributes = _attributes_of(keyed, words)
    if None in words:  # rows that wait for a word
        rows = [row for row, word in enumerate(words) if word is not None]
        words, vectors = [words[row] for row in rows], vectors[rows]
        attributes = {name: values[rows] for name, values in attributes.items()}
    contents = Contents(words, vectors, attributes.pop("count", None), attributes)
    check_contents(contents, is_plain_key)
    return contents


def _attributes_of(keyed: _Loaded, words: list[Any]) -> dict[str, np.ndarray]:
    """The numbers that are known of each word, by name; counts are int64."""
    attributes: dict[str, np.ndarray] = {}
    expandos, vocab = keyed.fields.get("expandos"), keyed.fields.get("vocab")
    if isinstance(expandos, dict):
        for name, values in expandos.items():
            if isinstance(values, Array) and values.is_plain:
                attributes[str(name)] = values.values()
    elif isinstance(vocab, dict):  # gensim 3
        counts = [vocab[word].fields["count"] for word in words]
        attributes["count"] = whole_numbers("counts", counts)
    if attributes.get("count", np.empty(0)).dtype.kind in "iu":
        attributes["count"] = whole_numbers("counts", attributes["count"])
    return attributes


def _as_float32(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        raise ValueError(f"an array of vectors is of {array.dtype}, not of floats")
    return np.ascontiguousarray(array, np.float32)
