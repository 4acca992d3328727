"""Running text as arrays of word ids."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastw2v._kernels import Renumbering, TextScanner
from fastw2v.word2vec.sources import SourceFile, read_pieces, source_files
from fastw2v.word2vec.token_file import TokenFile, is_token_file, read_token_file, token_writer
from fastw2v.word2vec.vocabulary import Vocabulary, check_limits

Report = Callable[[int, "int | None", int], None]

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\n")
_MAX_SENTENCE = 10_000  # words, as in gensim
_BATCH_WORDS = 1 << 17


def tokenize(text: str) -> list[str]:
    r"""Splits text into lower-case words; a line end is a token of its own, ``"\n"``.

    A word is a run of letters, with apostrophes inside it.

    Example:
        >>> tokenize("Don't panic, it's\nonly 42 lines_of text.")
        ["don't", 'panic', "it's", '\n', 'only', 'lines', 'of', 'text']
    """
    return _TOKEN.findall(text.lower())


@functools.cache
def _lower_case() -> np.ndarray:
    """Returns the lower case of each letter by code point, 0 for what is no letter.

    Letters are those of `tokenize`. Two capitals whose lower case is not one letter on its own are
    left to the core: the dotted I and the sigma at the end of a word.
    """
    code_points = np.arange(sys.maxunicode + 1, dtype="<u4")
    characters = code_points.tobytes().decode("utf-32-le", "surrogatepass")
    letters = "".join(re.findall(r"[^\W\d_]+", characters))
    table = np.zeros(ord(letters[-1]) + 1, np.uint32)
    table[np.frombuffer(letters.encode("utf-32-le"), "<u4")] = [
        ord(letter.lower()[0]) for letter in letters
    ]
    return table


class TokenCorpus:
    """A text as word ids in a file that is mapped into memory: see `read_corpus`.

    Attributes:
        vocabulary: The words, a `Vocabulary`.
        num_tokens: The words that are in the vocabulary.
        num_words: All words read.
        num_sentences: The sentences that hold a word of the vocabulary.
        ids: int32 array, the text in order; -1 ends a sentence. No sentence is empty.
    """

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
                ends = np.flatnonzero(block < 0)
                if len(ends):
                    block = block[: ends[-1] + 1]
            yield block
            begin += len(block)


def read_corpus(
    source: str | os.PathLike[str] | Iterable[Sequence[str]],
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
            order, without directories below it and hidden files; or an iterable of sentences,
            lists of str, which is gone through once.
        cache: A file for the ids, which is kept. It is used again when the source's files, their
            sizes and times of change, and all arguments are the same; otherwise, and for an
            iterable, it is written anew. None puts the ids into a temporary file (in the directory
            that the environment variable TMPDIR names) that goes with the corpus.
        min_count: Words that occur less often are left out; at least 1.
        max_vocab_size: While words are counted, whenever after a sentence there are more
            different ones than this, the rarest are forgotten, as gensim does: those met fewer than
            once, next time fewer than twice, and so on. At least 1; None does not forget. It bounds
            memory; a text that went over the bound is read twice.
        max_final_vocab: How many words to keep at most, at least 1; None keeps all. As in gensim,
            words that occur equally often stay or go together.
        vocabulary: The words to number the text by, with their ids; None takes those of the text.
            The three arguments before are then without effect.
        tokenizer: ``"whitespace"`` cuts lines where Python's ``str.split`` does, as gensim's
            ``corpus_file``; ``"words"`` takes what `tokenize` takes. Sentences of an iterable are
            words already.
        workers: How many threads count words; by default as many as there are processors. The
            result does not depend on it.
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
        TypeError: A sentence of an iterable is a str, or a word is none.
        ValueError: An argument is out of its range; ``cache`` is a file of another kind; a file is
            damaged, or is no UTF-8 text, or has a word of more than a megabyte: the message names
            the file and the offset in its text.

    Example:
        >>> corpus = read_corpus([["to", "be", "or", "not"], ["to", "be"]], min_count=2)
        >>> corpus.vocabulary.words, corpus.num_tokens, corpus.num_words
        (['be', 'to'], 4, 6)
        >>> [block.tolist() for block in corpus.blocks(3)]
        [[1, 0, -1], [1, 0, -1]]
    """
    check_limits(min_count, max_vocab_size, max_final_vocab)
    letters = _letters_of(tokenizer)
    workers = _num_workers(workers)
    settings = {
        "tokenizer": tokenizer,
        "limits": None if vocabulary is not None else [min_count, max_vocab_size, max_final_vocab],
        "vocabulary": None if vocabulary is None else _digest(vocabulary),
    }
    files = source_files(source) if isinstance(source, (str, os.PathLike)) else None
    if files is not None:
        settings["files"] = [
            [os.path.abspath(file.path), file.size, file.mtime_ns] for file in files
        ]
    cache = None if cache is None else Path(cache)
    if cache is not None:
        tokens = _read_cache(cache)
        if tokens is not None and files is not None:
            if all(tokens.description.get(name) == value for name, value in settings.items()):
                return TokenCorpus(tokens)
    counts_words = vocabulary is None
    with ExitStack() as stack:
        if files is not None:
            text = _Files(files, workers, report)
        else:
            may_be_read_twice = counts_words and max_vocab_size is not None
            kept = tempfile.TemporaryFile(prefix="fastw2v-") if may_be_read_twice else None
            text = _Sentences(source, kept and stack.enter_context(kept), report)
        writer = stack.enter_context(token_writer(cache))
        scanner = TextScanner(
            max_vocab_size or 0,
            _MAX_SENTENCE,
            None if counts_words else vocabulary.words,
            letters,
        )
        for ids in text.scan(scanner):
            writer.append(ids)
        num_words = scanner.num_words
        if counts_words:
            words, counts, final_ids = scanner.vocabulary(min_count, max_final_vocab or 0)
            forgotten = scanner.pruned
            del scanner  # the words that do not stay can be many
            vocabulary = Vocabulary.from_sorted(words, counts)
            if forgotten:  # then nobody knows what the ids stand for
                writer.restart()
                scanner = TextScanner(0, _MAX_SENTENCE, words, letters)
                for ids in text.scan(scanner):
                    writer.append(ids)
            else:
                writer.rewrite(Renumbering(final_ids))
        return TokenCorpus(writer.finish(vocabulary, {**settings, "num_words": num_words}))


def read_vocabulary(
    source: str | os.PathLike[str] | Iterable[Sequence[str]],
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
    scanner = TextScanner(max_vocab_size or 0, _MAX_SENTENCE, None, _letters_of(tokenizer))
    text: _Files | _Sentences
    if isinstance(source, (str, os.PathLike)):
        text = _Files(source_files(source), _num_workers(workers), report)
    else:
        text = _Sentences(source, None, report)
    for _ in text.scan(scanner):
        pass
    words, counts, _ = scanner.vocabulary(min_count, max_final_vocab or 0)
    return Vocabulary.from_sorted(words, counts)


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
    split = tokenize if _letters_of(tokenizer) is not None else str.split
    for file in source_files(source):
        rest: list[bytes] = []
        numbers = itertools.count(1)
        pieces = (piece for piece, _ in read_pieces(file))
        for piece in itertools.chain(pieces, [b"\n"]):
            *lines, last = piece.split(b"\n")
            if lines:
                lines[0] = b"".join([*rest, lines[0]])
                rest = []
            rest.append(last)
            for line in lines:
                number = next(numbers)
                try:
                    words = split(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                except UnicodeDecodeError as error:
                    raise ValueError(
                        f"{file.path} is not UTF-8 text: line {number:,}: {error.reason}"
                    ) from None
                for begin in range(0, len(words), _MAX_SENTENCE):
                    yield words[begin : begin + _MAX_SENTENCE]


def _letters_of(tokenizer: str) -> np.ndarray | None:
    """Returns the letters that make words, None where white space does."""
    if tokenizer not in ("whitespace", "words"):
        raise ValueError(f'tokenizer is {tokenizer!r}; it must be "whitespace" or "words"')
    return _lower_case() if tokenizer == "words" else None


def _num_workers(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    return workers or len(os.sched_getaffinity(0))


def _digest(vocabulary: Vocabulary) -> str:
    digest = hashlib.sha256()
    for word in vocabulary.words:
        digest.update(f"{len(word)} {word}".encode())
    return digest.hexdigest()


def _read_cache(path: Path) -> TokenFile | None:
    """Returns what a cache holds, None if there is none or it is not whole.

    Raises:
        OSError: The cache cannot be read.
        ValueError: It is a file of another kind.
    """
    try:
        with open(path, "rb") as file:
            if not is_token_file(file):
                raise ValueError(f"cache is {path}, a file of another kind: it is left as it is")
            return read_token_file(file)
    except FileNotFoundError:
        return None


class _Files:
    """Text in files."""

    def __init__(self, files: list[SourceFile], workers: int, report: Report | None) -> None:
        self._files, self._workers, self._report = files, workers, report

    def scan(self, scanner: TextScanner) -> Iterator[np.ndarray]:
        """Yields the ids of the words, piece by piece."""
        done = 0
        total = sum(file.size for file in self._files)
        for file in self._files:
            for piece, position in read_pieces(file):
                with _named(file):
                    ids = scanner.scan(piece, self._workers)
                yield ids
                self._tell(done + min(position, file.size), total, scanner)
            with _named(file):
                ids = scanner.end_text()
            yield ids
            done += file.size
            self._tell(done, total, scanner)

    def _tell(self, done: int, total: int, scanner: TextScanner) -> None:
        if self._report is not None:
            self._report(done, total, scanner.num_words)


@contextmanager
def _named(file: SourceFile) -> Iterator[None]:
    """Says which file it is that is no text."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{file.path} {error}") from None


class _Sentences:
    """Text in lists of words, which is there only once; `kept` holds it for a second time."""

    def __init__(
        self, sentences: Iterable[Sequence[str]], kept: BinaryIO | None, report: Report | None
    ) -> None:
        self._sentences, self._kept, self._report = sentences, kept, report

    def scan(self, scanner: TextScanner) -> Iterator[np.ndarray]:
        """Yields the ids of the words, some sentences at a time."""
        is_second_time = self._kept is not None and self._kept.tell() > 0
        for batch in self._kept_batches() if is_second_time else self._batches():
            yield scanner.scan_sentences(batch)
            if self._report is not None:
                self._report(0, None, scanner.num_words)

    def _batches(self) -> Iterator[list[Sequence[str]]]:
        batch: list[Sequence[str]] = []
        num_words = 0
        for sentence in self._sentences:
            if isinstance(sentence, str):
                raise TypeError(f"the sentence {sentence!r:.60} is a str, not a list of words")
            batch.append(sentence if isinstance(sentence, (list, tuple)) else list(sentence))
            num_words += len(batch[-1])
            if num_words > _BATCH_WORDS or len(batch) > _BATCH_WORDS:
                yield self._keep(batch)
                batch = []
                num_words = 0
        yield self._keep(batch)

    def _keep(self, batch: list[Sequence[str]]) -> list[Sequence[str]]:
        if self._kept is not None:
            pickle.dump(batch, self._kept, pickle.HIGHEST_PROTOCOL)
        return batch

    def _kept_batches(self) -> Iterator[list[Sequence[str]]]:
        self._kept.seek(0)
        while True:
            try:
                yield pickle.load(self._kept)
            except EOFError:
                return
