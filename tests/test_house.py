"""How the package is built: through how few modules a call goes, which way imports point, and which
names are public."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from problems import run_python

import fastw2v

PACKAGE = Path(fastw2v.__file__).parent
OPS = {"fastw2v_softmax_loss", "fastw2v_sampled_loss", "fastw2v_softmax_step"}
MOST_STAYS, MOST_RETURNS = 16, 7


def modules_of_a_call(function):
    """The modules of the package whose functions are called, one after the other, before the op."""
    modules, found = [], False

    def note(frame, event, argument):
        nonlocal found
        name = frame.f_globals.get("__name__", "")
        if event != "call" or found:
            return
        found = frame.f_code.co_name in OPS
        if not found and name.startswith("fastw2v") and modules[-1:] != [name]:
            modules.append(name)

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(previous)
    assert found
    return modules


def calls():
    embeddings, weights = tf.Variable(tf.ones([50, 8])), tf.Variable(tf.ones([40, 8]))
    biases, hidden = tf.Variable(tf.zeros([40])), tf.ones([3, 8])
    ids, labels = tf.constant([1, 2, 3], tf.int64), tf.constant([4, 5, 6], tf.int64)
    optimizer = fastw2v.optimizers.Adagrad(0.1)
    optimizer.build([embeddings, weights, biases])
    tables = (embeddings, weights, biases)
    return {
        "exact": lambda: fastw2v.softmax_loss(*tables, ids, labels, reduction="mean"),
        "sampled": lambda: fastw2v.softmax_loss(*tables, ids, labels, num_sampled=7),
        "linear": lambda: fastw2v.linear_cross_entropy(labels, hidden, weights, biases),
        "tf.nn": lambda: fastw2v.sampled_softmax_loss(
            weights, biases, labels[:, tf.newaxis], hidden, 7, 40
        ),
        "nce": lambda: fastw2v.nce_loss(weights, biases, labels[:, tf.newaxis], hidden, 7, 40),
        "negatives": lambda: fastw2v.negative_sampling_loss(embeddings, weights, ids, labels, 5),
        "train_step": lambda: fastw2v.train_step(
            optimizer, fastw2v.softmax_loss, *tables, ids, labels
        ),
    }


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", list(calls()))
def test_a_call_stays_in_few_modules(name, in_graph):
    call = calls()[name]
    call()  # what is made once is made
    function = call
    if in_graph:
        function = tf.function(call, autograph=False).get_concrete_function
    modules = modules_of_a_call(function)
    assert len(modules) <= MOST_STAYS, modules
    assert len(modules) - len(set(modules)) <= MOST_RETURNS, modules


def imports(path, everywhere=False):
    """The modules of the package that a file imports at its top level, or anywhere."""
    tree = ast.parse(path.read_text(encoding="utf8"))
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastw2v"):
            for alias in node.names:
                yield node.module, alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("fastw2v"):
                    yield alias.name, None


# From the bottom to the top; each imports only what stands before it.
ORDER = [
    ["_core", "_build_info", "_kernels"],
    ["distribute"],
    ["reference"],
    ["samplers"],
    ["data"],
    ["_losses"],
    ["gradients"],
    ["ops"],
    ["adaptive", "in_batch"],
    ["optimizers"],
    ["training"],
    ["keras"],
    ["serving"],
]


def test_imports_point_downward():
    place = {name: level for level, names in enumerate(ORDER) for name in names}
    for name, level in place.items():
        path = PACKAGE / name
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            if not file.exists():
                continue  # compiled
            for module, imported in imports(file):
                parts = module.split(".")
                other = parts[1] if len(parts) > 1 else imported
                assert other in place, f"{file} imports {module}.{imported}"
                assert place[other] <= level, f"{file} imports {module}.{imported}"


def test_private_names_of_tensorflow_stand_in_one_file():
    """The doctor apart, which looks inside of TensorFlow."""
    for file in PACKAGE.rglob("*.py"):
        relative = file.relative_to(PACKAGE)
        if relative.parts[0] == "doctor" or relative.name == "tf_internals.py":
            continue
        text = file.read_text(encoding="utf8")
        assert "from tensorflow.python" not in text and "tf.__internal__" not in text, relative


def test_public_names():
    assert set(dir(fastw2v)) == set(fastw2v.__all__)
    for name in fastw2v.__all__:
        assert getattr(fastw2v, name) is not None


PUBLIC_MODULES = [
    "fastw2v",
    *(f"fastw2v.{name}" for name in fastw2v._MODULES),
    *(f"fastw2v.word2vec.{name}" for name in fastw2v.word2vec.__all__),
]


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_public_modules_say_what_is_public(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None
    of_its_own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    }
    assert of_its_own <= set(module.__all__)


def test_public_modules_are_found_by_their_attributes():
    program = "import fastw2v\n" + "\n".join(f"print({name}.__name__)" for name in PUBLIC_MODULES)
    assert run_python(program).split() == PUBLIC_MODULES


def test_documents_name_files_that_exist():
    root = Path(__file__).parents[1]
    documents = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]
    folders = "fastw2v|csrc|tests|tools|cmake|benchmarks|docs|examples"
    for document in documents:
        for name in re.findall(
            rf"`((?:{folders})/[\w./]*\w)`", document.read_text(encoding="utf8")
        ):
            assert (root / name).exists(), f"{document.name} names {name}"
