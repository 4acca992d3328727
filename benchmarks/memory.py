"""Peak extra memory of a step, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import process
import tensorflow as tf

# A server that has imported the libraries and started nothing; each measurement is a fork of it.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tensorflow", "fastw2v", "torch"])


def peak_extra_bytes(steps: Callable[[Any], dict], case: Any, contestant: str) -> int | None:
    """Bytes that a step needs beside its arguments and results, at its peak.

    Args:
        steps: Function of a module; makes the steps of a case, by contestant.
        case: The case.
        contestant: Whose step is measured.

    Returns:
        The bytes, or None if the process was ended, as the system does when memory runs out.
    """
    with ProcessPoolExecutor(1, mp_context=_CONTEXT) as pool:
        try:
            return pool.submit(_measured, steps, case, contestant).result()
        except BrokenProcessPool:
            return None


def _measured(steps: Callable[[Any], dict], case: Any, contestant: str) -> int:
    steps(case.smallest())[contestant]()  # allocates what is there once for all: threads, code
    step = steps(case)[contestant]
    process.trim()
    before = process.resident("VmRSS:")
    step()  # compiles; what it keeps from here on counts, what it frees does not
    process.trim()
    process.forget_peak()
    loss, gradients = step()
    return process.resident("VmHWM:") - before - sum(map(_bytes, [loss, *gradients]))


def _bytes(value: Any) -> int:
    parts = [value.values, value.indices] if isinstance(value, tf.IndexedSlices) else [value]
    return sum(np.asarray(part).nbytes for part in parts)
