"""The machine that the benchmarks run on: its name, and its ceilings as steps to be timed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

import fastw2v
from fastw2v import _kernels

CORES = len(os.sched_getaffinity(0))
HAS_PYTORCH = importlib.util.find_spec("torch") is not None

_THREADS = ThreadPoolExecutor(CORES)
_CPUINFO = Path("/proc/cpuinfo").read_text()


def description() -> dict[str, str | int]:
    """What a reader needs to know about the machine and the versions, by CSV column."""
    return {
        "cpu": _cpuinfo("model name") or platform.machine(),
        "cores": CORES,
        "instruction_set": _kernels.instruction_set(),
        "fastw2v": fastw2v.__version__,
        "tensorflow": tf.__version__,
        "pytorch": importlib.metadata.version("torch") if HAS_PYTORCH else "",
        "python": platform.python_version(),
    }


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16 products."""
    return bool({"amx_bf16", "avx512_bf16", "bf16"} & set(_cpuinfo("flags", "Features").split()))


def available_bytes() -> int:
    """Memory that can be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024


def matrix_product(dtype: str, quick: bool) -> tuple[Callable[[], object], int]:
    """A matrix product by TensorFlow that is large enough for its full rate, and its operations."""
    size = 256 if quick else 2048
    factors = [tf.cast(tf.random.normal([size, size]), dtype) for _ in range(2)]
    return tf.function(lambda: tf.matmul(*factors)), 2 * size**3


def copy(quick: bool) -> tuple[Callable[[], object], int]:
    """A copy by all cores, larger than the caches, and the bytes that it reads and writes."""
    size = CORES * (2**16 if quick else 2**24)  # of float32, 64 MiB for each core
    source, target = (np.ones([CORES, size // CORES], np.float32) for _ in range(2))
    return lambda: list(_THREADS.map(np.copyto, target, source)), 2 * source.nbytes


def _cpuinfo(*names: str) -> str:
    """The first line of /proc/cpuinfo of one of these names."""
    for line in _CPUINFO.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""
