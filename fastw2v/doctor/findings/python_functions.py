"""Which variables a Python function uses that it is not given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from tensorflow.python.ops import script_ops

from fastw2v.doctor.observe.tensor_ids import ids_of

# So many objects inside of objects are looked into.
_DEEPEST = 4


def python_function(op: Any) -> Callable[..., Any] | None:
    """The function that an op of tf.numpy_function or tf.py_function in a graph calls."""
    function = script_ops._py_funcs.get(op.get_attr("token").decode())
    return getattr(function, "_func", function)


def uses_variable(function: Callable[..., Any] | None, source: Any) -> bool:
    """Whether a function names a variable, or a model or another object that holds it."""
    numbers = set(ids_of(source))
    return any(numbers & set(ids_of(one)) for one in _reached(function, _DEEPEST, set()))


def _reached(thing: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    if depth == 0 or id(thing) in seen:
        return
    seen.add(id(thing))
    if hasattr(thing, "handle"):
        yield thing
        return
    for inner in _inside(thing):
        yield from _reached(inner, depth - 1, seen)


def _inside(thing: Any) -> list[Any]:
    """What an object holds, or a function names."""
    if isinstance(thing, (list, tuple, set)):
        return list(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__self__, thing.__func__]
    if inspect.isfunction(thing):
        function = inspect.unwrap(thing)
        if not inspect.isfunction(function):
            return [function]
        named = [function.__globals__.get(name) for name in _names(function.__code__)]
        return named + list(inspect.getclosurevars(function).nonlocals.values())
    variables = getattr(thing, "variables", None)  # of a layer, a model or a module
    if isinstance(variables, (list, tuple)):
        return list(variables)
    if inspect.ismodule(thing) or inspect.isclass(thing):
        return []
    return list(getattr(thing, "__dict__", {}).values())


def _names(code: CodeType) -> list[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]
