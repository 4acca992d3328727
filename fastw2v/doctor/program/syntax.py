"""The text of the user's program: its expressions, statements and functions."""

from __future__ import annotations

import ast
import builtins
import functools
import itertools
import linecache
from collections.abc import Iterator
from typing import TypeAlias

from fastw2v.doctor.program.places import Origin

FunctionDef: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_COMPUTES = (ast.Call, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Subscript)
# Methods of lists and sets that keep what they are given.
_COLLECTS = ("append", "add", "extend", "insert")


@functools.lru_cache(maxsize=64)
def program(file: str) -> Program:
    """A source file, parsed; an empty one where it cannot be."""
    return Program(file)


class Program:
    """A source file as a tree.

    Attributes:
        nodes: All nodes, from the outside in.
        functions: The functions and methods, by name.
    """

    def __init__(self, file: str) -> None:
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except (SyntaxError, ValueError):
            tree = ast.Module([], [])
        self.nodes = list(ast.walk(tree))
        self._parents = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}
        self.functions: dict[str, FunctionDef] = {
            node.name: node for node in self.nodes if isinstance(node, FunctionDef)
        }

    def parent(self, node: ast.AST) -> ast.AST | None:
        """What a node stands in."""
        return self._parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """All that a node stands in, the innermost first."""
        outer = self.parent(node)
        while outer is not None:
            yield outer
            outer = self.parent(outer)

    def function_of(self, node: ast.AST) -> ast.AST | None:
        """The function that a node stands in; None for the module."""
        return next(
            (n for n in self.ancestors(node) if isinstance(n, (FunctionDef, ast.Lambda))), None
        )

    def expressions_at(self, origin: Origin) -> list[ast.expr]:
        """The expression that the program was at; all of the line where only that is known."""
        span = _span(origin)
        if span is not None:
            for node in self.nodes:
                if isinstance(node, ast.expr) and span == (
                    *(node.lineno, node.end_lineno),
                    *(node.col_offset, node.end_col_offset),
                ):
                    return [node]
        return [
            node
            for node in self.nodes
            if isinstance(node, _COMPUTES)
            and node.lineno == origin.line
            and not (isinstance(node, ast.Call) and hasattr(builtins, first_name(node.func) or ""))
        ]

    def calls_of(self, function: FunctionDef) -> list[ast.Call]:
        """Where a function is called by its name, or as a method of that name."""
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        return [call for call in calls if function_name(call) == function.name]

    def uses_of(self, statement: ast.stmt, name: str) -> list[ast.Name]:
        """Where what a statement stored under a name is read, in the same function."""
        function, block = self.function_of(statement), self.parent(statement)
        uses: list[ast.Name] = []
        end = float("inf")
        for node in self.nodes:
            if not isinstance(node, ast.Name) or node.id != name or node.lineno <= statement.lineno:
                continue
            if self.function_of(node) is not function:
                continue
            if isinstance(node.ctx, ast.Load):
                uses.append(node)
            elif self.parent(self.statement_of(node)) is block:  # it is stored anew in any case
                end = min(end, self.statement_of(node).end_lineno or node.lineno)
        return [use for use in uses if use.lineno <= end]

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """The statement that a node stands in."""
        return next(
            n for n in itertools.chain([node], self.ancestors(node)) if isinstance(n, ast.stmt)
        )


def function_name(call: ast.Call) -> str | None:
    """The last name of what is called: f of f(x), of self.f(x) and of module.f(x)."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def first_name(node: ast.expr) -> str | None:
    """The first name of a dotted one."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def assigned_names(statement: ast.stmt) -> set[str]:
    """Names under which a statement stores its value."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        targets = [statement.target]
    else:
        return set()
    return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


def collection_of(call: ast.Call) -> str | None:
    """The name of the list that a call adds its argument to."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in _COLLECTS:
        return first_name(function.value)
    return None


def parameter_of(function: FunctionDef, call: ast.Call, argument: ast.AST) -> str | None:
    """The name under which a function takes an argument of a call."""
    for keyword in call.keywords:
        if keyword.value is argument or keyword is argument:
            return keyword.arg
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    if isinstance(call.func, ast.Attribute) and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    return next((n for n, a in zip(names, call.args, strict=False) if a is argument), None)


def last_parameter(function: FunctionDef) -> str | None:
    """The last parameter that has to be given: the predictions of a loss, the inputs of a call."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    needed = names[: len(names) - len(function.args.defaults)]
    return needed[-1] if needed else None


def reassigned_name(origin: Origin) -> str | None:
    """The name that a statement stores a value under which was computed from that name."""
    text = program(origin.file)
    for node in text.expressions_at(origin):
        statement = text.statement_of(node)
        if isinstance(statement, (ast.Assign, ast.AugAssign)):
            names = {n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name)}
            if isinstance(statement, ast.AugAssign):
                names |= assigned_names(statement)
            found = sorted(names & assigned_names(statement))
            if found:
                return found[0]
    return None


def _span(origin: Origin) -> tuple[int | None, ...] | None:
    """First and last line, first and last column of what ran."""
    if origin.instruction is None:
        return None
    code, at = origin.instruction
    if not hasattr(code, "co_positions"):  # Python 3.10
        return None
    return next(itertools.islice(code.co_positions(), at // 2, None), None)
