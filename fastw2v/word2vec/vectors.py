"""Word vectors: nearest neighbours, similarities, and the files that hold them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastw2v import _kernels
from fastw2v.word2vec import formats
from fastw2v.word2vec.evaluation import WordPairs, evaluate_word_analogies, evaluate_word_pairs
from fastw2v.word2vec.files import replacing

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

_MAX_SUGGESTIONS = 3
_SUGGESTION_RANKS = 100_000  # comparing with all of millions of words would take minutes


class UnknownWordError(KeyError):
    """A word has no vector. The text names words that are spelled like it."""

    def __init__(self, word: object, words: Sequence[str]) -> None:
        super().__init__(word)
        self.word = word
        self._words = words

    def __str__(self) -> str:
        # Looked for only when somebody reads it: programs catch this error for every unknown word.
        text = f"the word {self.word!r} is not among the {len(self._words):,} words"
        similar = _spelled_like(str(self.word), self._words[:_SUGGESTION_RANKS])
        return text + (f"; similar ones: {', '.join(similar)}" if similar else "")

    def __reduce__(self) -> tuple:
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


class WordVectors:
    """Words and one vector for each, with the names of gensim's ``KeyedVectors``.

    Wherever a word is expected, its row (an integer) does as well. Cosines with a vector of length
    0 are 0. The search for neighbours keeps a copy of the vectors scaled to length 1, made when it
    is first needed; after a change of ``vectors`` make a new object.

    Args:
        words: V different words, the most frequent first.
        vectors: ``[V, D]``, kept as float32, without a copy where they are.
        counts: How often each word occurs, integers ``[V]``; None: not known.

    Attributes:
        words: The words, a list of str; also under gensim's name, ``index_to_key``.
        vectors: float32 ``[V, D]``.
        counts: int64 ``[V]``, or None.
        index: The row of each word, a dict; also under gensim's name, ``key_to_index``.

    Raises:
        ValueError: ``vectors`` or ``counts`` has not one row for each word, or a word occurs twice.

    Example:
        >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
        >>> [(word, round(cosine, 2)) for word, cosine in vectors.most_similar("north", topn=1)]
        [('up', 0.8)]
        >>> vectors["nroth"]
        Traceback (most recent call last):
        fastw2v.word2vec.vectors.UnknownWordError: the word 'nroth' is not among the 3 words;
        similar ones: north
    """

    def __init__(
        self, words: Sequence[str], vectors: np.ndarray, counts: np.ndarray | None = None
    ) -> None:
        self.words = list(words)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.counts = None if counts is None else np.asarray(counts, dtype=np.int64)
        self.index = {word: row for row, word in enumerate(self.words)}
        if np.ndim(vectors) != 2 or len(self.vectors) != len(self.words):
            raise ValueError(
                f"vectors has shape {np.shape(vectors)}; it must be a matrix with a row for each "
                f"of the {len(self.words)} words"
            )
        if self.counts is not None and self.counts.shape != (len(self.words),):
            raise ValueError(
                f"counts has shape {self.counts.shape}; it must have a number for each of the "
                f"{len(self.words)} words"
            )
        if len(self.index) < len(self.words):
            twice = next(word for row, word in enumerate(self.words) if self.index[word] != row)
            raise ValueError(f"the word {twice!r} occurs more than once")

    # ---- Words and vectors -----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def __repr__(self) -> str:
        return f"WordVectors({len(self):,} words of width {self.vector_size})"

    def __getitem__(self, word: str | int | Sequence[str]) -> np.ndarray:
        """Returns the vector of a word ``[D]``, or those of a list of words ``[n, D]``."""
        if isinstance(word, (list, tuple, np.ndarray)):
            return self.vectors[[self.get_index(each) for each in word]]
        return self.vectors[self.get_index(word)]

    @property
    def vector_size(self) -> int:
        """The width D of the vectors."""
        return self.vectors.shape[1]

    @property
    def index_to_key(self) -> list[str]:
        return self.words

    @property
    def key_to_index(self) -> dict[str, int]:
        return self.index

    def get_index(self, word: str | int, default: int | None = None) -> int:
        """Returns the row of a word.

        Raises:
            UnknownWordError: It has no vector, and ``default`` is None; this is a KeyError.
        """
        row = self.index.get(word)
        if row is None and _is_row(word) and 0 <= word < len(self):
            row = int(word)
        if row is None:
            row = default
        if row is None:
            raise UnknownWordError(word, self.words)
        return row

    def get_vector(self, word: str | int, norm: bool = False) -> np.ndarray:
        """Returns the vector of a word, float32 ``[D]``; with ``norm`` scaled to length 1."""
        row = self.get_index(word)
        return self.normalized(slice(row, row + 1))[0] if norm else self.vectors[row]

    def normalized(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Returns the vectors of some rows scaled to length 1; one of length 0 stays as it is."""
        return _normalized(self.vectors[rows])

    def get_mean_vector(
        self,
        keys: Sequence[str | int | np.ndarray],
        weights: Sequence[float] | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> np.ndarray:
        """Returns the weighted mean of the vectors of words, or of given vectors, float32 ``[D]``.

        Args:
            keys: Words or vectors, at least one.
            weights: A number for each, 1 by default. The sum is divided by that of their sizes.
            pre_normalize: Scale the vectors of words to length 1 before.
            post_normalize: Scale the mean to length 1.
            ignore_missing: Leave out words that have no vector, rather than raise.

        Raises:
            UnknownWordError: A word has no vector, and ``ignore_missing`` is False.
            ValueError: There are no keys, or not as many weights.
        """
        if len(keys) == 0:
            raise ValueError("there are no words to take the mean of")
        weights = np.ones(len(keys)) if weights is None else np.asarray(weights)
        if weights.shape != (len(keys),):
            raise ValueError(f"weights has shape {weights.shape}; there are {len(keys)} words")
        total = np.zeros(self.vector_size, dtype=np.float32)
        size = 0.0
        for key, weight in zip(keys, weights, strict=True):
            if isinstance(key, np.ndarray):
                if key.shape != total.shape:
                    raise ValueError(
                        f"a vector has shape {key.shape}; it must be [{self.vector_size}]"
                    )
                vector = key
            elif ignore_missing and self.get_index(key, -1) < 0:
                continue
            else:
                vector = self.get_vector(key, norm=pre_normalize)
            total += np.float32(weight) * vector
            size += abs(float(weight))
        mean = total / np.float32(size) if size else total
        return _normalized(mean) if post_normalize else mean

    # ---- Neighbours ------------------------------------------------------------------------------

    @cached_property
    def _unit_vectors(self) -> np.ndarray:
        return self.normalized()

    def nearest(
        self, queries: np.ndarray, topn: int = 10, restrict_vocab: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of largest cosine with each of many vectors, best first.

        The fused kernel behind ``fastw2v.top_k`` finds them, without a matrix of all cosines.

        Args:
            queries: ``[B, D]``, of any lengths.
            topn: How many, at least 1; all where there are fewer.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.

        Returns:
            Cosines, float32 ``[B, topn]``, and rows, int64 ``[B, topn]``. Among equal cosines the
            lower row comes first.

        Raises:
            ValueError: ``queries`` is not a matrix of that width, or a number is out of its range.

        Example:
            >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
            >>> vectors.nearest([[0.0, 9.0]], topn=2)[1].tolist()
            [[0, 1]]
        """
        queries = np.asarray(queries, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.vector_size:
            raise ValueError(
                f"queries has shape {queries.shape}; it must be a matrix of width "
                f"{self.vector_size}"
            )
        others = self._unit_vectors[: self._num_searched(restrict_vocab)]
        if topn < 1:
            raise ValueError(f"topn is {topn}; it must be at least 1")
        return _kernels.top_k_float32(
            _normalized(queries),
            others,
            None,
            min(topn, len(others)),
            num_threads=len(os.sched_getaffinity(0)),
        )

    def _num_searched(self, restrict_vocab: int | None) -> int:
        if restrict_vocab is not None and restrict_vocab < 1:
            raise ValueError(f"restrict_vocab is {restrict_vocab}; it must be at least 1, or None")
        if not len(self):
            raise ValueError("there are no words to search")
        return len(self) if restrict_vocab is None else min(restrict_vocab, len(self))

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> list[tuple[str, float]] | np.ndarray:
        """Returns the words nearest to a sum of vectors, the one of largest cosine first.

        ``most_similar(positive=["king", "woman"], negative=["man"])`` answers "man is to king as
        woman is to ...": Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word
        Representations", section 4.

        Args:
            positive: A word, a vector, or a list of words, vectors and pairs ``(word, weight)``.
                The vectors of words are scaled to length 1 before they are added.
            negative: The same; their weights are -1 rather than 1.
            topn: How many words to return. None: an array of the cosines of all.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.

        Returns:
            Pairs of a word and its cosine, without the words that were given.

        Raises:
            UnknownWordError: A word has no vector; this is a KeyError.
            ValueError: No word is given, or a vector has not the right width.
        """
        if topn is not None and topn < 1:
            return []
        positive, negative = _as_list(positive), _as_list(negative)
        keys, weights = [], []
        for items, weight in ((positive, 1.0), (negative, -1.0)):
            for item in items:
                key, given = item if isinstance(item, (tuple, list)) else (item, weight)
                keys.append(key)
                weights.append(given)
        if not keys:
            raise ValueError("most_similar takes at least one word or vector")
        mean = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        if topn is None:
            return self._unit_vectors[: self._num_searched(restrict_vocab)] @ mean
        given_rows = {self.get_index(key) for key in keys if not isinstance(key, np.ndarray)}
        cosines, rows = self.nearest(mean[None], topn + len(given_rows), restrict_vocab)
        return self._named(cosines[0], rows[0], given_rows, topn)

    def most_similar_batch(
        self,
        queries: Sequence[str | int | np.ndarray],
        topn: int = 10,
        restrict_vocab: int | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Returns the neighbours of many words or vectors, as ``most_similar`` does of each.

        All are searched for at once: a thousand words in a few times the time of one.

        Args:
            queries: Words or vectors.
            topn: How many neighbours of each.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.

        Example:
            >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
            >>> [found[0][0] for found in vectors.most_similar_batch(vectors.words, topn=1)]
            ['up', 'north', 'up']
        """
        if not len(queries) or topn < 1:
            return [[] for _ in queries]
        given_rows = [
            set() if isinstance(query, np.ndarray) else {self.get_index(query)} for query in queries
        ]
        matrix = np.stack(
            [
                np.asarray(query, np.float32) if isinstance(query, np.ndarray) else self[query]
                for query in queries
            ]
        )
        found = zip(*self.nearest(matrix, topn + 1, restrict_vocab), given_rows, strict=True)
        return [self._named(*each, topn) for each in found]

    def _named(
        self, cosines: np.ndarray, rows: np.ndarray, left_out: set[int], topn: int
    ) -> list[tuple[str, float]]:
        pairs = zip(rows.tolist(), cosines.tolist(), strict=True)
        return [(self.words[row], cosine) for row, cosine in pairs if row not in left_out][:topn]

    def similar_by_word(
        self, word: str | int, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]] | np.ndarray:
        """Returns the words nearest to a word: ``most_similar`` of it alone."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    similar_by_key = similar_by_word

    def similar_by_vector(
        self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]] | np.ndarray:
        """Returns the words nearest to a vector ``[D]``."""
        return self.most_similar([np.asarray(vector)], topn=topn, restrict_vocab=restrict_vocab)

    # ---- Similarities ----------------------------------------------------------------------------

    def similarity(self, word: str | int, other: str | int) -> float:
        """Returns the cosine of the vectors of two words."""
        return float(self.get_vector(word, norm=True) @ self.get_vector(other, norm=True))

    def distance(self, word: str | int, other: str | int) -> float:
        """Returns 1 less the cosine of the vectors of two words."""
        return 1 - self.similarity(word, other)

    def distances(
        self, word_or_vector: str | int | np.ndarray, other_words: Sequence[str | int] = ()
    ) -> np.ndarray:
        """Returns 1 less the cosines with other words, float32 ``[n]``; with all where none are
        given."""
        if isinstance(word_or_vector, np.ndarray):
            vector = _normalized(word_or_vector.astype(np.float32))
        else:
            vector = self.get_vector(word_or_vector, norm=True)
        others = _normalized(self[list(other_words)]) if other_words else self._unit_vectors
        return 1 - others @ vector

    def closer_than(self, word: str | int, other: str | int) -> list[str]:
        """Returns the words that are nearer to a word than another one is, most frequent first."""
        distances = self.distances(word)
        nearer = np.flatnonzero(distances < distances[self.get_index(other)])
        return [self.words[row] for row in nearer if row != self.get_index(word)]

    def rank(self, word: str | int, other: str | int) -> int:
        """Returns which neighbour of a word another one is, 1 for the nearest."""
        return len(self.closer_than(word, other)) + 1

    def n_similarity(self, words: Sequence[str], others: Sequence[str]) -> float:
        """Returns the cosine of the means of two lists of words, whose lengths count.

        Words without a vector are left out, as gensim does.

        Raises:
            ValueError: A list is empty.
        """
        means = [self.get_mean_vector(each, pre_normalize=False) for each in (words, others)]
        return float(_normalized(means[0]) @ _normalized(means[1]))

    def doesnt_match(self, words: Sequence[str]) -> str:
        """Returns the word whose vector is furthest from the mean of all.

        Words without a vector are left out, as gensim does.

        Raises:
            ValueError: None of them has a vector.

        Example:
            >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
            >>> vectors.doesnt_match(["north", "south", "up"])
            'south'
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError("none of the words has a vector")
        matrix = _normalized(self[known])
        cosines = matrix @ _normalized(matrix.mean(axis=0))
        return min(zip(cosines.tolist(), known, strict=True))[1]

    def most_similar_to_given(self, word: str, words: Sequence[str]) -> str:
        """Returns the word of a list that is nearest to a word."""
        return words[int(self.distances(word, words).argmin())]

    # ---- Evaluation ------------------------------------------------------------------------------

    def evaluate_word_pairs(self, pairs: str | Path, **options: Any) -> WordPairs:
        """Compares cosines with the judgements of people: see `evaluation.evaluate_word_pairs`."""
        return evaluate_word_pairs(self, pairs, **options)

    def evaluate_word_analogies(
        self, analogies: str | Path, **options: Any
    ) -> tuple[float, list[dict[str, Any]]]:
        """Answers questions such as "man is to king as woman is to what": see
        `evaluation.evaluate_word_analogies`."""
        return evaluate_word_analogies(self, analogies, **options)

    # ---- Files -----------------------------------------------------------------------------------

    def save(self, path: str | Path, format: str | None = None) -> None:
        """Writes the vectors to a file; one that was there before is replaced only when all is
        written.

        Args:
            path: The file; of ``projector``, the directory.
            format: ``text`` and ``binary`` are word2vec's, ``glove`` is text without a first line,
                ``npz`` NumPy's, ``gensim`` what ``KeyedVectors.load`` reads, and ``projector`` a
                log directory for TensorBoard. None: as the name ends, in ``.txt`` or ``.vec``,
                ``.bin``, ``.glove``, ``.npz`` or ``.kv``. Word2vec's and GloVe's are compressed
                where the name ends in ``.gz``.

        Raises:
            OSError: The file cannot be written.
            ValueError: The format is unknown, or cannot hold a word.
            ImportError: The format is gensim's, which is not installed.

        Example:
            >>> import tempfile
            >>> vectors = WordVectors(["north", "up"], [[0, 1], [0.6, 0.8]])
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     vectors.save(f"{directory}/vectors.bin")
            ...     print(WordVectors.load(f"{directory}/vectors.bin"))
            WordVectors(2 words of width 2)
        """
        format = _checked_format(path, format)
        if format == "npz":
            formats.write_npz(path, self._contents())
        elif format == "gensim":
            keyed = self.to_gensim()
            with replacing(path) as file:
                keyed.save(file)
        elif format == "projector":
            formats.write_projector(path, self._contents())
        else:
            self.save_word2vec_format(
                path, binary=format == "binary", write_header=format != "glove"
            )

    @classmethod
    def load(
        cls,
        path: str | Path,
        format: str | None = None,
        *,
        unicode_errors: str = "strict",
        limit: int | None = None,
    ) -> WordVectors:
        """Reads the vectors of a file.

        Args:
            path: The file.
            format: As in ``save``; ``projector`` can only be written. A file of gensim is a pickle,
                which can run any program: load only what you trust.
            unicode_errors: As in ``load_word2vec_format``, for word2vec's formats and GloVe's.
            limit: Return only so many words, the most frequent ones.

        Raises:
            OSError: The file cannot be read.
            ValueError: The format is unknown, or the file is damaged or not in it.
            ImportError: The format is gensim's, which is not installed.
        """
        format = _checked_format(path, format)
        if format == "projector":
            raise ValueError(f"{path}: the format projector can only be written")
        if format in ("npz", "gensim"):
            loaded = cls(*formats.read_npz(path)) if format == "npz" else cls._load_gensim(path)
            if limit is None or limit >= len(loaded):
                return loaded
            if limit < 1:
                raise ValueError(f"limit is {limit}; it must be at least 1, or None for all words")
            counts = None if loaded.counts is None else loaded.counts[:limit]
            return cls(loaded.words[:limit], loaded.vectors[:limit].copy(), counts)
        return cls.load_word2vec_format(
            path,
            binary=format == "binary",
            unicode_errors=unicode_errors,
            limit=limit,
            no_header=format == "glove",
        )

    def save_npz(self, path: str | Path) -> None:
        """Writes NumPy's format: the arrays ``words``, ``vectors`` and, if known, ``counts``."""
        self.save(path, "npz")

    def save_word2vec_format(
        self,
        path: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        write_header: bool = True,
    ) -> None:
        """Writes word2vec's text or binary format, which gensim and others read.

        Text: the first line holds V and D, each other line a word and its vector, with the digits
        that give the same float32 back. Compressed where the name ends in ``.gz``.

        Args:
            path: The file.
            fvocab: Another file, for each word and its count.
            binary: Write vectors as float32 rather than as decimal numbers.
            write_header: Write the first line.

        Raises:
            OSError: The file cannot be written.
            ValueError: A word is empty or holds white space, which the format cannot express.
        """
        if fvocab is not None:
            formats.write_counts(fvocab, self._contents())
        formats.write_word2vec(path, self._contents(), binary=binary, header=write_header)

    @classmethod
    def load_word2vec_format(
        cls,
        path: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        no_header: bool = False,
    ) -> WordVectors:
        """Reads word2vec's text or binary format, plain or compressed by gzip.

        Where a word occurs more than once its first vector is kept, with a warning, as in gensim.

        Args:
            path: The file.
            fvocab: Another file, with the count of each word.
            binary: Whether vectors are float32 rather than decimal numbers.
            encoding: Of the words.
            unicode_errors: What to do with words that are no text in it: ``"strict"`` raises,
                ``"ignore"`` and ``"replace"`` as in ``bytes.decode``.
            limit: Read only so many words, the most frequent ones.
            no_header: The first line is missing, as in GloVe's files; text only.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, cut off or not in that format; the message names the line or
                the word.
        """
        if binary and no_header:
            raise ValueError("no_header is for text: a binary file needs its first line")
        contents = formats.read_word2vec(
            path,
            binary=binary,
            header=not no_header,
            limit=limit,
            encoding=encoding,
            errors=unicode_errors,
        )
        counts = None
        if fvocab is not None:
            counts = formats.read_counts(fvocab, contents.words, encoding, unicode_errors)
        return cls(contents.words, contents.vectors, counts)

    def to_gensim(self) -> KeyedVectors:
        """Returns the same as gensim's ``KeyedVectors``, with a copy of the vectors.

        Raises:
            ImportError: gensim is not installed.
        """
        from gensim.models import KeyedVectors

        keyed = KeyedVectors(self.vector_size)
        keyed.add_vectors(self.words, self.vectors)
        if self.counts is not None:
            keyed.allocate_vecattrs(["count"], [np.int64])
            keyed.expandos["count"][:] = self.counts
        return keyed

    @classmethod
    def from_gensim(cls, keyed: KeyedVectors) -> WordVectors:
        """Returns the vectors of gensim's ``KeyedVectors``, or of a model that has such as ``wv``.

        Raises:
            ValueError: It has no vectors of words.
        """
        keyed = getattr(keyed, "wv", keyed)
        if not hasattr(keyed, "index_to_key") or not hasattr(keyed, "vectors"):
            raise ValueError(f"{type(keyed).__name__} holds no word vectors")
        counts = keyed.expandos.get("count") if hasattr(keyed, "expandos") else None
        return cls([str(key) for key in keyed.index_to_key], keyed.vectors, counts)

    @classmethod
    def _load_gensim(cls, path: str | Path) -> WordVectors:
        import pickle

        from gensim.models import KeyedVectors

        try:
            loaded = KeyedVectors.load(str(path))
        except (pickle.UnpicklingError, EOFError, AttributeError, IndexError) as error:
            raise ValueError(f"{path} is damaged or not a file of gensim: {error}") from error
        try:
            return cls.from_gensim(loaded)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _contents(self) -> formats.Contents:
        return formats.Contents(self.words, self.vectors, self.counts)


def _normalized(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def _is_row(word: object) -> bool:
    return isinstance(word, (int, np.integer)) and not isinstance(word, bool)


def _as_list(items: Any) -> Iterable[Any]:
    """A word or a vector stands for a list of itself alone."""
    if items is None:
        return []
    if isinstance(items, str) or _is_row(items):
        return [items]
    if isinstance(items, np.ndarray) and items.ndim == 1:
        return [items]
    return list(items)


def _checked_format(path: str | Path, format: str | None) -> str:
    if format is None:
        return formats.format_of(path)
    if format not in formats.SUFFIXES:
        raise ValueError(f"format = {format!r} is not one of {', '.join(formats.SUFFIXES)}")
    return format
