"""Files that may be compressed by gzip, opened to be read or written."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from fastw2v.word2vec.files import replacing

# What reads a file, of whatever kind it is.
Reader = io.BufferedReader | gzip.GzipFile

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # what some programs of Windows begin a text with


class _BoundedGzip(gzip.GzipFile):
    """Refuses to expand out of proportion: vectors shrink to a tenth, at the very least."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(fileobj=file)
        self._bound = max(1 << 26, 64 * size)

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if self.tell() > self._bound:
            raise gzip.BadGzipFile(f"it expands to more than {self._bound:,} bytes")
        return data


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """Opens a file, plain or compressed by gzip, whatever its name, behind a byte order mark."""
    with open(path, "rb") as plain:
        compressed = plain.peek(2)[:2] == _GZIP_MAGIC
        size = os.fstat(plain.fileno()).st_size
        file: Reader = _BoundedGzip(plain, size) if compressed else plain
        try:
            if file.peek(3)[:3] == _BYTE_ORDER_MARK:
                file.read(3)
            yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Opens a file that is replaced when it is complete, compressed where its name ends in .gz."""
    with replacing(path) as file:
        if str(path).lower().endswith(".gz"):
            # No time and no name, so that the same vectors give the same bytes.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
                yield compressed
        else:
            yield file
