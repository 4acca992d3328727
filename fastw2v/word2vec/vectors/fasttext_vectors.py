"""Word vectors that are made of the vectors of n-grams, for words never seen, too."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from fastw2v.word2vec.corpus.subwords import Subwords
from fastw2v.word2vec.vectors import formats
from fastw2v.word2vec.vectors.unknown import UnknownWordError
from fastw2v.word2vec.vectors.word_table import normalized
from fastw2v.word2vec.vectors.word_vectors import WordVectors

__all__ = ["FastTextKeyedVectors", "FastTextVectors"]

_MADE_OF_ROWS = (
    "the vectors of words are made of their own rows and those of their n-grams, and cannot be set "
    "or added one by one; WordVectors(wv.words, wv.vectors) is a copy that can be changed"
)


class FastTextVectors(WordVectors):
    """Word vectors of n-grams: gensim's ``FastTextKeyedVectors``, which is another name of it.

    The vector of a word is the mean of a row of its own and of the rows of its n-grams; that of any
    other word, the mean of the rows of its n-grams. Everything that `WordVectors` answers about a
    word it answers about words never seen, too, where they have an n-gram; neighbors are looked for
    among the V words. ``word in vectors`` is true for all such words, as in gensim;
    ``vectors.has_index_for(word)`` says whether a word has a row.

    Args:
        words: V different words, the most frequent first.
        rows: float32 ``[V + bucket, D]``: a row for each word, and behind them those of n-grams.
        counts: How often each word occurs, integers ``[V]``; None: not known.
        min_n, max_n: How many characters the n-grams have.

    Attributes:
        vectors: float32 ``[V, D]``, those of the words. Cannot be written to.

    Raises:
        ValueError: ``rows`` has not a row for each word, a word occurs twice, or a number is out of
            its range.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(2 + 50, 3))
        >>> vectors = FastTextVectors(["north", "south"], rows, min_n=3, max_n=4)
        >>> vectors["northern"].shape, vectors.has_index_for("northern")
        ((3,), False)
        >>> word, cosine = vectors.most_similar("northern", topn=1)[0]
        >>> word
        'north'

    Source: Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword
    Information", TACL 2017.
    """

    def __init__(
        self,
        words: Sequence[Hashable],
        rows: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        min_n: int = 3,
        max_n: int = 6,
    ) -> None:
        words = list(words)
        rows = np.ascontiguousarray(rows, np.float32)
        formats.check_subwords(words, formats.SubwordTable(rows, min_n, max_n))
        self._begin(words, rows, Subwords(min_n, max_n, len(rows) - len(words)), counts)

    def _begin(
        self,
        words: list[Hashable],
        rows: np.ndarray,
        subwords: Subwords,
        counts: np.ndarray | None,
    ) -> None:
        self._rows: np.ndarray | None = rows
        self._subwords = subwords
        self._means: np.ndarray | None = None
        super().__init__(words, self._made(words), counts)

    def _made(self, words: list[Hashable]) -> np.ndarray:
        if self._means is None:
            self._means = self._subwords.vectors(words, self.rows)
            self._means.flags.writeable = False
        return self._means

    def __repr__(self) -> str:
        return (
            f"FastTextVectors({len(self):,} words of width {self.vector_size}, n-grams of "
            f"{self.min_n} to {self.max_n} characters in {self.bucket:,} rows)"
        )

    # ---- What there is ---------------------------------------------------------------------------

    @property
    def rows(self) -> np.ndarray:
        """float32 ``[V + bucket, D]``: the rows of words, and behind them those of n-grams."""
        assert self._rows is not None
        return self._rows

    @property
    def vectors(self) -> np.ndarray:
        return self._made(self.words)

    @vectors.setter
    def vectors(self, vectors: np.ndarray) -> None:
        if vectors is not self._means:
            raise TypeError(_MADE_OF_ROWS)

    @property
    def vectors_vocab(self) -> np.ndarray:
        """The rows of the words, without those of n-grams, float32 ``[V, D]``."""
        return self.rows[: len(self)]

    @property
    def vectors_ngrams(self) -> np.ndarray:
        """The rows of n-grams, float32 ``[bucket, D]``."""
        return self.rows[len(self) :]

    @property
    def min_n(self) -> int:
        """How many characters an n-gram has at least."""
        return self._subwords.min_n

    @property
    def max_n(self) -> int:
        """How many characters an n-gram has at most."""
        return self._subwords.max_n

    @property
    def bucket(self) -> int:
        """How many rows n-grams have."""
        return self._subwords.bucket

    @property
    def buckets_word(self) -> list[np.ndarray]:
        """For each word the rows of its n-grams among ``vectors_ngrams``."""
        return [self._subwords.buckets(word) for word in self.words]

    def adjust_vectors(self) -> None:
        """Makes ``vectors`` anew, after a change of the rows."""
        self._means = None

    # ---- Lookup ----------------------------------------------------------------------------------

    def __contains__(self, word: Hashable) -> bool:
        return self.has_index_for(word) or (
            isinstance(word, str) and len(self._subwords.buckets(word)) > 0
        )

    def __getitem__(self, word: Hashable | Iterable[Hashable]) -> np.ndarray:
        if self._is_one(word):
            return self.get_vector(word)
        words: Any = word
        vectors = [self.get_vector(each) for each in words]
        return np.stack(vectors) if vectors else np.empty((0, self.vector_size), np.float32)

    def get_vector(self, key: Hashable, norm: bool = False) -> np.ndarray:
        """Returns the vector of a word ``[D]``, seen or not; with ``norm`` scaled to length 1.

        Raises:
            UnknownWordError: The word was never seen and has no n-gram; this is a KeyError.
        """
        if not isinstance(key, str) or self.has_index_for(key):
            return super().get_vector(key, norm)
        buckets = self._subwords.buckets(key)
        if not len(buckets):
            raise UnknownWordError(key, self.words)
        vector = self.vectors_ngrams[buckets].mean(axis=0)
        if norm:
            vector = normalized(vector)
        vector.setflags(write=False)
        return vector

    def get_sentence_vector(self, sentence: Sequence[Hashable]) -> np.ndarray:
        """The mean of the vectors of the words of a sentence, each scaled to length 1 ``[D]``."""
        return self.get_mean_vector(sentence)

    def vectors_for_all(
        self,
        keys: Iterable[Hashable],
        allow_inference: bool = True,
        copy_vecattrs: bool = False,
    ) -> WordVectors:
        """Returns the vectors of some words, each once, as another object.

        Args:
            keys: The words; those without a vector are left out.
            allow_inference: Whether words that were never seen get the vectors of their n-grams.
            copy_vecattrs: Copy the attributes of the words, too; those of words never seen are 0.
        """
        known = self.__contains__ if allow_inference else self.has_index_for
        words = [key for key in dict.fromkeys(keys) if known(key)]
        part = WordVectors(words, self[words])
        if copy_vecattrs:
            rows = np.array([self.get_index(word, -1) for word in words], np.int64)
            for attr, values in self.expandos.items():
                part.expandos[attr] = np.where(rows < 0, 0, values[np.maximum(rows, 0)])
        return part

    # ---- Changes ---------------------------------------------------------------------------------

    def _make_rows(self, words: Sequence[Hashable]) -> NoReturn:
        raise TypeError(_MADE_OF_ROWS)

    def _write(self, rows: Sequence[int], vectors: np.ndarray) -> NoReturn:
        raise TypeError(_MADE_OF_ROWS)

    def resize_vectors(self, seed: int = 0) -> NoReturn:
        """Raises TypeError: vectors are made of rows."""
        raise TypeError(_MADE_OF_ROWS)

    def sort_by_descending_frequency(self) -> NoReturn:
        """Raises TypeError: vectors are made of rows."""
        raise TypeError(_MADE_OF_ROWS)

    # ---- Files -----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Writes the vectors to a file.

        Args:
            path: The file; of ``projector``, the directory.
            format: ``fasttext`` is fastText's own: all rows, so that `load`, fastText and gensim
                have vectors for words never seen. It is written where the name ends in ``.bin``.
                The others, those of `WordVectors.save`, hold the vectors of the V words.

        Raises:
            OSError: The file cannot be written.
            ValueError: The format is unknown, or cannot hold a word.
        """
        if format == "fasttext" or (format is None and _is_named_bin(path)):
            formats.write_fasttext(path, self._with_rows())
        else:
            super().save(path, format)

    @classmethod
    def load(cls, fname: str | os.PathLike[str], *args: Any, **kwargs: Any) -> FastTextVectors:
        """Reads a file of fastText (``.bin``), or of `fastw2v.FastText.save`.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, or has no vectors of n-grams, or ``limit`` leaves words out.
        """
        loaded = WordVectors.load(fname, *args, **kwargs)
        if isinstance(loaded, FastTextVectors):
            return loaded
        if (limit := kwargs.get("limit")) is not None:
            raise ValueError(
                f"limit is {limit}, but n-grams are those of all words: WordVectors.load reads some"
            )
        raise ValueError(f"{os.fspath(fname)} has no vectors of n-grams: read it by WordVectors")

    @classmethod
    def from_gensim(cls, keyed: Any) -> FastTextVectors:
        """The vectors of gensim's ``FastTextKeyedVectors``, or of its ``FastText``.

        Raises:
            TypeError: It has no rows of n-grams.
        """
        keyed = getattr(keyed, "wv", keyed)
        if not hasattr(keyed, "vectors_ngrams"):
            raise TypeError(
                f"{type(keyed).__name__} has no rows of n-grams: take it by WordVectors.from_gensim"
            )
        rows = np.concatenate([keyed.vectors_vocab, keyed.vectors_ngrams])
        counts = getattr(keyed, "expandos", {}).get("count")
        return cls(keyed.index_to_key, rows, counts, min_n=keyed.min_n, max_n=keyed.max_n)

    @classmethod
    def load_word2vec_format(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises TypeError: files of that format have no rows of n-grams."""
        raise TypeError(
            "a file of word2vec's format has no rows of n-grams: read it by "
            "WordVectors.load_word2vec_format"
        )

    @classmethod
    def of_contents(cls, contents: formats.Contents) -> FastTextVectors:
        """What a file holds that has vectors of n-grams."""
        assert contents.subwords is not None
        rows, min_n, max_n = contents.subwords
        return cls(contents.words, rows, contents.counts, min_n=min_n, max_n=max_n)

    def _with_rows(self) -> formats.Contents:
        subwords = formats.SubwordTable(self.rows, self.min_n, self.max_n)
        return self._contents("fasttext")._replace(subwords=subwords)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"expandos": self.expandos}
        return _restored, (self.words, self.rows, self.min_n, self.max_n), state


def _restored(words: list[Hashable], rows: np.ndarray, min_n: int, max_n: int) -> FastTextVectors:
    return FastTextVectors(words, rows, min_n=min_n, max_n=max_n)


def _is_named_bin(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(".bin")


FastTextKeyedVectors = FastTextVectors
