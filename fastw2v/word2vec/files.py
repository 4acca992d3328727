"""Writing files so that what was there before survives a failure."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file for writing (and reading again) that takes its name only when it is complete.

    The bytes go into a file of another name in the same directory, which is renamed at the end of
    the block. When the block fails, the disk is full or the process is killed, a file that was
    there before stays as it was. What is not a regular file (a pipe, a terminal) is written as it
    is.

    Args:
        path: The file; where it is a symbolic link, the file that it leads to.

    Raises:
        OSError: The file cannot be written; the error names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = Path(directory, "words.txt")
        ...     with replacing(path) as file:
        ...         _ = file.write(b"to be")
        ...         print(path.exists())
        ...     print(path.read_text())
        False
        to be
    """
    target = os.path.realpath(path)
    temporary = os.path.join(
        os.path.dirname(target), f".{os.path.basename(target)[:200]}.{os.getpid()}.partial"
    )
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "wb") as file:
                yield file
            return
        try:
            with open(temporary, "w+b") as file:
                if os.path.exists(target):
                    os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
    except OSError as error:
        # Writing tells no name (a full disk), opening and renaming tell that of the other file.
        if error.errno is None or error.filename not in (None, temporary):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
