"""Arrays in zip archives, as NumPy writes them, read from files that may be malicious.

No entry is expanded before it is known that it holds what its header says, and that the whole is
not out of proportion to the file: a few kilobytes could ask for any amount of memory otherwise.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import IO, Any, BinaryIO

import numpy as np

# Arrays of real vectors hardly shrink at all. Those of words may, and small ones do no harm.
_LARGEST_RATIO = 64
_ALWAYS_ALLOWED = 1 << 26


class ArrayArchive:
    """An open archive. All methods raise whatever the libraries raise for damaged bytes.

    Args:
        file: A zip archive, open for reading, at any place.

    Raises:
        ValueError: The entries would take memory that their bytes do not justify.
    """

    def __init__(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        self._archive = zipfile.ZipFile(file)
        entries = self._archive.infolist()
        self.names = [entry.filename for entry in entries]
        if len(set(self.names)) < len(self.names):
            raise ValueError("an entry occurs twice in it")
        if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
               for entry in entries):  # fmt: skip
            raise ValueError("it is compressed in a way that NumPy does not write")
        # Entries that overlap would share the bytes of the file.
        expanded = sum(entry.file_size for entry in entries)
        if (
            expanded > max(_ALWAYS_ALLOWED, _LARGEST_RATIO * size)
            or sum(entry.compress_size for entry in entries) > size
        ):
            raise ValueError(
                f"its {size:,} bytes would expand to {expanded:,}, more than vectors ever do"
            )

    def json(self, name: str) -> Any:
        """Reads an entry of JSON."""
        return json.loads(self._archive.read(name))

    def array(self, name: str) -> np.ndarray:
        """Reads an array of numbers or text, without pickles."""
        entry = self._archive.getinfo(name)
        with self._archive.open(entry) as file:
            shape, _, dtype = _header(file, name)
            expected = file.tell() + dtype.itemsize * _product(shape)
            if entry.file_size != expected:
                raise ValueError(
                    f"{name} has {entry.file_size:,} bytes, and by its header {dtype} {shape} "
                    f"{expected:,}"
                )
        with self._archive.open(entry) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            file.read(1)  # compares the checksum at the end
        return array


def read_npy(path: str | os.PathLike[str], mmap: str | None = None) -> np.ndarray:
    """Reads an array of numbers or text from a ``.npy`` file, without pickles.

    Args:
        path: The file.
        mmap: Map the file rather than read it, as in ``numpy.load``.
    """
    with open(path, "rb") as file:
        shape, _, dtype = _header(file, os.fspath(path))
        size, expected = os.fstat(file.fileno()).st_size, dtype.itemsize * _product(shape)
        if size - file.tell() != expected:
            raise ValueError(
                f"{os.fspath(path)} has {size:,} bytes, which are not those of {dtype} {shape}"
            )
    return np.load(path, mmap, allow_pickle=False)


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # later ones are for columns with names
        raise ValueError(f"{name} is an array of format {version}, not of a simple type")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or dtype.kind not in "biufU" or any(length < 0 for length in shape):
        raise ValueError(f"{name} is an array of {dtype} {shape}, not of numbers or text")
    return shape, fortran_order, dtype


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
