"""Loads the ops as soon as TensorFlow is imported, and the layers as soon as Keras is, before or
after this package."""

from __future__ import annotations

import contextlib
import importlib
import warnings

from fastw2v._after_import import after_import

# Whether to warn of a library that does not load. The doctor does not, in another's program.
warn = True


def load_ops() -> None:
    """Loads the ops now if TensorFlow is there, else when it comes."""
    after_import("tensorflow", _load)


def register_layers() -> None:
    """Registers the layers with Keras now if it is there, else when it comes."""
    after_import("keras", _register)


def _register() -> None:
    if importlib.import_module("keras").config.backend() != "tensorflow":
        return
    with contextlib.suppress(ImportError):  # of which the ops have warned
        importlib.import_module("fastw2v.keras")


def _load() -> None:
    try:
        importlib.import_module("fastw2v.ops")
    except ImportError as error:
        # TensorFlow itself must stay importable; who uses a loss gets the error.
        if warn:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
