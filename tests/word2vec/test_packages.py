"""What each package of word vectors builds on, and what it names."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from problems import run_python

import fastw2v.word2vec

# Each may import those above it, and itself.
LAYERS = (
    "fastw2v.word2vec.files",
    "fastw2v.word2vec.progress",
    "fastw2v.word2vec.whole_numbers",
    "fastw2v.word2vec.corpus",
    "fastw2v.word2vec.vectors.formats",
    "fastw2v.word2vec.vectors",
    "fastw2v.word2vec.maps",
    "fastw2v.word2vec.training",
    "fastw2v.commands",
)
ROOT = Path(fastw2v.word2vec.__file__).parents[2]


def layer_of(module):
    found = [layer for layer in LAYERS if f"{module}.".startswith(f"{layer}.")]
    return LAYERS.index(max(found, key=len)) if found else None


def imported(path):
    """The modules of this repository that a file imports, and the names it takes from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are written in full"
            for alias in node.names:
                yield node.module, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.name


def test_imports_point_downward():
    upward = []
    for path in [*ROOT.glob("fastw2v/word2vec/**/*.py"), *ROOT.glob("fastw2v/commands/*.py")]:
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        layer = layer_of(own)
        for module, name in imported(path):
            other = layer_of(name if layer_of(module) is None else module)
            if layer is not None and other is not None and other > layer:
                upward.append(f"{own} imports {name}")
    assert upward == []


@pytest.mark.parametrize("package", fastw2v.word2vec.__all__)
def test_names(package):
    module = getattr(fastw2v.word2vec, package)
    assert module is importlib.import_module(f"fastw2v.word2vec.{package}")
    assert module.__doc__ and dir(fastw2v.word2vec) == fastw2v.word2vec.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None and name in dir(module)
    with pytest.raises(AttributeError, match=f"{package}' has no attribute 'absent'"):
        module.absent  # noqa: B018


def test_training_alone_brings_tensorflow():
    program = (
        "import sys, fastw2v.word2vec as word2vec\n"
        "for name in word2vec.__all__: dir(getattr(word2vec, name))\n"
        "print('tensorflow' in sys.modules)\n"
        "word2vec.training.Word2Vec\n"
        "print('tensorflow' in sys.modules)"
    )
    assert run_python(program) == "False\nTrue\n"
