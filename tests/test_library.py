"""Loading the compiled op library, and what its absence or another TensorFlow leads to."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

import fastw2v
from fastw2v import _build_info


def _import_with(build_info: str) -> str:
    """The last line on stderr of an `import fastw2v` that finds another build information."""
    program = f"""
        import sys, types
        module = types.ModuleType("fastw2v._build_info")
        exec({build_info!r}, module.__dict__)
        sys.modules["fastw2v._build_info"] = module
        import fastw2v
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert finished.returncode != 0
    return finished.stderr.strip().splitlines()[-1]


def test_version_is_that_of_the_build():
    assert fastw2v.__version__ == _build_info.VERSION


def test_library_was_built_for_this_tensorflow():
    built, running = _build_info.TENSORFLOW_VERSION.split("."), tf.__version__.split(".")
    assert built[:2] == running[:2]


def test_another_tensorflow_is_refused_in_one_sentence():
    message = _import_with("VERSION = '0'; TENSORFLOW_VERSION = '2.19.1'")
    assert message.startswith("ImportError: fastw2v was built for TensorFlow 2.19.1, but")
    assert tf.__version__ in message
    assert "pip install" in message


def test_a_missing_library_says_what_to_run():
    message = _import_with("VERSION = '0'")
    assert message.startswith("ImportError: fastw2v's compiled op library is missing")
    assert "pip install" in message


@pytest.mark.parametrize("op", ["softmax_loss", "sampled_loss"])
def test_losses_that_share_a_variable_are_not_serialised(op):
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
