"""Where a program hands tensors to NumPy.

NumPy reads the memory of an eager tensor without any call that could be seen; the program's text
says where.
"""

from __future__ import annotations

import ast
import functools
import linecache

from fastw2v.doctor.places import Origin
from fastw2v.doctor.report import Place

_PACKAGES = ("numpy", "scipy", "math", "pandas", "sklearn", "cv2", "PIL")


def call_outside(origins: list[Origin]) -> Place | None:
    """The first call of NumPy or the like that takes what was computed at one of the places."""
    for origin in origins:
        for call in _calls(origin.file):
            if not _same_function(call, origin.line, origin.file):
                continue
            inside = call.lineno <= origin.line <= (call.end_lineno or call.lineno)
            names = {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
            if inside or (
                call.lineno > origin.line and names & _assigned(origin.file, origin.line)
            ):
                text = linecache.getline(origin.file, call.lineno).strip()
                return Place(origin.file, call.lineno, text, origin.function)
    return None


@functools.lru_cache(maxsize=64)
def _parsed(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@functools.lru_cache(maxsize=64)
def _calls(file: str) -> tuple[ast.Call, ...]:
    """Calls of functions of packages that know nothing of TensorFlow, by line."""
    tree = _parsed(file)
    aliases = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in _PACKAGES:
                    aliases.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _PACKAGES:
            aliases.update(alias.asname or alias.name for alias in node.names)
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and _root(n.func) in aliases]
    return tuple(sorted(calls, key=lambda call: call.lineno))


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


@functools.lru_cache(maxsize=1024)
def _assigned(file: str, line: int) -> frozenset[str]:
    """Names that the statement on a line assigns."""
    names = set()
    for node in ast.walk(_parsed(file)):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return frozenset(names)


@functools.lru_cache(maxsize=64)
def _functions(file: str) -> tuple[tuple[int, int], ...]:
    return tuple(
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(_parsed(file))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


def _same_function(call: ast.Call, line: int, file: str) -> bool:
    return all(
        (first <= line <= last) == (first <= call.lineno <= last)
        for first, last in _functions(file)
    )
