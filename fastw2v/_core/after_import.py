"""Calls functions as soon as a module is imported, now if it is already."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType


def after_import(module: str, action: Callable[[], None]) -> Callable[[], None]:
    """Calls `action` when `module` has been imported; returns a function that calls it off."""
    if is_imported(module):
        action()
        return lambda: None
    finder = _Finder(module, action)
    sys.meta_path.insert(0, finder)
    return finder.call_off


def is_imported(name: str) -> bool:
    """Whether a module is there and not just being imported."""
    module = sys.modules.get(name)
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def look_again() -> None:
    """Calls what waits for modules that have been imported meanwhile."""
    for finder in list(sys.meta_path):
        if isinstance(finder, _Finder):
            finder.look()


class _Finder(importlib.abc.MetaPathFinder):
    """Stands before the finders of modules until one module is asked for."""

    def __init__(self, module: str, action: Callable[[], None]) -> None:
        self._module = module
        self._action = action
        self._asks = False  # the other finders

    def call_off(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def look(self) -> None:
        if is_imported(self._module):
            self.call_off()
            self._action()

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._module:
            # Its import may have begun before we came: then the next import tells that it ended.
            self.look()
            return None
        if self._asks:
            return None
        self._asks = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asks = False
        # Who asks may only want to know whether the module is there, and import it later or never.
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                self.call_off()
                execute(module)
                self._action()

            # In this loader alone, which is of this one import.
            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
