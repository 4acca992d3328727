"""Files that are whole or not there, and errors that name them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def named_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Adds the file to errors of the system that do not name one: those of reading and writing."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a new file for reading and writing that takes the place of `path` when all went well.

    It has another name in the same directory until then. Whatever stops the block (a full disk,
    an interruption) removes it, and leaves what was at `path` as it was.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        file = open(part, "x+b")
        try:
            yield file
            with named_errors(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with suppress(OSError):  # all is written, or an error was raised already
                file.close()
        os.replace(part, path)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            os.unlink(part)
