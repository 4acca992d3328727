"""Running text as arrays of word ids."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from fastw2v._kernels import Renumbering, TextScanner
from fastw2v.word2vec.corpus.sentences import MAX_SENTENCE, words_of
from fastw2v.word2vec.corpus.sources import SourceFile, read_pieces, source_files
from fastw2v.word2vec.corpus.token_file import (
    TokenFile,
    is_token_file,
    read_token_file,
    token_writer,
)
from fastw2v.word2vec.corpus.tokenizer import letters_of
from fastw2v.word2vec.corpus.vocabulary import Vocabulary, check_limits, words_to_json

Source = str | os.PathLike[str] | Iterable[Iterable[Hashable]]
Report = Callable[[int, "int | None", int], None]
Part = TypeVar("Part")

MAX_WORKERS = 1024
_BATCH_WORDS = 1 << 17


class TokenCorpus:
    """A text as word ids in a file that is mapped into memory: see `read_corpus`.

    Attributes:
        vocabulary: The words, a `Vocabulary`.
        num_tokens: The words that are in the vocabulary.
        num_words: All words read.
        num_sentences: The sentences that hold a word of the vocabulary.
        ids: int32 array, the text in order; -1 ends a sentence. No sentence is empty.
        tags: None; what the documents are called where the text consists of such, see
            `fastw2v.word2vec.corpus.read_documents`.
    """

    tags: Vocabulary | None = None

    def __init__(self, tokens: TokenFile) -> None:
        self.vocabulary = tokens.vocabulary
        self.ids = tokens.ids
        self.num_words: int = tokens.description["num_words"]
        self.num_sentences: int = tokens.description["num_sentences"]
        self.num_tokens = len(self.ids) - self.num_sentences

    def blocks(self, max_tokens: int) -> Iterator[np.ndarray]:
        """Yields the text as int32 arrays of ids; -1 ends a sentence.

        A block ends with a sentence, unless that is longer than a block.

        Args:
            max_tokens: How many ids, ends of sentences among them, a block holds at most; at
                least 2.

        Raises:
            ValueError: ``max_tokens`` is below 2.
        """
        if max_tokens < 2:
            raise ValueError(f"max_tokens is {max_tokens}; it must be at least 2")
        begin = 0
        while begin < len(self.ids):
            block = self.ids[begin : begin + max_tokens]
            if begin + len(block) < len(self.ids):
                ends = np.flatnonzero(block == -1)
                if len(ends):
                    block = block[: ends[-1] + 1]
            yield block
            begin += len(block)


def read_corpus(
    source: Source,
    *,
    cache: str | os.PathLike[str] | None = None,
    min_count: int = 5,
    max_vocab_size: int | None = None,
    max_final_vocab: int | None = None,
    vocabulary: Vocabulary | None = None,
    tokenizer: str = "whitespace",
    workers: int | None = None,
    report: Report | None = None,
) -> TokenCorpus:
    r"""Reads a text once: counts its words and writes their ids to a file.

    The text may be larger than memory: the vocabulary is held there, and a few blocks of text.

    Args:
        source: A UTF-8 text file, a line a sentence, plain or compressed by gzip, bzip2, xz or
            (where a package for it is installed) zstd; a directory of such files, read in sorted
            order, without directories below it and hidden files; a pipe, such as ``/dev/stdin``,
            which is read once; or an iterable of sentences, which is gone through once. A sentence
            is an iterable of words: str, integers (of NumPy too, which become Python's), or
            anything else that is hashable; numbers that are equal are one word.
        cache: A file for the ids, which is kept. It is used again when the source's files, their
            sizes and times of change, and all arguments are the same; otherwise, and for a pipe or
            an iterable, it is written anew. None puts the ids into a temporary file (in the
            directory that the environment variable TMPDIR names) that goes with the corpus. Only
            words that are str or int can be written to a cache.
        min_count: Words that occur less often are left out; at least 1.
        max_vocab_size: While words are counted, whenever after a sentence there are more
            different ones than this, the rarest are forgotten, as gensim does: those that
            occurred fewer than once, next time fewer than twice, and so on. At least 1; None does
            not forget. It bounds memory; a text that went over the bound is read twice, a pipe or
            an iterable from a temporary file.
        max_final_vocab: How many words to keep at most, at least 1; None keeps all. As in gensim,
            words that occur equally often stay or go together.
        vocabulary: The words to number the text by, with their ids; None takes those of the text.
            The three arguments before are then without effect.
        tokenizer: ``"whitespace"`` cuts lines where Python's ``str.split`` does, as gensim's
            ``corpus_file``; ``"words"`` takes what `tokenize` takes. Sentences of an iterable are
            words already.
        workers: How many threads count words, in [1, 1024]; by default as many as there are
            processors. The result does not depend on it.
        report: Is called every now and then as ``report(bytes_done, bytes_total, words)``, with the
            bytes read, the bytes of all files and the words read so far; for an iterable with 0,
            None and the words. A second reading begins at 0 again.

    Returns:
        The corpus. Sentences are cut after 10,000 words, as in gensim. It is empty where no word
        occurs often enough.

    Raises:
        ImportError: A file is compressed by zstd and no package for that is installed.
        OSError: A file cannot be read or became shorter, or the ids cannot be written; no part of a
            cache is left, and one that was there stays.
        TypeError: A sentence of an iterable is a str or no iterable, a word is not hashable, or
            one that is neither str nor int cannot be written to a cache.
        ValueError: An argument is out of its range; ``cache`` is a file of another kind, or is
            damaged; a word does not equal itself, as NaN; a file is damaged, or is no UTF-8 text,
            or has a word of more than a megabyte: the message names the file and the offset in its
            text.

    Example:
        >>> corpus = read_corpus([["to", "be", "or", "not"], ["to", "be"]], min_count=2)
        >>> corpus.vocabulary.words, corpus.num_tokens, corpus.num_words
        (['be', 'to'], 4, 6)
        >>> [block.tolist() for block in corpus.blocks(3)]
        [[1, 0, -1], [1, 0, -1]]
    """
    check_limits(min_count, max_vocab_size, max_final_vocab)
    letters = letters_of(tokenizer)
    text = _text(source, workers, report)
    settings: dict[str, Any] = {}
    if cache is not None:
        settings = {
            "tokenizer": tokenizer,
            "limits": [min_count, max_vocab_size, max_final_vocab] if vocabulary is None else None,
            "vocabulary": None if vocabulary is None else _digest(vocabulary),
            "files": text.identity(),
        }
        tokens = _read_cache(Path(cache), settings)
        if tokens is not None:
            return TokenCorpus(tokens)
    limits = min_count, max_vocab_size, max_final_vocab
    return TokenCorpus(number_words(text, limits, vocabulary, letters, cache, settings))


def number_words(
    text: Text,
    limits: tuple[int, int | None, int | None],
    vocabulary: Vocabulary | None,
    letters: np.ndarray | None = None,
    cache: str | os.PathLike[str] | None = None,
    settings: dict[str, Any] | None = None,
) -> TokenFile:
    """Reads a text and writes its ids to a file.

    Args:
        text: The text.
        limits: ``min_count``, ``max_vocab_size`` and ``max_final_vocab``.
        vocabulary, cache: As in `read_corpus`.
        letters: What words consist of; None: all but white space.
        settings: What else the file says.
    """
    min_count, max_vocab_size, max_final_vocab = limits
    with ExitStack() as stack:
        if vocabulary is None and max_vocab_size is not None and text.identity() is None:
            text.keep(stack.enter_context(tempfile.TemporaryFile(prefix="fastw2v-")))
        writer = stack.enter_context(token_writer(None if cache is None else Path(cache)))
        scanner = TextScanner(
            max_vocab_size or 0,
            MAX_SENTENCE,
            None if vocabulary is None else vocabulary.words,
            letters,
        )
        for ids in text.scan(scanner):
            writer.append(ids)
        num_words = scanner.num_words
        if vocabulary is None:
            words, counts, final_ids = scanner.vocabulary(min_count, max_final_vocab or 0)
            forgotten = scanner.pruned
            del scanner  # the words that do not stay can be many
            vocabulary = Vocabulary.from_sorted(words, counts)
            if forgotten:  # then nobody knows what the ids stand for
                writer.restart()
                scanner = TextScanner(0, MAX_SENTENCE, words, letters)
                for ids in text.scan(scanner):
                    writer.append(ids)
            else:
                writer.rewrite(Renumbering(final_ids))
        return writer.finish(vocabulary, {**(settings or {}), "num_words": num_words})


def read_vocabulary(
    source: Source,
    *,
    min_count: int = 5,
    max_vocab_size: int | None = None,
    max_final_vocab: int | None = None,
    tokenizer: str = "whitespace",
    workers: int | None = None,
    report: Report | None = None,
) -> Vocabulary:
    """Counts the words of a text and keeps nothing else.

    Arguments and errors are those of `read_corpus`; the text is read once in any case.

    Example:
        >>> read_vocabulary([["to", "be", "or", "not"], ["to", "be"]], min_count=2).words
        ['be', 'to']
    """
    check_limits(min_count, max_vocab_size, max_final_vocab)
    scanner = TextScanner(max_vocab_size or 0, MAX_SENTENCE, None, letters_of(tokenizer))
    for _ in _text(source, workers, report).scan(scanner):
        pass
    words, counts, _ = scanner.vocabulary(min_count, max_final_vocab or 0)
    return Vocabulary.from_sorted(words, counts)


def _digest(vocabulary: Vocabulary) -> str:
    return hashlib.sha256(words_to_json(vocabulary.words)).hexdigest()


def _read_cache(path: Path, settings: dict[str, Any]) -> TokenFile | None:
    """Returns what a cache holds, None if there is none, it is of other settings, or the text can
    be read only once.

    Raises:
        OSError: The cache cannot be read.
        ValueError: It is a file of another kind, or damaged.
    """
    try:
        with open(path, "rb") as file:
            if not is_token_file(file):
                raise ValueError(f"cache is {path}, a file of another kind: it is left as it is")
            if settings["files"] is None:
                return None
            try:
                return read_token_file(file, settings)
            except ValueError as error:
                raise ValueError(
                    f"the cache {path} is damaged ({error}): delete it, and it is written anew"
                ) from error
    except FileNotFoundError:
        return None


class Text(ABC):
    """A text, read in parts; for one that is there only once, `keep` takes a file for the parts."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._kept: BinaryIO | None = None

    @abstractmethod
    def identity(self) -> Any:
        """What identifies the text, as JSON; None if it can be read only once."""

    @abstractmethod
    def _parts(self) -> Iterator[Any]:
        """Yields the text in parts that can be pickled."""

    @abstractmethod
    def _scan(self, part: Any, scanner: TextScanner) -> tuple[np.ndarray, int, int | None]:
        """Returns the ids of a part, and how many bytes of how many are done then."""

    def keep(self, file: BinaryIO) -> None:
        """Keeps the parts in a file, so that the text can be read again."""
        self._kept = file

    def scan(self, scanner: TextScanner) -> Iterator[np.ndarray]:
        """Yields the ids of the words, part by part."""
        is_second_time = self._kept is not None and self._kept.tell() > 0
        for part in self._kept_parts() if is_second_time else self._parts():
            if self._kept is not None and not is_second_time:
                pickle.dump(part, self._kept, pickle.HIGHEST_PROTOCOL)
            ids, done, total = self._scan(part, scanner)
            yield ids
            if self._report is not None:
                self._report(done, total, scanner.num_words)

    def _kept_parts(self) -> Iterator[Any]:
        assert self._kept is not None  # the first reading has filled it
        self._kept.seek(0)
        while True:
            try:
                yield pickle.load(self._kept)
            except EOFError:
                return


class _Files(Text):
    """Text in files. A part is a piece of one, its place, and how much is done then; the end of a
    file is None."""

    def __init__(self, files: list[SourceFile], workers: int, report: Report | None) -> None:
        super().__init__(report)
        self._files, self._workers = files, workers

    def identity(self) -> list[Any] | None:
        if not all(file.is_regular for file in self._files):
            return None
        return [[os.path.abspath(file.path), file.size, file.mtime_ns] for file in self._files]

    def _parts(self) -> Iterator[tuple[int, bytes | None, int]]:
        done = 0
        for place, file in enumerate(self._files):
            for piece, position in read_pieces(file):
                yield place, piece, done + min(position, file.size)
            done += file.size
            yield place, None, done

    def _scan(
        self, part: tuple[int, bytes | None, int], scanner: TextScanner
    ) -> tuple[np.ndarray, int, int | None]:
        place, piece, done = part
        try:
            ids = scanner.end_text() if piece is None else scanner.scan(piece, self._workers)
        except ValueError as error:
            raise ValueError(f"{self._files[place].path} {error}") from None
        return ids, done, sum(file.size for file in self._files)


class _Sentences(Text):
    """Text in lists of words. A part is some sentences."""

    def __init__(self, sentences: Iterable[Iterable[Hashable]], report: Report | None) -> None:
        super().__init__(report)
        self._sentences = sentences

    def identity(self) -> None:
        return None

    def _parts(self) -> Iterator[list[Sequence[Hashable]]]:
        sentences = enumerate(self._sentences, start=1)
        return batches((words_of(sentence, number) for number, sentence in sentences), len)

    def _scan(
        self, part: list[Sequence[Hashable]], scanner: TextScanner
    ) -> tuple[np.ndarray, int, int | None]:
        return scanner.scan_sentences(part), 0, None


def batches(sentences: Iterable[Part], num_words: Callable[[Part], int]) -> Iterator[list[Part]]:
    """Yields some sentences at a time, of about as many words."""
    batch: list[Part] = []
    words = 0
    for sentence in sentences:
        batch.append(sentence)
        words += num_words(sentence)
        if words > _BATCH_WORDS or len(batch) > _BATCH_WORDS:
            yield batch
            batch = []
            words = 0
    yield batch


def _text(source: Source, workers: int | None, report: Report | None) -> Text:
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    elif not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers is {workers}; it must be in [1, {MAX_WORKERS}]")
    if isinstance(source, (str, os.PathLike)):
        return _Files(source_files(source), workers, report)
    return _Sentences(source, report)
