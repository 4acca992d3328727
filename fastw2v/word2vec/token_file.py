"""Token ids in a file, with the vocabulary that they are numbered by.

magic, place of the tail   32 bytes
ids                        int32, little-endian; -1 ends a sentence
tail                       JSON: description, sizes; then counts, lengths of words, words
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.vocabulary import Vocabulary

_MAGIC = b"fastw2v tokens 1"
_HEADER = struct.Struct("<16sqq")  # magic, ids, bytes of the JSON text
_ID = np.dtype("<i4")
_COUNT = np.dtype("<i8")
_CHUNK_IDS = 1 << 22
_CHUNK_WORDS = 1 << 16


@dataclass(frozen=True)
class TokenFile:
    """What a `TokenWriter` wrote.

    Attributes:
        ids: int32, mapped into memory.
        vocabulary: The words.
        description: What else was written down.
    """

    ids: np.ndarray
    vocabulary: Vocabulary
    description: dict[str, Any]


class TokenWriter:
    """Collects ids in the order of the text, renumbers them and adds the vocabulary."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.restart()

    def restart(self) -> None:
        """Forgets all ids."""
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(bytes(_HEADER.size))
        self._num_ids = self._num_sentences = 0

    def append(self, ids: np.ndarray) -> None:
        """Adds int32 ids."""
        self._file.write(ids.astype(_ID, copy=False))
        self._num_ids += len(ids)
        self._num_sentences += int(np.count_nonzero(ids < 0))

    def rewrite(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Puts what `change` gives for each chunk of ids, never more of them, in their place."""
        read = write = num_sentences = 0
        while read < self._num_ids:
            self._file.seek(_HEADER.size + read * _ID.itemsize)
            chunk = np.empty(min(_CHUNK_IDS, self._num_ids - read), _ID)
            self._file.readinto(memoryview(chunk).cast("B"))
            read += len(chunk)
            changed = change(chunk)
            self._file.seek(_HEADER.size + write * _ID.itemsize)
            self._file.write(changed.astype(_ID, copy=False))
            write += len(changed)
            num_sentences += int(np.count_nonzero(changed < 0))
        self._num_ids, self._num_sentences = write, num_sentences
        self._file.seek(_HEADER.size + write * _ID.itemsize)
        self._file.truncate()

    def finish(self, vocabulary: Vocabulary, description: dict[str, Any]) -> TokenFile:
        """Writes all else that the file holds.

        Returns:
            What was written; it stays there whatever becomes of the file's name.
        """
        words = vocabulary.words
        description = {**description, "num_sentences": self._num_sentences}
        text = json.dumps({**description, "num_types": len(words)}).encode()
        lengths = np.fromiter((len(word.encode()) for word in words), _ID, len(words))
        self._file.write(text)
        self._file.write(vocabulary.counts.astype(_COUNT))
        self._file.write(lengths)
        for begin in range(0, len(words), _CHUNK_WORDS):
            self._file.write("".join(words[begin : begin + _CHUNK_WORDS]).encode())
        self._file.seek(0)
        self._file.write(_HEADER.pack(_MAGIC, self._num_ids, len(text)))
        self._file.flush()
        return TokenFile(_map_ids(self._file, self._num_ids), vocabulary, description)


@contextmanager
def token_writer(path: Path | None) -> Iterator[TokenWriter]:
    """Opens a file for ids; with no path, one that is gone as soon as nobody reads it.

    Raises:
        OSError: It cannot be written; what was at `path` is still there.
    """
    if path is not None:
        with replacing(path) as file:
            yield TokenWriter(file)
        return
    try:
        with tempfile.TemporaryFile(prefix="fastw2v-") as file:
            yield TokenWriter(file)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = tempfile.gettempdir()
        raise


def _map_ids(file: BinaryIO, num_ids: int) -> np.ndarray:
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(content, _ID, num_ids, _HEADER.size)


def is_token_file(file: BinaryIO) -> bool:
    """Whether an open file begins as one that a `TokenWriter` wrote."""
    return file.read(len(_MAGIC)) == _MAGIC


def read_token_file(file: BinaryIO) -> TokenFile | None:
    """Returns what an open file holds; None if it is no token file or not whole."""
    size = os.fstat(file.fileno()).st_size
    if size < _HEADER.size:
        return None
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, num_ids, text_bytes = _HEADER.unpack_from(content)
    text = _HEADER.size + num_ids * _ID.itemsize
    counts = text + text_bytes
    if magic != _MAGIC or not _HEADER.size <= text < counts <= size:
        return None
    try:
        description = json.loads(content[text:counts])
    except ValueError:
        return None
    num_types = description.pop("num_types")
    lengths = counts + num_types * _COUNT.itemsize
    words = lengths + num_types * _ID.itemsize
    if words > size:
        return None
    ends = np.cumsum(np.frombuffer(content, _ID, num_types, lengths), dtype=np.int64)
    if words + (int(ends[-1]) if num_types else 0) != size:
        return None
    places = [words, *(words + ends).tolist()]
    return TokenFile(
        ids=_map_ids(file, num_ids),
        vocabulary=Vocabulary.from_sorted(
            [content[begin:end].decode() for begin, end in itertools.pairwise(places)],
            np.frombuffer(content, _COUNT, num_types, counts).copy(),
        ),
        description=description,
    )
