"""Loading the compiled op library, and what its absence or another TensorFlow leads to."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap

import pytest
import tensorflow as tf

import fastw2v
from fastw2v import _build_info
from fastw2v._core import missing


def _stderr(build_info: str, program: str) -> tuple[int, str]:
    """Exit status and stderr of a program for which the build left other information."""
    prepare = f"""
        import sys, types
        module = types.ModuleType("fastw2v._build_info")
        exec({build_info!r}, module.__dict__)
        sys.modules["fastw2v._build_info"] = module
    """
    finished = _run(textwrap.dedent(prepare) + program)
    return finished.returncode, finished.stderr.strip()


def _run(program: str) -> subprocess.CompletedProcess:
    """Runs a program away from the checkout, whose sources it would import."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=tempfile.gettempdir(), capture_output=True, text=True
    )


OTHER_TENSORFLOW = "VERSION = '0'; OP_LIBRARIES = {'2.19.1': '_ops_tf219.so'}"
NO_BUILD = "VERSION = '0'"


def test_version_is_that_of_the_build():
    assert fastw2v.__version__ == _build_info.VERSION


def test_library_was_built_for_this_tensorflow():
    running = tf.__version__.split(".")
    assert running[:2] in [version.split(".")[:2] for version in _build_info.OP_LIBRARIES]


@pytest.mark.parametrize("name", ["GradientWarning", "samplers", "train_step"])
def test_each_name_can_be_the_first(name):
    """TensorFlow then comes while a module of ours is only half imported, and asks for the rest."""
    program = f"import fastw2v, sys; fastw2v.{name}; print('fastw2v.keras' in sys.modules)"
    done = _run(program)
    assert done.stdout == "True\n" and "Warning" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    "module", ["_core.tables", "samplers", "optimizers", "word2vec.training.model"]
)
def test_each_module_can_be_the_first(module):
    """The next import, here that of the program, brings what waited."""
    program = f"import fastw2v.{module}, json.tool, sys; print('fastw2v.keras' in sys.modules)"
    done = _run(program)
    assert done.stdout == "True\n" and "Warning" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("build_info", "sentence"),
    [
        (OTHER_TENSORFLOW, "fastw2v was built for TensorFlow 2.19.1, but"),
        (NO_BUILD, "fastw2v's compiled op library is missing"),
    ],
    ids=["another TensorFlow", "no library"],
)
def test_what_to_run_is_said_in_one_sentence(build_info, sentence):
    status, stderr = _stderr(build_info, "from fastw2v import softmax_loss")
    assert status == 1
    last = stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {sentence}")
    assert "pip install" in last


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("fastw2v._build_info", "op library is missing: run `pip install .` in its source tree"),
        ("tensorflow", "fastw2v needs TensorFlow, which is not installed: run `pip install"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(module, sentence):
    program = f"import sys; sys.modules[{module!r}] = None; from fastw2v import softmax_loss"
    finished = _run(program)
    assert sentence in finished.stderr.splitlines()[-1], finished.stderr


@pytest.mark.parametrize(
    ("has_tensorflow", "sentence"), [(False, "needs TensorFlow"), (True, "needs Keras 3")]
)
def test_keras_is_missing(monkeypatch, has_tensorflow, sentence):
    """Keras comes with TensorFlow, so that one sentence does for both."""
    monkeypatch.setattr(missing, "_is_installed", lambda name: has_tensorflow)
    error = ModuleNotFoundError("No module named 'keras'", name="keras")
    assert sentence in missing.sentence(error) and "pip install" in missing.sentence(error)


@pytest.mark.parametrize("order", ["fastw2v, tensorflow", "tensorflow, fastw2v"])
def test_tensorflow_stays_importable_beside_a_library_for_another(order):
    status, stderr = _stderr(OTHER_TENSORFLOW, f"import {order}")
    assert status == 0
    assert "RuntimeWarning: fastw2v was built for TensorFlow 2.19.1, but" in stderr


@pytest.mark.parametrize(
    "imports",
    [
        "import fastw2v, tensorflow, keras",
        "import fastw2v, keras, tensorflow",
        "import tensorflow, fastw2v, keras",
        "import fastw2v, importlib.util; importlib.util.find_spec('tensorflow'); import tensorflow",
    ],
)
def test_ops_and_layers_come_with_tensorflow_and_keras(imports):
    """Whoever loads a saved model needs them, and calls no function of this package."""
    program = f"{imports}; from tensorflow.python.framework import op_def_registry\n"
    program += "assert op_def_registry.get('Fastw2v>SoftmaxLoss') is not None\n"
    program += "from keras.saving import get_registered_object\n"
    program += "assert get_registered_object('fastw2v>SampledSoftmax') is not None\n"
    program += "assert get_registered_object('fastw2v>Adagrad') is not None"
    finished = _run(program)
    assert finished.returncode == 0, finished.stderr


def test_import_alone_brings_no_tensorflow():
    program = "import sys, fastw2v; assert 'tensorflow' not in sys.modules; dir(fastw2v)"
    finished = _run(program)
    assert finished.returncode == 0, finished.stderr


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'sofmax_loss'"):
        fastw2v.sofmax_loss  # noqa: B018
    with pytest.raises(AttributeError, match="'models'; from fastw2v import Word2Vec"):
        fastw2v.models  # noqa: B018
    assert set(fastw2v.__all__) <= set(dir(fastw2v))
    for name in fastw2v.__all__:
        assert getattr(fastw2v, name) is not None


@pytest.mark.parametrize("op", ["softmax_loss", "sampled_loss"])
def test_losses_that_share_a_variable_are_not_serialized(op):
    """A function must see that the ops only read: no control edge from one loss to the other."""
    table = tf.Variable(tf.ones([5, 3]))
    options = {} if op == "softmax_loss" else {"num_sampled": 2}

    @tf.function
    def two_losses():
        first = fastw2v.softmax_loss(table, table, None, [1], [2], seed=(1, 2), **options)
        second = fastw2v.softmax_loss(table, table, None, [3], [4], seed=(1, 2), **options)
        return first + second

    graph = two_losses.get_concrete_function().graph
    losses = [node for node in graph.get_operations() if node.type.startswith("Fastw2v>S")]
    losses = [node for node in losses if node.type.endswith("Loss")]
    assert len(losses) == 2
    for node in losses:
        assert not [other for other in node.control_inputs if other in losses]
