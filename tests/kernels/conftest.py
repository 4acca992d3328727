"""Gives the tests of the core the compiled module, installed or built on its own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def kernels() -> ModuleType:
    """The core on NumPy arrays: `fastw2v._kernels`.

    The environment variable FASTW2V_KERNELS names another build of the module, which is loaded by
    itself, so that these tests run without TensorFlow.
    """
    path = os.environ.get("FASTW2V_KERNELS")
    if path is None:
        from fastw2v import _kernels

        return _kernels
    spec = importlib.util.spec_from_file_location("_kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def each_instruction_set(kernels: ModuleType) -> Iterator[Callable[[], Iterator[str]]]:
    """A function that selects one after the other and yields their names."""
    active = kernels.instruction_set()

    def select() -> Iterator[str]:
        for name in kernels.instruction_sets():
            kernels.select_instruction_set(name)
            yield name

    yield select
    kernels.select_instruction_set(active)
