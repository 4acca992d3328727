"""Gives the tests of the core the compiled module, installed or built on its own."""

from __future__ import annotations

import importlib.util
import os
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
