"""The files that a task is going to write, checked before it reads anything.

A mistake in a name must cost neither the text that is read nor the hours until the results are
written.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any


def check_outputs(
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    directories: Mapping[str, Any] | None = None,
) -> None:
    """Raises an error where a file cannot be written, or where writing it would destroy another.

    An output must not be an input, by whatever name (symbolic and hard links are followed), must
    not be one of the files of an input that is a directory, nor a new one among them: the next run
    would read it as text. Two outputs must not be the same file. Pipes, terminals and devices are
    written as they are, and may be given twice.

    Args:
        outputs: The files to write, by the names of the arguments that give them.
        inputs: The files, and the directories of files, that are read, in the same way.
        directories: The directories to write files into, in the same way. They and those above them
            may be missing.

    In all three only paths, str or ``os.PathLike``, are looked at: an argument may be None, or a
    text in memory.

    Raises:
        OSError: An input cannot be read, or an output cannot be written. The error names the path.
        ValueError: An output is an input, lies in one, or is another output. The message names both
            arguments and both paths.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     text = f"{directory}/text.txt"
        ...     _ = open(text, "w").write("to be or not to be")
        ...     check_outputs({"checkpoint": f"{directory}/model"}, {"corpus_file": text})
        ...     try:
        ...         check_outputs({"checkpoint": text}, {"corpus_file": text})
        ...     except ValueError as error:
        ...         print(str(error).replace(directory, "..."))
        checkpoint .../text.txt is the same file as corpus_file .../text.txt, which would be \
overwritten: give another name
    """
    sources = dict(_paths(inputs))
    files = dict(_paths(outputs))
    for path in sources.values():
        _check_readable(path)
    for name, path in files.items():
        for source_name, source in sources.items():
            _check_apart(f"{name} {path}", path, f"{source_name} {source}", source)
    for number, (name, path) in enumerate(files.items()):
        for other_name, other in list(files.items())[:number]:
            if _is_same_file(path, other):
                raise ValueError(
                    f"{name} {path} is the same file as {other_name} {other}, which would be "
                    "overwritten: give another name"
                )
        _check_file(f"{name} {path}", path)
    for name, path in _paths(directories):
        for source_name, source in sources.items():
            if os.path.isdir(path) and os.path.isdir(source) and os.path.samefile(path, source):
                raise ValueError(
                    f"{name} {path} is the directory {source_name} {source}, and what is written "
                    "there would be read the next time: give another directory"
                )
        _check_directory(f"{name} {path}", path)


def _paths(arguments: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    for name, value in (arguments or {}).items():
        if isinstance(value, (str, os.PathLike)):
            yield name, os.fsdecode(value)


def _check_readable(path: str) -> None:
    os.stat(path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _check_apart(shown: str, path: str, shown_source: str, source: str) -> None:
    """Raises ValueError for an output that is an input or lies in it."""
    if os.path.isdir(source):
        above = {os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.realpath(path))}
        if any(os.path.isdir(place) and os.path.samefile(place, source) for place in above):
            raise ValueError(
                f"{shown} lies in {shown_source} and would be read the next time: give a file "
                "outside of that directory"
            )
        entries = [entry.path for entry in os.scandir(source)] if os.path.exists(path) else []
    else:
        entries = [source]
    for entry in entries:
        if _is_same_file(path, entry):
            place = "" if entry == source else f"{entry} in "
            raise ValueError(
                f"{shown} is the same file as {place}{shown_source}, which would be overwritten: "
                "give another name"
            )


def _is_same_file(path: str, other: str) -> bool:
    try:
        status, other_status = os.stat(path), os.stat(other)
    except OSError:  # one that is to be written is not there yet
        return os.path.realpath(path) == os.path.realpath(other)
    return stat.S_ISREG(status.st_mode) and os.path.samestat(status, other_status)


def _check_file(shown: str, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = 0 if os.path.basename(path) else stat.S_IFDIR
    if stat.S_ISDIR(mode):
        reason = f"{os.strerror(errno.EISDIR)}; {shown} must be a file"
        raise IsADirectoryError(errno.EISDIR, reason, path)
    if not mode or stat.S_ISREG(mode):  # a new file takes its place
        _check_writable(shown, os.path.dirname(os.path.realpath(path)), os.path.dirname(path))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _check_directory(shown: str, path: str) -> None:
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    _check_writable(shown, path, path)


def _check_writable(shown: str, directory: str, name: str) -> None:
    """Raises OSError for a directory in which no file can be made."""
    try:
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        reason = f"{error.strerror}; {shown} would go there: give another directory"
        raise OSError(error.errno, reason, name or directory) from None
