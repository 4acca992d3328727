"""Prints beside the output of a program, which goes on where nothing can be printed."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO


def print_line(text: str, file: TextIO | None = None) -> None:
    """Prints a text and a line break; a full disk, a closed file or pipe costs no more than that.

    Args:
        text: What to print.
        file: Where to; standard error if None, which a program may not have at all.
    """
    stream = sys.stderr if file is None else file
    if stream is None:
        return
    is_standard = stream is sys.__stderr__
    with contextlib.suppress(OSError, ValueError):
        if is_standard:
            # What stays in the buffer after a failure would change the exit status of Python.
            stream.flush()
            rest = f"{text}\n".encode(stream.encoding, "backslashreplace")
            while rest:
                rest = rest[os.write(stream.fileno(), rest) :]
        else:
            print(text, file=stream, flush=True)
