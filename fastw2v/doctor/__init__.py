"""Why a gradient is None: the cause, the op and the line that did it.

This package needs TensorFlow only; it works where the compiled library of fastw2v is missing.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Report": "fastw2v.doctor.report",
    "explain": "fastw2v.doctor.explaining",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastw2v.doctor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
