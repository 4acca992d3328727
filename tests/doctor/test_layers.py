"""The packages of the doctor stand on each other, and importing the doctor costs nothing."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from problems import run_python

from fastw2v import doctor

ROOT = Path(doctor.__file__).parent
MODULES = {
    ".".join(("fastw2v.doctor", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(ROOT.rglob("*.py"))
}
# Imports of the doctor's own modules that do not stand at the top of a module, and why.
IMPORTS_IN_FUNCTIONS = {
    ("fastw2v.doctor.script", "fastw2v.doctor.watching"): "the program imports TensorFlow, not we",
}


class Import(NamedTuple):
    """An import of a module of the doctor."""

    module: str
    in_function: bool


def imports(name: str) -> Iterator[Import]:
    """What a module imports of the doctor, wherever in its text."""
    waiting = [(ast.parse(MODULES[name].read_text(encoding="utf-8")), False)]
    while waiting:
        node, in_function = waiting.pop()
        inside = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        waiting += [(child, inside) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                imported = full if full in MODULES else node.module
                if imported in MODULES:
                    yield Import(imported, inside)
        elif isinstance(node, ast.Import):
            yield from (Import(a.name, inside) for a in node.names if a.name in MODULES)


def layer(name: str) -> int:
    """How high a module stands."""
    package, *rest = name.removeprefix("fastw2v.doctor.").split(".")
    in_package = rest or MODULES[name].name == "__init__.py"
    if name == "fastw2v.doctor" or not in_package:
        return len(doctor._LAYERS)
    return doctor._LAYERS.index(package)


def test_every_package_has_its_layer():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(doctor._LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downward(name):
    upward = [i.module for i in imports(name) if layer(i.module) > layer(name)]
    assert not upward


def test_there_are_no_circles():
    graph = {name: {i.module for i in imports(name)} for name in MODULES}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_imports_in_functions_have_a_reason():
    found = {(name, i.module) for name in MODULES for i in imports(name) if i.in_function}
    assert found == set(IMPORTS_IN_FUNCTIONS)


def test_every_module_says_its_subject():
    for name, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name


def test_only_public_names_are_shown():
    assert dir(doctor) == sorted(doctor.__all__)
    assert all(hasattr(doctor, name) for name in doctor.__all__)


def test_importing_the_doctor_imports_no_tensorflow():
    code = "import sys, fastw2v.doctor; print([m for m in sys.modules if 'doctor.' in m], end=' ')"
    code += "; print('tensorflow' in sys.modules, 'numpy' in sys.modules)"
    assert run_python(code) == "[] False False\n"


@pytest.mark.parametrize("name", ["Place", "explain", "watch"])
def test_each_name_can_be_the_first(name):
    code = f"import sys, fastw2v.doctor; fastw2v.doctor.{name}; "
    code += "print('tensorflow' in sys.modules, 'fastw2v.keras' in sys.modules)"
    assert run_python(code) == ("False False\n" if name == "Place" else "True True\n")
