"""What compressed files hold: streams of gzip, bzip2, xz and zstd, read piece by piece.

The readers of Python's own modules stop without a word where a second stream begins with damaged
bytes, and some read on behind a stream that is cut short. Here every stream has to come to its end,
where its checksum is compared, and memory is bounded whatever a file expands to.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

_INPUT_BYTES = 1 << 16
_MAX_MEMORY = 1 << 29  # for what a decoder looks back at; xz -9 takes 2**26


class Readable(Protocol):
    """What bytes are read from: b"" at the end."""

    def read(self, size: int, /) -> bytes: ...


class _Decoder(Protocol):
    """Of one stream, as `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length
        return piece


class _Zstandard:
    """A decoder of the package zstandard, which gives out all that its input expands to."""

    # Four bytes can stand for 128 KiB, so that this can expand to 16 MiB.
    _INPUT_BYTES = 1 << 9

    def __init__(self, package: Any) -> None:
        decompressor = package.ZstdDecompressor(max_window_size=_MAX_MEMORY)
        self._decoder = decompressor.decompressobj()
        self._input = memoryview(b"")
        self._ready = bytearray()

    @property
    def eof(self) -> bool:
        return self._decoder.eof and not self._ready

    @property
    def needs_input(self) -> bool:
        return not self._ready and not self._input

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data + self._input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._input = memoryview(data)
        while len(self._ready) < max_length and self._input and not self._decoder.eof:
            self._ready += self._decoder.decompress(self._input[: self._INPUT_BYTES])
            self._input = self._input[self._INPUT_BYTES :]
        piece = bytes(self._ready[:max_length])
        del self._ready[:max_length]
        return piece


def _new_zstd(name: str) -> Callable[[], _Decoder]:
    for module in ("compression.zstd", "backports.zstd"):
        try:
            package = importlib.import_module(module)
        except ImportError:
            continue
        largest = {package.DecompressionParameter.window_log_max: _MAX_MEMORY.bit_length() - 1}
        return lambda: package.ZstdDecompressor(options=largest)
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise ImportError(
            f"{name} is compressed by zstd, which takes the package zstandard: "
            "pip install zstandard"
        ) from None
    return lambda: _Zstandard(zstandard)


def _new_decoder(name: str, head: bytes) -> Callable[[], _Decoder] | None:
    """Returns what makes decoders for a file that begins with `head`; None if it is plain."""
    if head.startswith(b"\x1f\x8b"):
        return _Gzip
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if head.startswith(b"\xfd7zXZ\x00"):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _new_zstd(name)
    return None


HEAD_BYTES = 6  # tell how a file is compressed


def decompressed(file: Readable, name: str, head: bytes) -> Readable:
    """Returns a reader of what a file holds: itself if it is not compressed.

    Args:
        file: The file, from its beginning.
        name: For messages.
        head: Its first `HEAD_BYTES`.

    Raises:
        ImportError: The file is compressed by zstd and no package for that is installed.
    """
    new_decoder = _new_decoder(name, head)
    return file if new_decoder is None else _Streams(file, new_decoder)


class _Streams:
    """The content of compressed streams one after another, with zero bytes between them or not."""

    def __init__(self, file: Readable, new_decoder: Callable[[], _Decoder]) -> None:
        self._file, self._new_decoder = file, new_decoder
        self._decoder: _Decoder | None = None
        self._input = b""

    def read(self, size: int) -> bytes:
        """Returns at most so many bytes, b"" at the end.

        Raises:
            EOFError: The file ends within a stream.
            Exception: That of the decoder, one of `damages`.
        """
        while True:
            if self._decoder is None:
                while not (data := self._input.lstrip(b"\0")):
                    self._input = self._file.read(_INPUT_BYTES)
                    if not self._input:
                        return b""
                self._input = data
                self._decoder = self._new_decoder()
            elif self._decoder.needs_input:
                self._input = self._file.read(_INPUT_BYTES)
                if not self._input:
                    raise EOFError("it ends before the end of a stream")
            piece = self._decoder.decompress(self._input, size)
            self._input = b""
            if self._decoder.eof:
                self._input = self._decoder.unused_data
                self._decoder = None
            if piece:
                return piece


def damages() -> tuple[type[BaseException], ...]:
    """What decompression raises for damaged content."""
    found: list[type[BaseException]] = [OSError, EOFError, lzma.LZMAError, zlib.error]
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            found.append(importlib.import_module(module).ZstdError)
        except ImportError:
            continue
    return tuple(found)


def reason_of(error: BaseException) -> str:
    """Returns what one of `damages` means for its file, as the rest of a sentence."""
    if "memory" in str(error).lower():
        return (
            f"takes more than {_MAX_MEMORY >> 20} MB of memory to decompress: compress it with a "
            "smaller window (zstd without --long and --ultra)"
        )
    return f"is damaged: {error}"
