"""Loads the ops as soon as TensorFlow is imported, before or after this package."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType


def load_ops() -> None:
    """Loads the ops now if TensorFlow is there, else when it comes."""
    if "tensorflow" in sys.modules:
        _load()
    else:
        sys.meta_path.insert(0, _AfterTensorFlow())


def _load() -> None:
    try:
        importlib.import_module("fastw2v.ops")
    except ImportError as error:
        # TensorFlow itself must stay importable; who uses a loss gets the error.
        warnings.warn(str(error), RuntimeWarning, stacklevel=2)


class _AfterTensorFlow(importlib.abc.MetaPathFinder):
    """Stands before the finders of modules until TensorFlow is asked for."""

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_load(module: ModuleType) -> None:
                execute(module)
                _load()

            spec.loader.exec_module = execute_and_load
        return spec
