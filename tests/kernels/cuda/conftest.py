"""Gives tests the kernels of a GPU, on a GPU or emulated; all are skipped where there are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from kernels.cuda.device import Device


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the first case of every test and dtype, for tools under which all would take hours."""
    met = set()
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        case = (item.path, item.originalname, parameters.get("dtype"))
        if case not in met:
            met.add(case)
            item.add_marker(pytest.mark.sanitized)


@pytest.fixture(scope="session")
def cuda(kernels: ModuleType) -> ModuleType:
    """`_kernels.cuda`, where it can run."""
    module = getattr(kernels, "cuda", None)
    if module is None:
        pytest.skip("this build has no CUDA part (FASTW2V_CUDA=EMULATED builds one for no GPU)")
    if not module.emulated:
        if importlib.util.find_spec("torch") is None:
            pytest.skip("arrays of a GPU come from PyTorch, which is not installed")
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no GPU")
    return module


@pytest.fixture(scope="session")
def device(cuda: ModuleType) -> Device:
    """Arrays of the device that the kernels run on."""
    return Device(cuda)
