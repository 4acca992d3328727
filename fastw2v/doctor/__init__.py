"""Why a gradient is None: the cause, the op and the line that did it.

This package needs TensorFlow only; it works where the compiled library of fastw2v is missing.
Importing it imports no TensorFlow: the public names are found when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

# Functions with the name of their module are imported now: later the module would take the name.
from fastw2v.doctor.watch import Watch, assert_gradients, watch

_HOMES = {
    "Finding": "fastw2v.doctor.report",
    "Place": "fastw2v.doctor.report",
    "Report": "fastw2v.doctor.report",
    "Step": "fastw2v.doctor.report",
    "explain": "fastw2v.doctor.explaining",
}

__all__ = [*_HOMES, "Watch", "assert_gradients", "watch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastw2v.doctor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
