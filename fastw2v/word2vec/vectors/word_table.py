"""Words, a vector for each and further attributes of each: how they are looked up and changed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeGuard

import numpy as np

from fastw2v.word2vec.vectors.unknown import UnknownWordError
from fastw2v.word2vec.whole_numbers import whole_numbers

_logger = logging.getLogger(__name__)

_REMOVED = {
    "accuracy": "since gensim 4 it is evaluate_word_analogies(path)",
    "add": "since gensim 4 it is add_vectors(words, vectors)",
    "doctags": "since gensim 4 the tags of documents are the list index_to_key",
    "get_keras_embedding": "keras.layers.Embedding(*vectors.shape, weights=[vectors]) is a layer "
    "with the array vectors",
    "index2entity": "since gensim 4 the words are the list index_to_key",
    "index2word": "since gensim 4 the words are the list index_to_key",
    "similarity_unseen_docs": "since gensim 4 it is a method of the model, Doc2Vec",
    "syn0": "since gensim 4 the vectors are the array vectors",
    "syn0norm": "since gensim 4 get_normed_vectors() returns the vectors scaled to length 1",
    "vectors_norm": "since gensim 4 get_normed_vectors() returns the vectors scaled to length 1",
    "vocab": "since gensim 4 the rows of words are the dict key_to_index, the words the list "
    'index_to_key, and get_vecattr(word, "count") gives how often a word occurs',
}


class WordTable:
    """Words and one vector for each; `WordVectors` adds searches and files to it.

    Nothing that follows from the vectors is kept: whoever changes ``vectors``, in place or by
    another array, finds the new values in every answer. A subclass that shows vectors of another
    place defines the property ``vectors`` anew, and ``_write`` if single rows can be written there.
    """

    def __init__(
        self,
        words: Sequence[Hashable] | int | None = None,
        vectors: np.ndarray | int | None = None,
        counts: np.ndarray | type | None = None,
        *,
        vector_size: int | None = None,
        count: int = 0,
        dtype: type = np.float32,
    ) -> None:
        if is_row(words):  # in the order of gensim's constructor
            vector_size, words = words, None
            count, vectors = (count if vectors is None else vectors), None
            dtype, counts = (dtype if counts is None else counts), None
        if vector_size is not None:
            if words is not None or vectors is not None or counts is not None:
                raise TypeError("vector_size is for vectors that are added later: give no words")
            count = _at_least("count", count, 0)
            words = [None] * count
            vectors = np.zeros((count, _at_least("vector_size", vector_size, 1)))
        if words is None or isinstance(words, int) or vectors is None:
            raise TypeError("give words and their vectors, or vector_size to add them later")
        if np.dtype(dtype).kind != "f":
            raise ValueError(f"dtype is {np.dtype(dtype)}; it must be a type of floats")
        self._vectors = np.empty((0, 0), dtype)
        self.next_index = 0  # rows before it have words
        self.expandos: dict[str, np.ndarray] = {}
        self.lifecycle_events: list[dict[str, Any]] = []
        self.words = words
        if np.ndim(vectors) != 2 or np.shape(vectors)[0] != len(self):
            raise ValueError(
                f"vectors has shape {np.shape(vectors)}; it must be a matrix with a row for each "
                f"of the {len(self)} words"
            )
        self.vectors = vectors
        self.counts = counts

    def __getattr__(self, name: str) -> Any:
        if name in _REMOVED:
            raise AttributeError(f"{type(self).__name__} has no {name}: {_REMOVED[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _REMOVED:
            raise AttributeError(f"{type(self).__name__} has no {name}: {_REMOVED[name]}")
        super().__setattr__(name, value)

    # ---- What there is ---------------------------------------------------------------------------

    @property
    def words(self) -> list[Hashable]:
        """The words, a list. A list that is assigned also makes ``index`` anew."""
        return self._words

    @words.setter
    def words(self, words: Iterable[Hashable]) -> None:
        words = words.tolist() if isinstance(words, np.ndarray) else list(words)
        # A row that waits for a word holds None.
        index = {word: row for row, word in enumerate(words) if word is not None}
        if len(index) < len(words) - words.count(None):
            twice = next(word for row, word in enumerate(words) if index.get(word, row) != row)
            raise ValueError(f"the word {twice!r} occurs more than once")
        self._words, self._index = words, index
        self.next_index = words.index(None) if None in words else len(words)

    @property
    def index(self) -> dict[Hashable, int]:
        """The row of each word, a dict. One that is assigned also makes ``words`` anew."""
        return self._index

    @index.setter
    def index(self, index: Mapping[Hashable, int]) -> None:
        words: list[Hashable] = [None] * len(index)
        for word, row in index.items():
            if not is_row(row) or not 0 <= row < len(words) or words[row] is not None:
                raise ValueError(
                    f"the word {word!r} has row {row!r}; the rows of {len(words)} words must be "
                    f"the integers below {len(words)}, each once"
                )
            words[row] = word
        self.words = words

    index_to_key = words
    key_to_index = index

    @property
    def vectors(self) -> np.ndarray:
        """The vectors ``[V, D]``. Another array that is assigned is kept in the same dtype."""
        return self._vectors

    @vectors.setter
    def vectors(self, vectors: np.ndarray) -> None:
        if np.ndim(vectors) != 2:
            raise ValueError(
                f"vectors has shape {np.shape(vectors)}; it must be a matrix with a row for each "
                f"of the {len(self)} words"
            )
        self._vectors = np.ascontiguousarray(vectors, dtype=self._vectors.dtype)

    @property
    def vector_size(self) -> int:
        """The width D of the vectors."""
        return self.vectors.shape[1]

    @property
    def counts(self) -> np.ndarray | None:
        """How often each word occurs, int64 ``[V]``, or None: the attribute ``"count"``."""
        return self.expandos.get("count")

    @counts.setter
    def counts(self, counts: np.ndarray | None) -> None:
        if counts is None:
            self.expandos.pop("count", None)
            return
        counts = whole_numbers("counts", counts)
        if counts.shape != (len(self),):
            raise ValueError(
                f"counts has shape {counts.shape}; it must have a number for each of the "
                f"{len(self)} words"
            )
        self.expandos["count"] = counts

    @property
    def norms(self) -> np.ndarray:
        """The lengths of the vectors ``[V]``, as they are now."""
        return lengths_of(self.vectors)

    @norms.setter
    def norms(self, norms: None) -> None:
        if norms is not None:
            raise AttributeError("norms follow from vectors: assign those")

    def fill_norms(self, force: bool = False) -> None:
        """Does nothing, for compatibility with gensim: no lengths are kept."""

    def __len__(self) -> int:
        return len(self.words)

    # ---- Lookup ----------------------------------------------------------------------------------

    def __contains__(self, word: Hashable) -> bool:
        return self.has_index_for(word)

    def has_index_for(self, key: Hashable) -> bool:
        """Whether a word has a row."""
        return self.get_index(key, -1) >= 0

    def __getitem__(self, word: Hashable | Iterable[Hashable]) -> np.ndarray:
        """Returns the vector of a word ``[D]``, or those of a list of words ``[n, D]``."""
        if self._is_one(word):
            return self.get_vector(word)
        words: Any = word
        return self.vectors[[self.get_index(each) for each in words]]

    def get_index(self, key: Hashable, default: int | None = None) -> int:
        """Returns the row of a word; an integer that is no word is a row itself.

        Raises:
            UnknownWordError: It has no vector, and ``default`` is None; this is a KeyError.
        """
        row = self.index.get(key)
        if row is None and is_row(key) and 0 <= key < len(self):
            row = int(key)
        if row is None:
            row = default
        if row is None:
            raise UnknownWordError(key, self.words)
        return row

    def get_vector(self, key: Hashable, norm: bool = False) -> np.ndarray:
        """Returns the vector of a word ``[D]``; with ``norm`` scaled to length 1.

        It cannot be written to: ``vectors[word] = vector`` changes it.

        Raises:
            UnknownWordError: The word has no vector; this is a KeyError.
        """
        vector = self.vectors[self.get_index(key)]
        if norm:
            vector = normalized(vector)
        vector.setflags(write=False)
        return vector

    def word_vec(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """The old name of ``get_vector``."""
        warnings.warn("word_vec is now get_vector", DeprecationWarning, stacklevel=2)
        return self.get_vector(*args, **kwargs)

    def normalized(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Returns the vectors of some rows scaled to length 1; one of length 0 stays as it is."""
        return normalized(self.vectors[rows])

    def get_normed_vectors(self) -> np.ndarray:
        """Returns a copy of all vectors, scaled to length 1 ``[V, D]``."""
        return self.normalized()

    def _is_one(self, item: Any) -> TypeGuard[Hashable]:
        """Distinguishes a word, known or not, from a list of words or a vector."""
        if isinstance(item, (str, bytes)) or is_row(item):
            return True
        return _is_hashable(item) and (item in self.index or not isinstance(item, Iterable))

    # ---- Attributes ------------------------------------------------------------------------------

    def get_vecattr(self, key: Hashable, attr: str) -> Any:
        """Returns an attribute of a word; ``"count"`` is how often it occurs.

        Raises:
            UnknownWordError: The word has no row; this is a KeyError.
            KeyError: There is no such attribute.

        Example:
            >>> from fastw2v import WordVectors
            >>> WordVectors(["up", "north"], [[0, 1], [1, 0]], counts=[7, 5]).get_vecattr(
            ...     "north", "count"
            ... ).item()
            5
        """
        row = self.get_index(key)
        if attr == "count" and self.counts is None:
            raise KeyError("how often the words occur is not known: assign counts first")
        if attr not in self.expandos:
            known = ", ".join(map(repr, self.expandos)) or "none"
            raise KeyError(f"no attribute {attr!r} of the words is known; there are {known}")
        return self.expandos[attr][row]

    def set_vecattr(self, key: Hashable, attr: str, val: Any) -> None:
        """Gives a word an attribute, a number or any other object; other words have 0 at first.

        Raises:
            UnknownWordError: The word has no row; this is a KeyError.
            TypeError: The attribute has numbers of a type that cannot hold the value.
        """
        row = self.get_index(key)
        self.allocate_vecattrs([attr], [type(val)])
        values = self.expandos[attr]
        try:
            values[row] = val
        except OverflowError:
            raise TypeError(
                f"the attribute {attr!r} has values of type {values.dtype}, which cannot hold {val}"
            ) from None

    def allocate_vecattrs(
        self, attrs: Iterable[str] | None = None, types: Iterable[type] | None = None
    ) -> None:
        """Makes arrays for attributes, with a place for each word.

        Args:
            attrs: The names; None: only fits the arrays that there are to the number of words.
            types: Of the values, one for each name.

        Raises:
            TypeError: An attribute is there, of a type that cannot hold these values.
        """
        for attr, given in zip(attrs or (), types or (), strict=True):
            dtype = _attribute_dtype(given)
            if attr not in self.expandos:
                self.expandos[attr] = np.zeros(len(self), dtype)
            elif not np.can_cast(dtype, self.expandos[attr].dtype, "safe"):
                raise TypeError(
                    f"the attribute {attr!r} has values of type {self.expandos[attr].dtype}, which "
                    f"cannot hold one of {dtype}"
                )
        for attr, old in self.expandos.items():
            if len(old) != len(self):
                new = np.zeros((len(self), *old.shape[1:]), old.dtype)
                new[: len(old)] = old[: len(self)]
                self.expandos[attr] = new

    # ---- Changes ---------------------------------------------------------------------------------

    def __setitem__(self, keys: Hashable | Iterable[Hashable], weights: np.ndarray) -> None:
        """Sets the vector of a word, or those of a list of words; unknown words are added."""
        self.add_vectors(keys, weights, replace=True)

    def add_vector(self, key: Hashable, vector: np.ndarray) -> int:
        """Adds a word with its vector, and returns its row; a word that is known stays as it is.

        All vectors are copied, unless a row waits for a word: add many with ``add_vectors``.
        """
        self.add_vectors([key], [vector])
        return self.index[key]

    def add_vectors(
        self,
        keys: Hashable | Iterable[Hashable],
        weights: np.ndarray,
        extras: Mapping[str, np.ndarray] | None = None,
        replace: bool = False,
    ) -> None:
        """Adds words with their vectors.

        They take the rows that wait for a word (see ``count`` in the constructor), then new ones
        behind those that are there. Their other attributes are 0.

        Args:
            keys: A word, or a list of words.
            weights: Its vector ``[D]``, or their vectors ``[n, D]``.
            extras: Attributes, an array for each name with a value for each word.
            replace: Words that are known get the new vector and attributes, rather than keep the
                old ones.

        Raises:
            ValueError: ``weights`` or ``extras`` do not fit the words, or a word is given twice.
            TypeError: An attribute is there, of a type that cannot hold those of ``extras``.

        Example:
            >>> from fastw2v import WordVectors
            >>> vectors = WordVectors(vector_size=2)
            >>> vectors.add_vectors(["up", "north"], [[0, 1], [1, 0]])
            >>> vectors["north"] = [3, 4]
            >>> vectors["north"].tolist(), len(vectors)
            ([3.0, 4.0], 2)
        """
        given: Any = keys
        if self._is_one(keys):
            given, weights = [keys], [weights]
        keys = given.tolist() if isinstance(given, np.ndarray) else list(given)
        weights = np.asarray(weights, dtype=self.vectors.dtype)
        if not keys:
            return
        if weights.shape != (len(keys), self.vector_size):
            raise ValueError(
                f"the vectors have shape {weights.shape}; {len(keys)} words of width "
                f"{self.vector_size} need {(len(keys), self.vector_size)}"
            )
        if len(set(keys)) < len(keys) or None in keys:
            raise ValueError("a word is given more than once, or is None")
        extras = {attr: np.asarray(values) for attr, values in (extras or {}).items()}
        for attr, values in extras.items():
            if values.shape != (len(keys),):
                raise ValueError(
                    f"extras[{attr!r}] has shape {values.shape}; it must have a value for each of "
                    f"the {len(keys)} words"
                )
        self.allocate_vecattrs(extras, [values.dtype.type for values in extras.values()])
        taken = [row for row, key in enumerate(keys) if replace or key not in self.index]
        self._make_rows([keys[row] for row in taken if keys[row] not in self.index])
        rows = [self.index[keys[row]] for row in taken]
        self._write(rows, weights[taken])
        for attr, values in extras.items():
            self.expandos[attr][rows] = values[taken]

    def _make_rows(self, words: Sequence[Hashable]) -> None:
        """Gives new words rows, those that wait for a word first."""
        rows: list[int] = []
        row = self.next_index
        while len(rows) < len(words):
            if row >= len(self) or self.words[row] is None:
                rows.append(row)
            row += 1
        if row > len(self.vectors):
            added = np.zeros((row - len(self.vectors), self.vector_size), self.vectors.dtype)
            self.vectors = np.concatenate([self.vectors, added])
        self.words.extend([None] * (row - len(self)))
        for row, word in zip(rows, words, strict=True):
            self.words[row] = word
            self.index[word] = row
        self.next_index = max([self.next_index, *(row + 1 for row in rows)])
        self.allocate_vecattrs()

    def _write(self, rows: Sequence[int], vectors: np.ndarray) -> None:
        """Sets the vectors of some rows."""
        matrix = self.vectors
        if not matrix.flags.writeable:  # mapped from a file, or shared with another library
            matrix = matrix.copy()
        matrix[rows] = vectors
        self.vectors = matrix

    def resize_vectors(self, seed: int = 0) -> None:
        """Fits the vectors and attributes to the number of words, after a change of the list.

        New vectors are drawn from the uniform distribution on [-1/D, 1/D).
        """
        shape = (len(self), self.vector_size)
        drawn = np.random.default_rng(seed).random(shape, dtype=np.float32)
        vectors = ((2 * drawn - 1) / self.vector_size).astype(self.vectors.dtype)
        vectors[: len(self.vectors)] = self.vectors[: len(self)]
        self.vectors = vectors
        self.allocate_vecattrs()

    def sort_by_descending_frequency(self) -> None:
        """Puts the most frequent words first; of equally frequent ones, the last one first.

        Raises:
            ValueError: It is not known how often the words occur.
        """
        if not len(self):
            return
        if self.counts is None:
            raise ValueError("the counts of the words are not known: assign counts first")
        self.allocate_vecattrs()
        order = np.lexsort((-np.arange(len(self)), -self.counts))
        self.vectors = self.vectors[order]
        self.expandos = {attr: values[order] for attr, values in self.expandos.items()}
        self.words = [self.words[row] for row in order]

    def unit_normalize_all(self) -> None:
        """Scales all vectors to length 1, for good."""
        self.vectors = self.normalized()

    def init_sims(self, replace: bool = False) -> None:
        """The old name of ``unit_normalize_all``, with ``replace``; does nothing without."""
        warnings.warn(
            "init_sims is not needed: searches scale vectors to length 1 themselves; "
            "unit_normalize_all() scales them for good",
            DeprecationWarning,
            stacklevel=2,
        )
        if replace:
            self.unit_normalize_all()

    def add_lifecycle_event(
        self, event_name: str, log_level: int | None = logging.INFO, **event: Any
    ) -> None:
        """Notes what was done in ``lifecycle_events``, and logs it.

        Args:
            event_name: What was done.
            log_level: Of the ``logging`` module; None: it is not logged.
            event: More to note, by name.
        """
        noted = {**event, "datetime": datetime.now().isoformat(), "event": event_name}
        self.lifecycle_events.append(noted)
        if log_level is not None:
            _logger.log(log_level, "%s lifecycle event %s", type(self).__name__, noted)


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors scaled to length 1; those of length 0 stay as they are."""
    lengths = lengths_of(vectors)[..., None]
    return vectors / np.where(lengths == 0, 1, lengths)


def lengths_of(vectors: np.ndarray) -> np.ndarray:
    """Returns the lengths of vectors, in at least float32."""
    exact = vectors.astype(np.promote_types(vectors.dtype, np.float32), copy=False)
    return np.sqrt(np.einsum("...d,...d->...", exact, exact))


def is_row(item: object) -> TypeGuard[int]:
    """Whether something is an integer, which can stand for a row."""
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


def _is_hashable(item: object) -> bool:
    try:
        hash(item)
    except TypeError:
        return False
    return True


def _at_least(name: str, value: Any, low: int) -> int:
    if not is_row(value) or value < low:
        raise ValueError(f"{name} is {value!r}; it must be an integer of at least {low}")
    return int(value)


def _attribute_dtype(given: Any) -> np.dtype:
    """Returns how values of a type are kept: numbers as such, all others as objects."""
    try:
        dtype = np.dtype(given)
    except TypeError:
        return np.dtype(object)
    return dtype if dtype.kind in "biufc" and given is not type(None) else np.dtype(object)
