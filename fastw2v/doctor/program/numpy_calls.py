"""Where a program passes tensors to NumPy.

NumPy reads the memory of an eager tensor without any call that could be seen; the program's text
says where.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator

from fastw2v.doctor.program import syntax
from fastw2v.doctor.program.places import Origin, Place

_PACKAGES = ("numpy", "scipy", "math", "pandas", "sklearn", "cv2", "PIL")
# What these say of a tensor does not depend on its values.
_VALUE_INDEPENDENT = ("shape", "dtype", "ndim", "name", "len", "type", "isinstance")


def call_on_result(origin: Origin) -> Place | None:
    """The first call of NumPy or the like that takes what was computed at a place."""
    file = origin.file
    text = syntax.program(file)
    seen: set[ast.AST] = set()
    for node in text.expressions_at(origin):
        for call in _numpy_calls_on(text, _aliases(file), node, seen):
            return _place(text, file, call)
    return None


def call_on_parameter(origin: Origin) -> Place | None:
    """The call of NumPy on the last parameter of a function, whose result is used at a place.

    It is for functions that are not called in the program itself: a library calls them.
    """
    text = syntax.program(origin.file)
    for node in text.expressions_at(origin):
        function = text.function_of(node)
        if not isinstance(function, syntax.FunctionDef) or text.calls_of(function):
            continue
        parameter = syntax.last_parameter(function)
        for use in ast.walk(function):
            if isinstance(use, ast.Name) and use.id == parameter:
                for call in _numpy_calls_on(text, _aliases(origin.file), use, set()):
                    if _reaches(text, call, node, set()):
                        return _place(text, origin.file, call)
    return None


def _reaches(text: syntax.Program, call: ast.AST, goal: ast.AST, seen: set[ast.AST]) -> bool:
    """Whether the value of an expression is a part of another expression's."""
    if call in seen:
        return False
    seen.add(call)
    for outer in text.ancestors(call):
        if outer is goal:
            return True
        if isinstance(outer, ast.stmt):
            return any(_reaches(text, use, goal, seen) for use in _uses_of_result(text, outer))
    return False


def _place(text: syntax.Program, file: str, call: ast.Call) -> Place:
    function = text.function_of(call)
    name = function.name if isinstance(function, syntax.FunctionDef) else "<module>"
    return Place(file, call.lineno, linecache.getline(file, call.lineno).strip(), name)


def _numpy_calls_on(
    text: syntax.Program, aliases: frozenset[str], node: ast.AST, seen: set[ast.AST]
) -> Iterator[ast.Call]:
    """Calls of packages outside that take the value of an expression, in the program's order."""
    if node in seen:
        return
    seen.add(node)
    inner = node
    for outer in text.ancestors(node):
        if isinstance(outer, ast.Attribute) and outer.attr in _VALUE_INDEPENDENT:
            return
        if isinstance(outer, ast.Call) and inner is not outer.func:
            if syntax.first_name(outer.func) in aliases:
                if not _only_shown(text, outer):
                    yield outer
                return
            if syntax.function_name(outer) in _VALUE_INDEPENDENT:
                return
            followers = list(_uses_of_argument(text, outer, inner))
            for follower in followers:
                yield from _numpy_calls_on(text, aliases, follower, seen)
            if followers:
                return
        elif isinstance(outer, ast.stmt):
            for follower in _uses_of_result(text, outer):
                yield from _numpy_calls_on(text, aliases, follower, seen)
            return
        inner = outer


def _only_shown(text: syntax.Program, call: ast.Call) -> bool:
    """Whether a value is printed or logged, and not kept by a name, a list or another function."""
    for outer in text.ancestors(call):
        if isinstance(outer, ast.Call) and (
            syntax.collection_of(outer) or syntax.function_name(outer) in text.functions
        ):
            return False
        if isinstance(outer, ast.stmt):
            return isinstance(outer, ast.Expr)
    return False


def _uses_of_argument(text: syntax.Program, call: ast.Call, argument: ast.AST) -> Iterator[ast.AST]:
    """Where an argument of a call is read: in the function of the program, or from a list."""
    function = text.functions.get(syntax.function_name(call) or "")
    if function is not None:
        name = syntax.parameter_of(function, call, argument)
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                yield node
    collection = syntax.collection_of(call)
    if collection is not None:
        yield from text.uses_of(text.statement_of(call), collection)


def _uses_of_result(text: syntax.Program, statement: ast.stmt) -> Iterator[ast.AST]:
    """Where the value of a statement is read: by its name, or where its function is called."""
    for name in sorted(syntax.assigned_names(statement)):
        yield from text.uses_of(statement, name)
    function = text.function_of(statement)
    if isinstance(statement, ast.Return) and isinstance(function, syntax.FunctionDef):
        yield from text.calls_of(function)


@functools.lru_cache(maxsize=64)
def _aliases(file: str) -> frozenset[str]:
    """The names in a program of packages that do not know TensorFlow, and of their functions."""
    aliases = set()
    for node in syntax.program(file).nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in _PACKAGES:
                    aliases.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _PACKAGES:
            aliases.update(alias.asname or alias.name for alias in node.names)
    return frozenset(aliases)
