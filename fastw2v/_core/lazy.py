"""Names of a package that are found when they are first used, so that importing it imports nothing
else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastw2v._core import after_import, missing


def names(
    package: str,
    homes: Mapping[str, str] | None = None,
    modules: Sequence[str] = (),
    absent: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package calls ``__getattr__`` and ``__dir__``; its ``__all__`` is what both know.

    Args:
        package: Its name.
        homes: The module that holds each name.
        modules: Names that are modules in the package.
        absent: Names that other libraries have here, and what to do instead.
    """
    homes = homes or {}
    absent = absent or {}

    def find(name: str) -> Any:
        if name not in homes and name not in modules:
            message = f"module {package!r} has no attribute {name!r}"
            if name in absent:
                message += f"; {absent[name]}"
            raise AttributeError(message)
        try:
            module = importlib.import_module(homes.get(name, f"{package}.{name}"))
        except ImportError as error:
            raise ImportError(missing.sentence(error)) from error
        after_import.look_again()
        if name in modules:
            return module
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: sorted(sys.modules[package].__all__)
