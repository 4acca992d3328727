"""Writing files so that what was there before survives a failure."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_PARTIAL = ".fastw2v-partial"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file for writing (and reading again) that takes its name only when it is complete.

    The bytes go into a file of another name in the same directory, which is renamed at the end of
    the block. When the block fails, the disk is full or the process is killed, a file that was
    there before stays as it was. Each writer has a file of its own: of several that write to one
    path at a time, threads or processes, the last one wins, and a reader sees whole files only.
    The partial file of a process that was killed is removed by the next writer in its directory.
    What is not a regular file (a pipe, a terminal) is written as it is.

    Args:
        path: The file; where it is a symbolic link, the file that it leads to.

    Raises:
        OSError: The file cannot be written; the error names it.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = pathlib.Path(directory, "words.txt")
        ...     with replacing(path) as file:
        ...         _ = file.write(b"to be")
        ...         print(path.exists())
        ...     print(path.read_text())
        False
        to be
    """
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    partial = None
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "wb") as file:
                yield file
            return
        _remove_abandoned(directory)
        with _new_file(directory, name) as file:
            partial = file.name
            try:
                if os.path.exists(target):
                    os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(partial, target)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(partial)
                raise
    except OSError as error:
        # Writing tells no name (a full disk), opening and renaming tell that of the other file.
        if error.errno is None or (error.filename is not None and not _is_partial(error.filename)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _new_file(directory: str, name: str) -> BinaryIO:
    """Opens a new file under a name that nobody else has, locked for as long as it is open."""
    start = os.fsdecode(os.fsencode(f".{name}")[:200])
    while True:
        partial = os.path.join(directory, f"{start}.{secrets.token_hex(8)}{_PARTIAL}")
        # "x" neither writes to a file that is there nor follows a symbolic link.
        file = open(partial, "x+b")  # noqa: SIM115
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another writer took it for abandoned before it was locked


def _remove_abandoned(directory: str) -> None:
    """Removes files of writers that were killed: nobody has them locked."""
    try:
        names = [name for name in os.listdir(directory) if _is_partial(name)]
    except OSError:
        return
    for name in names:
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError):  # of somebody else, gone, or still written
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.unlink(path)
            finally:
                os.close(descriptor)


def _is_partial(name: str) -> bool:
    return name.endswith(_PARTIAL)
