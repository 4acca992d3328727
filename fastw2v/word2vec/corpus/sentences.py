"""Sentences as lists of words: those of text files, and checks of those that a caller gives."""

from __future__ import annotations

import codecs
import itertools
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from fastw2v.word2vec.corpus.sources import SourceFile, read_pieces, source_files
from fastw2v.word2vec.corpus.tokenizer import splitter_of

MAX_SENTENCE = 10_000  # words, as in gensim
_MAX_LINE_BYTES = 1 << 30

Word = TypeVar("Word", bound=Hashable)


def words_of(sentence: Iterable[Word], number: int) -> Sequence[Word]:
    """Returns a sentence as a list or a tuple: itself where it is one.

    Args:
        sentence: Any iterable but a str.
        number: Its place in the text, from 1.

    Raises:
        TypeError: It is a str or not iterable.
    """
    if isinstance(sentence, (list, tuple)):
        return sentence
    try:
        if isinstance(sentence, (str, bytes)):
            raise TypeError
        words = iter(sentence)
    except TypeError:
        raise TypeError(
            f"the sentence {sentence!r:.60} is a {type(sentence).__name__}, not a list of words "
            f"(sentence {number:,} of the text)"
        ) from None
    return sentence.tolist() if isinstance(sentence, np.ndarray) else list(words)


def read_sentences(
    source: str | os.PathLike[str], tokenizer: str = "whitespace"
) -> Iterator[list[str]]:
    r"""Yields the sentences of a text as lists of words, those of a line that is not empty.

    Args:
        source: A file or a directory, as `read_corpus` takes them.
        tokenizer: As in `read_corpus`.

    Raises:
        ImportError, OSError, ValueError: While iterating, as in `read_corpus`.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w+") as file:
        ...     _ = file.write("to be\n\nor not\n")
        ...     file.flush()
        ...     list(read_sentences(file.name))
        [['to', 'be'], ['or', 'not']]
    """
    split = splitter_of(tokenizer)
    for file in source_files(source):
        for line in _lines(file):
            yield from _cut(split(line), MAX_SENTENCE)


def lines_of(source: str | os.PathLike[str]) -> Iterator[str]:
    """Yields all lines of a text, empty ones too; what follows the last line end, if anything."""
    for file in source_files(source):
        previous = ""
        for number, line in enumerate(_lines(file)):
            if number:
                yield previous
            previous = line
        if previous:
            yield previous


class LineSentence:
    r"""The sentences of a text: a line each, cut at white space; can be iterated over again.

    ``Word2Vec(corpus_file=path)`` reads the same text several times as fast.

    Args:
        source: A UTF-8 text file, plain or compressed by gzip, bzip2, xz or zstd; a directory of
            such files, read in sorted order; or an open file that has ``seek``.
        max_sentence_length: Longer lines are cut after so many words.
        limit: Reads only so many lines of each file; None reads all.

    Raises:
        ImportError, OSError, ValueError: While iterating, as in
            `fastw2v.word2vec.corpus.read_corpus`.

    Example:
        >>> import io
        >>> sentences = LineSentence(io.StringIO("to be\n\nor not\n"))
        >>> list(sentences), list(sentences)
        ([['to', 'be'], ['or', 'not']], [['to', 'be'], ['or', 'not']])
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | IO[Any],
        max_sentence_length: int = MAX_SENTENCE,
        limit: int | None = None,
    ) -> None:
        self.source = source
        self.max_sentence_length = max_sentence_length
        self.limit = limit

    def __iter__(self) -> Iterator[list[str]]:
        for lines in self._texts():
            for line in itertools.islice(lines, self.limit):
                yield from _cut(line.split(), self.max_sentence_length)

    def _texts(self) -> Iterator[Iterator[str]]:
        source: Any = self.source
        if not hasattr(source, "seek"):
            yield from map(_lines, source_files(source))
            return
        source.seek(0)
        lines = (line if isinstance(line, str) else line.decode() for line in source)
        yield itertools.chain([next(lines, "").removeprefix("\ufeff")], lines)


class PathLineSentences(LineSentence):
    """The sentences of all files of a directory, as `LineSentence` has those of one.

    Args:
        source: The directory, or a single file.
        max_sentence_length, limit: As in `LineSentence`.

    Raises:
        OSError: The directory cannot be read.
        ValueError: It holds no files.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     for name, text in (("1.txt", "to be"), ("2.txt", "or not")):
        ...         _ = pathlib.Path(directory, name).write_text(text)
        ...     list(PathLineSentences(directory))
        [['to', 'be'], ['or', 'not']]
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        max_sentence_length: int = MAX_SENTENCE,
        limit: int | None = None,
    ) -> None:
        super().__init__(source, max_sentence_length, limit)
        self.input_files = [str(file.path) for file in source_files(source)]


class Text8Corpus:
    """The words of a text without lines, such as text8, as sentences of equal length.

    Args:
        fname: A UTF-8 text file, plain or compressed; it is read in pieces.
        max_sentence_length: The words of a sentence.

    Raises:
        ImportError, OSError, ValueError: While iterating, as in
            `fastw2v.word2vec.corpus.read_corpus`.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w+") as file:
        ...     _ = file.write("to be or not to be")
        ...     file.flush()
        ...     list(Text8Corpus(file.name, max_sentence_length=4))
        [['to', 'be', 'or', 'not'], ['to', 'be']]
    """

    def __init__(
        self, fname: str | os.PathLike[str], max_sentence_length: int = MAX_SENTENCE
    ) -> None:
        self.fname = fname
        self.max_sentence_length = max_sentence_length

    def __iter__(self) -> Iterator[list[str]]:
        words: list[str] = []
        rest = ""  # of a word, at the end of a piece
        for file in source_files(self.fname):
            for text in itertools.chain(_texts(file), ["\n"]):
                if not text:
                    continue
                words += (rest + text).split()
                rest = "" if text[-1].isspace() else words.pop()
                whole = len(words) - len(words) % self.max_sentence_length
                yield from _cut(words[:whole], self.max_sentence_length)
                del words[:whole]
        yield from _cut(words, self.max_sentence_length)


def _cut(words: list[str], size: int) -> Iterator[list[str]]:
    for begin in range(0, len(words), size):
        yield words[begin : begin + size]


def _texts(file: SourceFile) -> Iterator[str]:
    """Yields a file's text in pieces, without a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    for piece, _ in read_pieces(file):
        try:
            yield decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise _no_text(file.path, error) from None
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _no_text(file.path, error) from None


def _no_text(path: Path, error: UnicodeDecodeError, place: str = "") -> ValueError:
    return ValueError(f"{path} is not UTF-8 text: {place}{error.reason}")


def _lines(file: SourceFile) -> Iterator[str]:
    """Yields a file's lines, without a byte order mark."""
    rest: list[bytes] = []  # of the text, since the last line end
    rest_bytes = number = 0
    pieces = (piece for piece, _ in read_pieces(file))
    for piece in itertools.chain(pieces, [b"\n"]):
        *lines, last = piece.split(b"\n")
        if lines:
            lines[0] = b"".join([*rest, lines[0]])
            rest, rest_bytes = [], 0
        rest.append(last)
        rest_bytes += len(last)
        for line in lines:
            number += 1
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _no_text(file.path, error, f"line {number:,}: ") from None
        if rest_bytes > _MAX_LINE_BYTES:
            raise ValueError(
                f"{file.path}: line {number + 1:,} has more than {_MAX_LINE_BYTES:,} bytes: give "
                "the text as corpus_file, or read it by Text8Corpus"
            )
