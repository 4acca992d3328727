"""Token ids in a file, with the vocabulary that they are numbered by.

header   32 bytes: magic, how many ids, bytes of the description, checksum of all but the ids
ids      int32, little-endian; -1 ends a sentence; those below are documents that it is of
tail     JSON: description, sizes, checksums of the ids; then counts; then words, as JSON
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastw2v.word2vec.corpus.vocabulary import Vocabulary, words_from_json, words_to_json
from fastw2v.word2vec.files import replacing

_MAGIC = b"fastw2v tokens "
_VERSION = b"2"
_HEADER = struct.Struct("<16sqiI")
_ID = np.dtype("<i4")
_COUNT = np.dtype("<i8")
_CHUNK_IDS = 1 << 22
_CHECKED_IDS = 1 << 20  # that have a checksum of their own


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
    """Collects ids in the order of the text, renumbers them and adds the vocabulary.

    Args:
        file: Where they are written.
        is_kept: Whether the file is to be read again, and the vocabulary belongs into it.
    """

    def __init__(self, file: BinaryIO, is_kept: bool) -> None:
        self._file, self._is_kept = file, is_kept
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
        self._num_sentences += int(np.count_nonzero(ids == -1))

    def rewrite(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Puts what `change` gives for each chunk of ids, never more of them, in their place."""
        read = write = num_sentences = 0
        while read < self._num_ids:
            self._file.seek(_HEADER.size + read * _ID.itemsize)
            chunk = np.empty(min(_CHUNK_IDS, self._num_ids - read), _ID)
            # Files of bytes have it, and their common type has not.
            self._file.readinto(memoryview(chunk).cast("B"))  # type: ignore[attr-defined]
            read += len(chunk)
            changed = change(chunk)
            self._file.seek(_HEADER.size + write * _ID.itemsize)
            self._file.write(changed.astype(_ID, copy=False))
            write += len(changed)
            num_sentences += int(np.count_nonzero(changed == -1))
        self._num_ids, self._num_sentences = write, num_sentences
        self._file.seek(_HEADER.size + write * _ID.itemsize)
        self._file.truncate()

    def finish(self, vocabulary: Vocabulary, description: dict[str, Any]) -> TokenFile:
        """Writes all else that the file holds.

        Returns:
            What was written; it stays there whatever becomes of the file's name.

        Raises:
            TypeError: The file is kept, and a word is neither a str nor an integer.
        """
        description = {**description, "num_sentences": self._num_sentences}
        self._file.flush()
        ids = _map_ids(self._file, self._num_ids)
        if self._is_kept:
            sums = _checksums(ids)
            text = json.dumps({**description, "num_types": len(vocabulary), "sums": sums}).encode()
            counts = vocabulary.counts.astype(_COUNT).tobytes()
            tail = b"".join([text, counts, words_to_json(vocabulary.words)])
            self._file.write(tail)
            self._file.seek(0)
            self._file.write(_header(self._num_ids, len(text), tail))
            self._file.flush()
        return TokenFile(ids, vocabulary, description)


def _header(num_ids: int, text_bytes: int, tail: bytes) -> bytes:
    numbers = num_ids, text_bytes
    checksum = zlib.crc32(_HEADER.pack(_MAGIC + _VERSION, *numbers, 0), zlib.crc32(tail))
    return _HEADER.pack(_MAGIC + _VERSION, *numbers, checksum)


def _checksums(ids: np.ndarray) -> list[int]:
    """Returns those of `_CHECKED_IDS` ids each; several threads do, as many as can be started."""
    parts = [ids[begin : begin + _CHECKED_IDS] for begin in range(0, len(ids), _CHECKED_IDS)]
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            return list(threads.map(zlib.crc32, parts))
    except RuntimeError:  # the system has no room for another thread
        return list(map(zlib.crc32, parts))


@contextmanager
def token_writer(path: Path | None) -> Iterator[TokenWriter]:
    """Opens a file for ids; with no path, one that is gone as soon as nobody reads it.

    Raises:
        OSError: It cannot be written; what was at `path` is still there.
    """
    if path is not None:
        with replacing(path) as file:
            yield TokenWriter(file, is_kept=True)
        return
    try:
        with tempfile.TemporaryFile(prefix="fastw2v-") as file:
            yield TokenWriter(file, is_kept=False)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = tempfile.gettempdir()
        raise


def _map_ids(file: BinaryIO, num_ids: int) -> np.ndarray:
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(content, _ID, num_ids, _HEADER.size)


def is_token_file(file: BinaryIO) -> bool:
    """Whether an open file begins as one that a `TokenWriter` wrote, of this version or another."""
    return file.read(len(_MAGIC)) == _MAGIC


def read_token_file(file: BinaryIO, description: dict[str, Any]) -> TokenFile | None:
    """Returns what an open file holds; None if it is of another version or description.

    Args:
        file: One that `is_token_file` recognizes.
        description: What has to stand in that of the file.

    Raises:
        ValueError: The file is damaged.
    """
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if content[len(_MAGIC) : len(_MAGIC) + len(_VERSION)] != _VERSION:
        return None
    if len(content) < _HEADER.size:
        raise ValueError("it ends within its header")
    _, num_ids, text_bytes, _ = _HEADER.unpack_from(content)
    end = _HEADER.size + num_ids * _ID.itemsize
    tail = content[end:] if _HEADER.size <= end <= len(content) else b""
    if _header(num_ids, text_bytes, tail) != content[: _HEADER.size]:
        raise ValueError("its checksum does not fit")
    found = json.loads(tail[:text_bytes])
    num_types, sums = found.pop("num_types"), found.pop("sums")
    if any(found.get(name) != value for name, value in description.items()):
        return None
    ids = _map_ids(file, num_ids)
    if _checksums(ids) != sums:
        raise ValueError("a checksum of its ids does not fit")
    words = text_bytes + num_types * _COUNT.itemsize
    counts = np.frombuffer(tail, _COUNT, num_types, text_bytes).copy()
    return TokenFile(ids, Vocabulary.from_sorted(words_from_json(tail[words:]), counts), found)
