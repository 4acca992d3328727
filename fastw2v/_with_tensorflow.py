"""Loads the ops as soon as TensorFlow is imported, and the layers as soon as Keras is, before or
after this package."""

from __future__ import annotations

import contextlib
import importlib
import warnings

from fastw2v._after_import import after_import, is_imported

# Whether to warn of a library that does not load. The doctor does not, in another's program.
warn = True


def load() -> None:
    """Loads the ops and registers the layers now if TensorFlow and Keras are there, else when they
    come."""
    after_import("tensorflow", _load_ops)
    after_import("keras", _register_layers)


def _load_ops() -> None:
    try:
        importlib.import_module("fastw2v.ops")
    except ImportError as error:
        # TensorFlow itself must stay importable; who uses a loss gets the error.
        if warn:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        return
    # TensorFlow imports Keras, and Keras TensorFlow: the first to begin is the last to end.
    if is_imported("keras"):
        _import_layers()


def _register_layers() -> None:
    if is_imported("tensorflow"):
        _import_layers()


def _import_layers() -> None:
    if importlib.import_module("keras").config.backend() != "tensorflow":
        return
    with contextlib.suppress(ImportError):  # of which `_load_ops` has warned
        importlib.import_module("fastw2v.keras")
