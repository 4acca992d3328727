"""The vectors of a model while it lives: what training does is seen, what is written is trained."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from fastw2v.word2vec.corpus import Vocabulary
from fastw2v.word2vec.corpus.subwords import Subwords
from fastw2v.word2vec.training import tables
from fastw2v.word2vec.vectors import FastTextVectors, WordVectors

_FROZEN_ROWS = (
    "vectors of single words cannot be kept from training: a group of words is trained as one. Put "
    "them back after training (model.wv[words] = vectors), or train the others alone"
)


class TrainedVectors(WordVectors):
    """What vectors of a model have in common, whatever they are made of. Words keep their rows."""

    _variable: tf.Variable

    def release(self) -> None:
        """Lets go of arrays, before something changes the variable or when something has."""
        raise NotImplementedError

    def refresh(self, may_have_changed: bool) -> None:
        """Sees what others have done to the variable.

        Args:
            may_have_changed: Whether others know the variable; on the CPU it is seen without.
        """
        raise NotImplementedError

    @property
    def has_added_words(self) -> bool:
        """Whether there are words that the model does not know yet."""
        return False

    @property
    def vectors_lockf(self) -> np.ndarray:
        """Ones: all vectors are trained."""
        lockf = np.ones(1, np.float32)
        lockf.flags.writeable = False
        return lockf

    @vectors_lockf.setter
    def vectors_lockf(self, lockf: np.ndarray) -> None:
        check_lockf(lockf)

    # Its base class returns no number, as in gensim.
    def intersect_word2vec_format(  # type: ignore[override]
        self,
        fname: str | os.PathLike[str],
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> int:
        """Takes the vectors of the words that are also in a file, to train on from them.

        Args:
            fname: A file of word2vec's format, of the width of these vectors.
            lockf: Must be 1: they are trained like all others. gensim's default, 0, would freeze
                them.
            binary, encoding, unicode_errors: As in `load_word2vec_format`.

        Returns:
            How many words are in both.

        Raises:
            OSError: The file cannot be read.
            ValueError: ``lockf`` is not 1, the file is damaged, or its vectors are of another
                width.
        """
        check_lockf(lockf)
        return self.take(
            WordVectors.load_word2vec_format(
                fname, binary=binary, encoding=encoding, unicode_errors=unicode_errors
            )
        )

    def take(self, other: WordVectors, first: int = 0) -> int:
        """Takes the vectors of the words that `other` has, too; returns how many.

        Args:
            other: Words and vectors.
            first: Of the words before this row nothing is changed.

        Raises:
            ValueError: They are of another width.
        """
        width = self._variable.shape[1]
        if other.vectors.shape[1] != width:
            raise ValueError(
                f"the vectors given are {other.vectors.shape[1]} wide, those of the model {width}: "
                f"make the model with vector_size = {other.vectors.shape[1]}"
            )
        rows = other.key_to_index
        both = [
            (row, rows[word])
            for row, word in enumerate(self.words[first:], start=first)
            if word in rows
        ]
        if both:
            mine, theirs = np.array(both).T
            self.release()
            self._variable.scatter_update(tf.IndexedSlices(other.vectors[theirs], mine))
        return len(both)

    def sort_by_descending_frequency(self) -> NoReturn:
        """Raises TypeError: the words of a model keep their rows."""
        raise TypeError(
            "the words of a model keep their rows: sort a copy, copy.deepcopy(model.wv)"
        )


class LiveVectors(TrainedVectors):
    """The words and vectors of a model, see `fastw2v.Word2Vec.wv`.

    ``vectors`` is the table of the model: where that is on the CPU it can be written to, and is
    trained from what it holds then. An array that was taken before training cannot be written to
    afterwards. Words that are added become words of the model.

    Args:
        vocabulary: The words of the model.
        variable: Their vectors.
    """

    _may_grow = True  # words may be added

    def __init__(self, vocabulary: Vocabulary, variable: tf.Variable) -> None:
        self._variable = variable
        self._is_on_cpu = tables.is_on_cpu(variable)
        self._array: np.ndarray | None = None  # of the variable; or with words behind it
        counts = vocabulary.counts if vocabulary.counts.any() else None
        super().__init__(vocabulary.words, self.vectors, counts)

    @property
    def vectors(self) -> np.ndarray:
        """float32 ``[V, D]``."""
        if self._array is None:
            self._array = tables.values(self._variable)
        return self._array

    @vectors.setter
    def vectors(self, vectors: np.ndarray) -> None:
        if vectors is self._array:
            return
        vectors = np.ascontiguousarray(vectors, np.float32)
        rows, width = self._variable.shape
        fits = len(vectors) >= rows if self._may_grow else len(vectors) == rows
        if vectors.ndim != 2 or vectors.shape[1] != width or not fits:
            raise ValueError(
                f"vectors has shape {vectors.shape}; the model has {rows:,} words of width {width}"
            )
        self.release()
        if len(vectors) == rows:
            self._variable.assign(vectors)
        else:
            self._array = vectors  # until the model takes the new words in

    @property
    def has_added_words(self) -> bool:
        """Whether there are words that the model does not know yet."""
        return self._array is not None and len(self._array) > self._variable.shape[0]

    def release(self) -> None:
        """Lets go of the array, before something changes the variable or when something has."""
        if self._array is not None:
            self._array.flags.writeable = False  # for others who hold it
            self._array = None
        self.__dict__.pop("_unit_vectors", None)

    def refresh(self, may_have_changed: bool) -> None:
        """Sees what others have done to the variable.

        Args:
            may_have_changed: Whether others know the variable; on the CPU it is seen without.
        """
        if self._array is None or self.has_added_words:
            return
        if self._is_on_cpu:
            may_have_changed = not tables.holds(self._variable, self._array)
        if may_have_changed:
            self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is no longer the model's."""
        state = {name: self.__dict__[name] for name in ("expandos",) if name in self.__dict__}
        return WordVectors, (self.words, self.vectors, self.counts), state or None


class LiveFastTextVectors(TrainedVectors, FastTextVectors):
    """The words of a model of n-grams, see `fastw2v.FastText.wv`.

    ``rows`` is the table of the model: what is written into it is trained.

    Args:
        vocabulary: The words of the model.
        variable: Their rows and those of n-grams.
        subwords: Which n-grams they have.
    """

    def __init__(self, vocabulary: Vocabulary, variable: tf.Variable, subwords: Subwords) -> None:
        self._variable = variable
        counts = vocabulary.counts if vocabulary.counts.any() else None
        self._begin(vocabulary.words, tables.values(variable), subwords, counts)

    @property
    def rows(self) -> np.ndarray:
        if self._rows is None:
            self._rows = tables.values(self._variable)
        return self._rows

    def release(self) -> None:
        if self._rows is not None:
            self._rows.flags.writeable = False  # for others who hold it
            self._rows = None
        self._means = None

    def refresh(self, may_have_changed: bool) -> None:
        if self._rows is not None and not tables.holds(self._variable, self._rows):
            self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is no longer the model's."""
        return FastTextVectors.__reduce__(self)


class LiveDocuments(LiveVectors):
    """The tags and vectors of the documents of a model, see `fastw2v.Doc2Vec.dv`.

    ``vectors`` is the table of the model, as in `LiveVectors`. There are no other documents than
    those of `build_vocab`.
    """

    _may_grow = False

    def _make_rows(self, words: Sequence[Hashable]) -> None:
        if words:
            raise ValueError(
                f"the model has no document {words[0]!r:.60}, and gets no new ones: "
                "model.infer_vector gives them a vector"
            )


def check_lockf(lockf: float | np.ndarray) -> None:
    """Raises ValueError for what would freeze words."""
    if np.any(np.asarray(lockf) != 1):
        raise ValueError(f"lockf must be 1: {_FROZEN_ROWS}")
