"""Where text comes from: files, plain or compressed, and directories of them.

Files are read, not mapped: a mapped file that another program cuts short ends the process that
reads it, and copying costs a fiftieth of counting the words.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fastw2v.word2vec.corpus.compression import HEAD_BYTES, damages, decompressed, reason_of

PIECE_BYTES = 1 << 22
_PIECES_AHEAD = 2


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when reading began.

    Attributes:
        path: The file.
        size: Its bytes; 0 of a pipe.
        mtime_ns: When it was changed last, in nanoseconds.
        is_regular: Whether it can be read again: it is no pipe and no device.
    """

    path: Path
    size: int
    mtime_ns: int
    is_regular: bool


def source_files(source: str | os.PathLike[str]) -> list[SourceFile]:
    """Returns a file, or the files of a directory in sorted order.

    A pipe (``/dev/stdin``) is a file that can be read once. Directories below a directory and files
    whose name begins with a dot are left out.

    Raises:
        OSError: The file or the directory cannot be read.
        ValueError: The directory holds no files.
    """
    path = Path(source)
    paths = [path]
    if path.is_dir():
        paths = sorted(
            entry for entry in path.iterdir() if entry.name[0] != "." and entry.is_file()
        )
        if not paths:
            raise ValueError(f"{path} is a directory without files")
    files = []
    for path in paths:
        status = os.stat(path)
        is_regular = stat.S_ISREG(status.st_mode)
        files.append(SourceFile(path, status.st_size, status.st_mtime_ns, is_regular))
    return files


def read_pieces(file: SourceFile) -> Iterator[tuple[bytes, int]]:
    """Yields a file's content, decompressed, in pieces, and how many of its bytes are read.

    Another thread reads and decompresses ahead, where one can be started. Files compressed by gzip,
    bzip2, xz or zstd are recognized by their first bytes.

    Raises:
        ImportError: The file is compressed by zstd and no package for that is installed.
        OSError: The file cannot be read, or it became shorter.
        ValueError: It is compressed and damaged, or takes too much memory to decompress.
    """
    pieces: queue.Queue[Any] = queue.Queue(_PIECES_AHEAD)
    wanted = True

    def put(item: object) -> bool:
        while wanted:
            try:
                pieces.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in _pieces(file):
                if not put(item):
                    return
            put(None)
        except BaseException as error:  # raised where the pieces are wanted
            put(error)

    thread = threading.Thread(target=read, name="fastw2v-reader", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system has no room for another thread
        yield from _pieces(file)
        return
    try:
        while (item := pieces.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        wanted = False
        thread.join()


class _Raw:
    """An open file, a pipe too, whose first bytes are known before they are read.

    Attributes:
        head: The first bytes.
        position: How many bytes were taken from the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0
        self._rest = b""
        self.head = self._rest = self.read(HEAD_BYTES)

    def read(self, size: int) -> bytes:
        """Returns so many bytes, fewer at the end; a pipe gives them little by little."""
        parts, missing = [], size
        while missing and (part := self._read_some(missing)):
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, size: int) -> bytes:
        if self._rest:
            part, self._rest = self._rest[:size], self._rest[size:]
            return part
        part = self._file.read(size)
        self.position += len(part)
        return part


def _pieces(file: SourceFile) -> Iterator[tuple[bytes, int]]:
    path = file.path
    with open(path, "rb", buffering=0) as opened:
        with _named(path):
            raw = _Raw(opened)
            content = decompressed(raw, str(path), raw.head)
        while True:
            with _named(path):
                piece = content.read(PIECE_BYTES)
            if not piece:
                break
            yield piece, raw.position
        if raw.position < file.size:
            raise OSError(
                f"{path} became shorter while it was read: it ended after {raw.position:,} of "
                f"{file.size:,} bytes"
            )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Says which file it is that cannot be read."""
    try:
        yield
    except damages() as error:
        # Of the system, not of the content.
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)
            raise
        raise ValueError(f"{path} {reason_of(error)}") from error
