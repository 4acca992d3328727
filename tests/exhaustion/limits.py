"""Calls under limits of memory and of threads, for programs that run in a process of their own."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

MEGABYTE = 1 << 20


@dataclass
class Call:
    """A call, and the arrays that it changes unless it fails."""

    make: Callable[[], object]
    state: Callable[[], Sequence[np.ndarray]] = field(default=lambda: ())
    small: bool = False  # takes so little memory that it does not run out of it


def run_out_of_memory(calls: dict[str, Call], megabytes: Sequence[int], errors: tuple) -> None:
    """Makes each call with room for so many more megabytes, until one call succeeds."""
    for name, call in calls.items():
        print(name, flush=True)  # the last one printed is to blame for a crash
        failures = 0
        for extra in megabytes:
            before = [array.copy() for array in call.state()]
            try:
                with _room_for(extra * MEGABYTE):
                    call.make()
                break
            except errors:
                failures += 1
            for array, earlier in zip(call.state(), before, strict=True):
                np.testing.assert_array_equal(array, earlier, name)
        assert failures > 0 or call.small, f"{name} has not run out of memory"
        call.make()


def start_no_threads(calls: dict[str, Call]) -> None:
    """Makes each call where no thread can be started; ends with a reason where it can."""
    if os.getuid() == 0:  # whom the limit does not hold for
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        pass
    else:
        print("skipped: threads can be started here in spite of RLIMIT_NPROC")
        return
    for name, call in calls.items():
        print(name, flush=True)
        call.make()


@contextlib.contextmanager
def _room_for(extra: int) -> Iterator[None]:
    """As under `ulimit -v`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as status:
        now = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
