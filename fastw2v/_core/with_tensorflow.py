"""Loads the ops as soon as TensorFlow is imported, and layers and optimizers as soon as Keras is,
before or after this package."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable

from fastw2v._core.after_import import after_import, is_imported

# Whether to warn of a library that does not load, or of GPU kernels that no GPU of the machine can
# run. The doctor does not, in another's program.
warn = True


def load() -> None:
    """Loads the ops, and registers layers and optimizers, now if TensorFlow and Keras are there,
    else when they come."""
    after_import("tensorflow", _load_ops)
    after_import("keras", _register_layers)


def _load_ops() -> None:
    if _waits(_load_ops):
        return
    try:
        importlib.import_module("fastw2v.ops")
    except ImportError as error:
        # TensorFlow itself must stay importable; who uses a loss gets the error.
        if warn:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        return
    why = importlib.import_module("fastw2v._core.library").why_no_gpu_kernels
    if why and warn:
        warnings.warn(why, RuntimeWarning, stacklevel=2)
    # TensorFlow imports Keras, and Keras TensorFlow: the first to begin is the last to end.
    if is_imported("keras"):
        _import_layers()


def _register_layers() -> None:
    if is_imported("tensorflow") and not _waits(_register_layers):
        _import_layers()


def _waits(action: Callable[[], None]) -> bool:
    """Whether TensorFlow came by the import of a module of ours, half of which is not there yet:
    then the action follows that import."""
    for name, module in list(sys.modules.items()):
        if name.startswith("fastw2v.") and getattr(module.__spec__, "_initializing", False):
            after_import(name, action)
            return True
    return False


def _import_layers() -> None:
    if importlib.import_module("keras").config.backend() != "tensorflow":
        return
    with contextlib.suppress(ImportError):  # of which `_load_ops` has warned
        importlib.import_module("fastw2v.keras")
        importlib.import_module("fastw2v.optimizers")
