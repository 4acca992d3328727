"""Running text as arrays of word ids."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastw2v.word2vec.vocabulary import Vocabulary

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\n")
_BLOCK_BYTES = 1 << 20
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def tokenize(text: str) -> list[str]:
    r"""Splits text into lower-case words; a line end is a token of its own, ``"\n"``.

    A word is a run of letters, with apostrophes inside it.

    Example:
        >>> tokenize("Don't panic, it's\nonly 42 lines_of text.")
        ["don't", 'panic', "it's", '\n', 'only', 'lines', 'of', 'text']
    """
    return _TOKEN.findall(text.lower())


def read_text(path: str | Path) -> Iterator[str]:
    """Returns a UTF-8 text file as blocks that end between words.

    Files compressed by gzip, bzip2 or xz are recognised by their first bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: While iterating: it is not UTF-8 text, or it is compressed and damaged.
    """
    with open(path, "rb") as file:
        head = file.read(8)
    opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), open)
    return _blocks(opener(path, "rb"), path)


def _blocks(file: BinaryIO, path: str | Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    with file:
        while True:
            try:
                block = file.read(_BLOCK_BYTES)
                text = rest + decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path} is not UTF-8 text: byte {error.object[error.start]:#04x} is an "
                    f"{error.reason}"
                ) from error
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                if getattr(error, "errno", None) is not None:  # of the system, not of the content
                    raise
                raise ValueError(f"{path} is damaged: {error}") from error
            if "\0" in text:
                raise ValueError(f"{path} is not text: it holds a zero byte")
            if not block:
                yield text
                return
            end = max(text.rfind(" "), text.rfind("\n")) + 1
            rest = text[end:]
            yield text[:end]


@dataclass(frozen=True)
class Corpus:
    """Text as word ids.

    Attributes:
        vocabulary: The words.
        ids: int32 ``[T]``, the text in order, words outside the vocabulary left out.
        sentences: int32 ``[T]``, the number of the sentence each word stands in, never decreasing.
        num_words: The number of words read, those outside the vocabulary included.
    """

    vocabulary: Vocabulary
    ids: np.ndarray
    sentences: np.ndarray
    num_words: int


class _GrowingIndex(dict[str, int]):
    """Gives a word that it meets for the first time the next free number."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def build_corpus(texts: Iterable[str], min_count: int = 5, max_words: int | None = None) -> Corpus:
    r"""Tokenizes text, builds its vocabulary and encodes it.

    Args:
        texts: Blocks of text that end between words; a line is a sentence.
        min_count: Words that occur less often are left out; at least 1.
        max_words: How many words to read at most, at least 1; None reads all.

    Raises:
        ValueError: ``min_count`` or ``max_words`` is below 1.

    Example:
        >>> corpus = build_corpus(["to be or not\nto be\n"], min_count=2)
        >>> corpus.vocabulary.words, corpus.ids.tolist(), corpus.sentences.tolist()
        (['be', 'to'], [1, 0, 1, 0], [0, 0, 1, 1])
    """
    if max_words is not None and max_words < 1:
        raise ValueError(f"max_words is {max_words}; it must be at least 1")
    # Words are numbered as they come, so that the text is read once and never held as strings.
    index = _GrowingIndex({"\n": 0})
    blocks = [np.zeros(0, np.int32)]
    num_words = 0
    for text in texts:
        tokens = tokenize(text)
        block = np.fromiter(map(index.__getitem__, tokens), dtype=np.int32, count=len(tokens))
        words_read = num_words + np.cumsum(block != 0)
        if max_words is not None and len(block) and words_read[-1] > max_words:
            block = block[words_read <= max_words]
        blocks.append(block)
        num_words += int(np.count_nonzero(block))
        if num_words == max_words:
            break
    tokens = np.concatenate(blocks)
    counts = np.bincount(tokens, minlength=len(index))
    vocabulary = Vocabulary(
        {word: int(counts[number]) for word, number in index.items() if number}, min_count
    )
    final_ids = np.full(len(index), -1, dtype=np.int32)
    final_ids[[index[word] for word in vocabulary.words]] = np.arange(len(vocabulary))
    ids = final_ids[tokens]
    kept = ids >= 0
    sentences = np.cumsum(tokens == 0, dtype=np.int32)
    return Corpus(vocabulary, ids[kept], sentences[kept], num_words)
