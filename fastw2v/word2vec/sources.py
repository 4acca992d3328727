"""Where text comes from: files, plain or compressed, and directories of them.

Files are read, not mapped: a mapped file that another program cuts short ends the process that
reads it, and copying costs a fiftieth of counting the words.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import os
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

PIECE_BYTES = 1 << 22
_PIECES_AHEAD = 2


def _open_zstd(file: BinaryIO) -> Any:
    for module in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(module).ZstdFile(file)
        except ImportError:
            continue
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise ImportError(
            f"{file.name} is compressed by zstd, which takes the package zstandard: "
            "pip install zstandard"
        ) from None
    return _Frames(file, zstandard.ZstdDecompressor().decompressobj)


class _Frames:
    """What zstd frames hold; unlike the package's own reader it notices where one is cut short."""

    _INPUT_BYTES = 1 << 14

    def __init__(self, file: BinaryIO, new_frame: Callable[[], Any]) -> None:
        self._file, self._new_frame = file, new_frame
        self._frame = None
        self._rest = b""  # of the input, behind the end of a frame
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._ready) < size:
            compressed = self._rest or self._file.read(self._INPUT_BYTES)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("it ends before the end of a frame")
                break
            self._frame = self._frame or self._new_frame()
            self._ready += self._frame.decompress(compressed)
            self._rest = b""
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = None
        piece = bytes(self._ready[:size])
        del self._ready[:size]
        return piece


_OPENERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


def _decompressed(file: BinaryIO, head: bytes) -> Any:
    """Returns a reader of what a file holds, told by its first bytes."""
    opener = next((open_ for magic, open_ in _OPENERS.items() if head.startswith(magic)), None)
    return file if opener is None else opener(file)


def _damages() -> tuple[type[BaseException], ...]:
    """What decompression raises for damaged content."""
    found: list[type[BaseException]] = [OSError, EOFError, lzma.LZMAError, zlib.error]
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            found.append(importlib.import_module(module).ZstdError)
        except ImportError:
            continue
    return tuple(found)


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when reading began.

    Attributes:
        path: The file.
        size: Its bytes.
        mtime_ns: When it was changed last, in nanoseconds.
    """

    path: Path
    size: int
    mtime_ns: int


def source_files(source: str | os.PathLike[str]) -> list[SourceFile]:
    """Returns a file, or the files of a directory in sorted order.

    Directories below it and files whose name begins with a dot are left out.

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
        files.append(SourceFile(path, status.st_size, status.st_mtime_ns))
    return files


def read_pieces(file: SourceFile) -> Iterator[tuple[bytes, int]]:
    """Yields a file's content, decompressed, in pieces, and how many of its bytes are read.

    Another thread reads and decompresses ahead. Files compressed by gzip, bzip2, xz or zstd are
    recognised by their first bytes.

    Raises:
        ImportError: The file is compressed by zstd and no package for that is installed.
        OSError: The file cannot be read, or it became shorter.
        ValueError: It is compressed and damaged.
    """
    pieces: queue.Queue = queue.Queue(_PIECES_AHEAD)
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
    thread.start()
    try:
        while (item := pieces.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        wanted = False
        thread.join()


def _pieces(file: SourceFile) -> Iterator[tuple[bytes, int]]:
    path = file.path
    with open(path, "rb", buffering=0) as raw:
        content = None
        while True:
            try:
                if content is None:
                    head = raw.read(8)
                    raw.seek(0)
                    content = _decompressed(raw, head)
                piece = content.read(PIECE_BYTES)
            except _damages() as error:
                if getattr(error, "errno", None) is not None:  # of the system, not of the content
                    error.filename = str(path)
                    raise
                raise ValueError(f"{path} is damaged: {error}") from error
            position = raw.tell()
            if not piece:
                break
            yield piece, position
        if position < file.size:
            raise OSError(
                f"{path} became shorter while it was read: it ended after {position:,} of "
                f"{file.size:,} bytes"
            )
