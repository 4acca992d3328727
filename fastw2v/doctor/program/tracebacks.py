"""Tracebacks of a watched program, as if nobody had watched it."""

from __future__ import annotations

import itertools
import os
from types import TracebackType

# The directory of fastw2v.doctor, in a package of which this module is.
_DOCTOR = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def is_ours(file: str) -> bool:
    """Whether a source file is one of the doctor's."""
    return file.startswith(_DOCTOR)


def clean(error: BaseException) -> TracebackType | None:
    """Removes the doctor's frames from an exception and from those that it came from.

    Returns:
        The traceback that is left, for whoever raises the exception once more.
    """
    found = [error]
    for one in found:
        one.__traceback__ = _without_ours(one.__traceback__)
        for other in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())):
            if other is not None and all(other is not known for known in found):
                found.append(other)
    return error.__traceback__


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    entries: list[TracebackType] = []
    while traceback is not None:
        if not is_ours(traceback.tb_frame.f_code.co_filename):
            entries.append(traceback)
        traceback = traceback.tb_next
    for entry, following in itertools.zip_longest(entries, entries[1:]):
        entry.tb_next = following
    return entries[0] if entries else None
