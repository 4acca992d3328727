"""Word vectors with gensim's interface: the class, its evaluation and its files."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.vectors import evaluation, formats
from fastw2v.word2vec.vectors.search import Search
from fastw2v.word2vec.vectors.unknown import UnknownWordError

if TYPE_CHECKING:
    from gensim.models import KeyedVectors as GensimVectors

__all__ = ["KeyedVectors", "UnknownWordError", "WordVectors"]

_DEFAULT_FORMAT = "npz"


class WordVectors(Search):
    """Words and one vector for each: gensim's ``KeyedVectors``, which is another name of it.

    A word is a str, an integer or anything else that can be a key of a dict. Wherever one is
    expected, an integer that is no word stands for a row. Cosines with a vector of length 0 are 0.

    Vectors can be added, replaced and changed in place at any time; nothing has to be refreshed
    after that. As in gensim, ``WordVectors(vector_size, count=0, dtype=np.float32)`` makes an empty
    object to add to, with ``count`` rows that wait for a word.

    Args:
        words: V different words, the most frequent first.
        vectors: ``[V, D]``, kept without a copy where they are of type ``dtype``.
        counts: How often each word occurs, integers ``[V]``; None: not known.
        vector_size: The width D, in the place of words and vectors.
        count: With ``vector_size``, the number of rows that wait for a word.
        dtype: Of the vectors: float32, float16 or float64.

    Attributes:
        words: The words, a list; also under gensim's name, ``index_to_key``.
        vectors: ``[V, D]``. Can be assigned and written to.
        counts: int64 ``[V]``, or None.
        index: The row of each word, a dict; also under gensim's name, ``key_to_index``.
        expandos: All attributes of words by name, arrays ``[V]``; counts are ``"count"``.

    Raises:
        ValueError: ``vectors`` or ``counts`` has not one row for each word, or a word occurs twice.

    Example:
        >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
        >>> [(word, round(cosine, 2)) for word, cosine in vectors.most_similar("north", topn=1)]
        [('up', 0.8)]
        >>> vectors["nroth"]
        Traceback (most recent call last):
        fastw2v.word2vec.vectors.unknown.UnknownWordError: the word 'nroth' is not among the 3
        words; similar ones: north
    """

    vectors_lockf: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"WordVectors({len(self):,} words of width {self.vector_size})"

    def vectors_for_all(
        self,
        keys: Iterable[Hashable],
        allow_inference: bool = True,
        copy_vecattrs: bool = False,
    ) -> WordVectors:
        """Returns the vectors of some words, each once, as another object.

        Args:
            keys: The words; those without a vector are left out.
            allow_inference: Has no meaning here: no vectors are made for unknown words.
            copy_vecattrs: Copy the attributes of the words, their counts among them, as well.
        """
        rows = [self.index[key] for key in dict.fromkeys(keys) if key in self.index]
        return self._part(rows, copy_vecattrs)

    def _part(self, rows: Sequence[int], with_attributes: bool = True) -> WordVectors:
        words = [self.words[row] for row in rows]
        part = WordVectors(words, self.vectors[rows], dtype=self.vectors.dtype)
        if with_attributes:
            part.expandos = {attr: values[rows] for attr, values in self.expandos.items()}
        return part

    # ---- Evaluation ------------------------------------------------------------------------------

    def evaluate_word_pairs(
        self,
        pairs: str | os.PathLike[str],
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> evaluation.WordPairs:
        """Compares cosines with the judgments of people: see `evaluation.evaluate_word_pairs`."""
        return evaluation.evaluate_word_pairs(
            self, pairs, delimiter, encoding, restrict_vocab, case_insensitive, dummy4unknown
        )

    def evaluate_word_analogies(
        self,
        analogies: str | os.PathLike[str],
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
    ) -> tuple[float, list[dict[str, Any]]]:
        """Answers questions such as "man is to king as woman is to what": see
        `evaluation.evaluate_word_analogies`."""
        return evaluation.evaluate_word_analogies(
            self,
            analogies,
            restrict_vocab,
            case_insensitive,
            dummy4unknown,
            similarity_function,
        )

    log_accuracy = staticmethod(evaluation.log_analogies)
    log_evaluate_word_pairs = staticmethod(evaluation.log_word_pairs)

    # ---- Files -----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Writes the vectors to a file; one that was there before is replaced only when all is
        written.

        Args:
            path: The file; of ``projector``, the directory.
            format: ``text`` and ``binary`` are word2vec's, ``glove`` is text without a first line,
                ``npz`` NumPy's, ``gensim`` what ``KeyedVectors.load`` reads, and ``projector`` a
                log directory for TensorBoard. None: as the name ends, in ``.txt`` or ``.vec``,
                ``.bin``, ``.glove``, ``.npz`` or ``.kv``, and NumPy's under any other name.
                Word2vec's and GloVe's are compressed where the name ends in ``.gz``; integers come
                back from them as str.

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
        format = _format_to_write(path, format)
        if format == "npz":
            formats.write_npz(path, self._contents(format))
        elif format == "gensim":
            keyed = self.to_gensim()
            with replacing(path) as file:
                keyed.save(file)
        elif format == "projector":
            formats.write_projector(path, self._contents(format))
        elif format == "fasttext":
            raise ValueError("the vectors are not made of n-grams, which the format fasttext holds")
        else:
            self.save_word2vec_format(
                path, binary=format == "binary", write_header=format != "glove"
            )

    @classmethod
    def load(
        cls,
        fname: str | os.PathLike[str],
        format: str | None = None,
        *,
        mmap: str | None = None,
        unicode_errors: str = "strict",
        limit: int | None = None,
    ) -> WordVectors:
        """Reads the vectors of a file.

        Args:
            fname: The file.
            format: As in ``save``; ``projector`` can only be written. None: what the file holds
                decides, and its name where that is not enough. Models and checkpoints of
                `Word2Vec.save` are read as well, and gensim's models; of gensim's files nothing is
                run. A model of fastText or `fastw2v.FastText`, read whole, becomes
                `FastTextVectors`, which have vectors for words never seen.
            mmap: ``"r"`` maps vectors that gensim keeps in a file of their own, rather than reads
                them; they are copied when they are changed. All other files are read.
            unicode_errors: As in ``load_word2vec_format``, for word2vec's formats and GloVe's.
            limit: Return only so many words, the most frequent ones.

        Raises:
            OSError: The file cannot be read.
            ValueError: The format is unknown, or the file is damaged or not in it.
        """
        if mmap not in (None, "r", "c"):
            raise ValueError(f'mmap = {mmap!r} is not one of None, "r", "c"')
        contents = formats.read(
            fname, format, mmap=mmap, unicode_errors=unicode_errors, limit=limit
        )
        if contents.subwords is not None and cls is WordVectors:
            from fastw2v.word2vec.vectors.fasttext_vectors import FastTextVectors  # is one of these

            loaded: WordVectors = FastTextVectors.of_contents(contents)
        else:
            loaded = cls(contents.words, contents.vectors, contents.counts)
        loaded.expandos.update(contents.attributes)
        return loaded

    def save_npz(self, path: str | os.PathLike[str]) -> None:
        """Writes NumPy's format: the arrays ``words``, ``vectors`` and, if known, ``counts``."""
        self.save(path, "npz")

    def save_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Writes word2vec's text or binary format, which gensim and others read.

        Text: the first line holds V and D, each other line a word and its vector, with the digits
        that give the same float32 back. Compressed where the name ends in ``.gz``. Words that are
        not str are written as ``str(word)``.

        Args:
            fname: The file.
            fvocab: Another file, for each word and its count.
            binary: Write vectors as float32 rather than as decimal numbers.
            total_vec: The number V of the first line, where more vectors are appended later.
            write_header: Write the first line.
            prefix: Stands before each word.
            append: Write behind what the file holds already, rather than replace it.
            sort_attr: Words of the largest value of this attribute come first. Where there is no
                such attribute the words keep their order.

        Raises:
            OSError: The file cannot be written.
            ValueError: A word is empty or holds white space, which the format cannot express; or
                ``fvocab`` is given, and the words have no such attribute.
        """
        values = self.expandos.get(sort_attr)
        if fvocab is not None and values is None:
            raise ValueError(
                f"the words have no counts, no attribute {sort_attr!r}, to write to {fvocab}"
            )
        rows = [row for row, word in enumerate(self.words) if word is not None]
        if values is not None:
            sort_keys = values.tolist()
            rows.sort(key=lambda row: -sort_keys[row])
        words = [f"{prefix}{self.words[row]}" for row in rows]
        vectors = self.vectors if rows == list(range(len(self))) else self.vectors[rows]
        counts = None if values is None else values[rows]
        contents = formats.Contents(words, vectors.astype(np.float32, copy=False), counts)
        if fvocab is not None:
            formats.write_counts(fvocab, contents)
        if total_vec is None and not append:
            formats.write_word2vec(fname, contents, binary=binary, header=write_header)
            return
        # The vectors alone, and then a first line and they to where they belong.
        compressed = str(fname).lower().endswith(".gz")
        header = b"%d %d\n" % (len(words) if total_vec is None else total_vec, self.vector_size)
        directory = os.path.dirname(os.path.abspath(fname))
        with tempfile.TemporaryDirectory(dir=directory) as directory:
            body = os.path.join(directory, "body.gz" if compressed else "body")
            formats.write_word2vec(body, contents, binary=binary, header=False)
            with (
                open(fname, "ab") if append else replacing(fname) as file,
                open(body, "rb") as rest,
            ):
                if write_header:
                    file.write(gzip.compress(header, mtime=0) if compressed else header)
                shutil.copyfileobj(rest, file)

    @classmethod
    def load_word2vec_format(
        cls,
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: type = np.float32,
        no_header: bool = False,
    ) -> WordVectors:
        """Reads word2vec's text or binary format, plain or compressed by gzip.

        Where a word occurs more than once its first vector is kept, with a warning, as in gensim.

        Args:
            fname: The file.
            fvocab: Another file, with the count of each word. Without it the counts are not known;
                gensim makes up some.
            binary: Whether vectors are float32 rather than decimal numbers.
            encoding: Of the words.
            unicode_errors: What to do with words that are no text in it: ``"strict"`` raises,
                ``"ignore"`` and ``"replace"`` as in ``bytes.decode``.
            limit: Read only so many words, the most frequent ones.
            datatype: Of the vectors in memory; they are read as float32.
            no_header: The first line is missing, as in GloVe's files; text only.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, cut off or not in that format; the message names the line or
                the word.
        """
        if binary and no_header:
            raise ValueError("no_header is for text: a binary file needs its first line")
        contents = formats.read_word2vec(
            fname,
            binary=binary,
            header=not no_header,
            limit=limit,
            encoding=encoding,
            errors=unicode_errors,
        )
        counts = None
        if fvocab is not None:
            counts = formats.read_counts(fvocab, contents.words, encoding, unicode_errors)
        return cls(contents.words, contents.vectors, counts, dtype=datatype)

    def intersect_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> None:
        """Replaces the vectors of words that a file of word2vec's formats holds as well.

        Args:
            fname: The file.
            lockf: What ``vectors_lockf`` holds for these words from then on, and 1 for others: the
                part of each update that a training which goes by it takes.
            binary, encoding, unicode_errors: As in ``load_word2vec_format``.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, or its vectors are of another width.
        """
        contents = formats.read_word2vec(
            fname, binary=binary, encoding=encoding, errors=unicode_errors
        )
        width = contents.vectors.shape[1]
        if width != self.vector_size:
            raise ValueError(
                f"{fname}: its vectors have width {width}; these have width {self.vector_size}"
            )
        found = [row for row, word in enumerate(contents.words) if word in self.index]
        rows = [self.index[contents.words[row]] for row in found]
        self._write(rows, contents.vectors[found])
        if self.vectors_lockf is None or len(self.vectors_lockf) != len(self):
            self.vectors_lockf = np.ones(len(self), np.float32)
        self.vectors_lockf[rows] = lockf
        self.add_lifecycle_event(
            "intersect_word2vec_format", msg=f"took {len(rows)} vectors from {fname}"
        )

    def to_gensim(self) -> GensimVectors:
        """Returns the same as gensim's ``KeyedVectors``, with a copy of the vectors.

        Raises:
            ImportError: gensim is not installed.
        """
        from gensim.models import KeyedVectors as GensimVectors

        complete = self._complete()
        keyed = GensimVectors(self.vector_size, dtype=self.vectors.dtype)
        keyed.add_vectors(complete.words, complete.vectors)
        keyed.expandos = {attr: values.copy() for attr, values in complete.expandos.items()}
        keyed.next_index = len(keyed)
        return keyed

    @classmethod
    def from_gensim(cls, keyed: GensimVectors) -> WordVectors:
        """Returns the vectors of gensim's ``KeyedVectors``, or of a model that has such as ``wv``.

        The array of vectors is not copied: what is written to one is written to both.

        Raises:
            ValueError: It has no vectors of words.
        """
        keyed = getattr(keyed, "wv", keyed)
        if not hasattr(keyed, "index_to_key") or not hasattr(keyed, "vectors"):
            raise ValueError(f"{type(keyed).__name__} holds no word vectors")
        loaded = cls(keyed.index_to_key, keyed.vectors, dtype=keyed.vectors.dtype)
        attributes = dict(getattr(keyed, "expandos", {}))
        loaded.counts = attributes.pop("count", None)
        loaded.expandos.update(attributes)
        return loaded

    def _complete(self) -> WordVectors:
        """Returns the vectors without the rows that wait for a word."""
        if None not in self.words:
            return self
        return self._part([row for row, word in enumerate(self.words) if word is not None])

    def _contents(self, format: str) -> formats.Contents:
        complete = self._complete()
        for word in complete.words:
            if not isinstance(word, (str, int, np.integer)):
                raise ValueError(
                    f"the word {word!r} is a {type(word).__name__}; the format {format} holds str "
                    'and integers: save(path, "gensim") writes all words'
                )
        vectors = complete.vectors.astype(np.float32, copy=False)
        return formats.Contents(complete.words, vectors, complete.counts)


def _format_to_write(path: str | os.PathLike[str], format: str | None) -> str:
    if format is not None:
        return _known(format)
    try:
        return formats.format_of(path)
    except ValueError:
        return _DEFAULT_FORMAT


def _known(format: str) -> str:
    if format not in formats.SUFFIXES:
        raise ValueError(f"format = {format!r} is not one of {', '.join(formats.SUFFIXES)}")
    return format


KeyedVectors = WordVectors
