"""Without memory or threads every call ends in an exception or does without; none ends the process,
and none leaves a table half changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from problems import EMULATED

import fastw2v

PROGRAMS = Path(__file__).parent / "exhaustion"


def run(program: str, *arguments: str) -> str:
    path = os.pathsep.join([str(PROGRAMS), *filter(None, sys.path)])
    # What was freed is not kept for the next call, as the C library and oneDNN keep it, and threads
    # have no memory of their own.
    settings = {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_ARENA_MAX": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "PYTHONPATH": path,
    }
    finished = subprocess.run(
        [sys.executable, str(PROGRAMS / program), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
        cwd=PROGRAMS,
    )
    output = finished.stdout + finished.stderr[-3000:]
    assert finished.returncode == 0, f"exit {finished.returncode}: {output}"
    return finished.stdout


def kernels_file() -> str:
    (path,) = Path(fastw2v.__file__).parent.glob("_kernels.*.so")
    return str(path)


def test_kernels_without_memory():
    run("kernels.py", kernels_file(), "memory")


def test_kernels_without_threads():
    printed = run("kernels.py", kernels_file(), "threads")
    if "skipped" in printed:
        pytest.skip(printed)


@pytest.mark.skipif(EMULATED, reason="memory of an emulated device is not limited in this way")
def test_ops_without_memory():
    run("ops.py")
