"""What this package needs of TensorFlow beyond its public interface does what it is used for."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.python.saved_model import save_context

from fastw2v._core import tf_internals


def test_variables():
    variable = tf.Variable([[1.0], [2.0]])
    assert tf_internals.is_resource_variable(variable)
    assert not tf_internals.is_resource_variable(tf.constant(1.0))
    assert tf_internals.shape_of_handle(variable.handle).numpy().tolist() == [2, 1]
    with tf.GradientTape() as tape:
        tf_internals.mark_as_read(variable)
    assert tape.watched_variables() == (variable,)
    sharded = tf_internals.ShardedVariable([variable, tf.Variable([[3.0]])])
    assert [part.shape[0] for part in sharded.variables] == [2, 1]


def test_plain_variables():
    made = []

    def strategys(next_creator, **kwargs):
        made.append(next_creator(**kwargs))
        return made[-1]

    with tf.variable_creator_scope(strategys):
        assert isinstance(tf_internals.PlainVariable(1.0), tf.Variable) and not made


def test_checkpoints_ask_for_tensors(tmp_path):
    class Saved(tf_internals.Trackable):
        def _serialize_to_tensors(self):
            return {"a": {"3 1 0,2:0,1": tf.ones([2, 1]), "3 1 2,1:0,1": tf.zeros([1, 1])}}

    path = tf.train.Checkpoint(saved=Saved()).write(str(tmp_path / "saved"))
    values = tf.train.load_checkpoint(path).get_tensor("saved/.ATTRIBUTES/a")
    assert values.tolist() == [[1], [1], [0]]


def test_replicas_of_one_device_run_functions_themselves():
    """Of several replicas: tests/distribute/programs/collectives.py."""
    assert not tf_internals.is_function_of_one_replica()
    assert not tf.function(tf_internals.is_function_of_one_replica, autograph=False)()


def test_functions_are_traced_anew():
    """In a function that TensorFlow saves too; what was traced before is kept."""
    traces = []

    @tf.function
    def inner(x):
        traces.append(x)
        return x + 1

    @tf.function(input_signature=[tf.TensorSpec([])])
    def outer(x):
        with tf_internals.traced_anew():
            return inner(x)

    inner(tf.constant(1.0))
    assert len(traces) == 1
    outer(tf.constant(1.0))
    inner(tf.constant(1.0))
    assert len(traces) == 2
    with save_context.save_context(tf.saved_model.SaveOptions()):
        tf.function(inner.python_function).get_concrete_function(tf.TensorSpec([]))
        tf.function(outer.python_function).get_concrete_function(tf.TensorSpec([]))
        assert save_context.get_save_options().experimental_variable_policy is not None
    assert len(traces) == 4 and not save_context.in_save_context()


def test_tapes():
    assert not tf_internals.could_record()
    value = tf.constant(1.0)
    with tf.GradientTape() as tape:
        assert tf_internals.could_record() and not tf_internals.tapes_record([value])
        tape.watch(value)
        assert tf_internals.tapes_record([value])
        with tf_internals.stop_recording():
            assert not tf_internals.tapes_record([value])
            doubled = 2 * value
        tf_internals.record_operation("double", [doubled], [value], lambda d: [7 * d])
    assert float(tape.gradient(doubled, value)) == 7


def test_directional_derivatives():
    value = tf.constant(2.0)
    with tf.autodiff.ForwardAccumulator(value, tf.constant(3.0)) as accumulator:
        tangents = tf_internals.pack_tangents([value]).tangents
        assert [float(tangent) for tangent in tangents] == [3.0]
        with tf_internals.push_forwardprop_state():
            squared = value * value
    assert float(accumulator.jvp(squared)) == 12  # more: tests/test_forward_mode.py
    assert "Fastw2v>SoftmaxLoss" in tf_internals.DERIVATIVES
    got = tf_internals.gradient_function(
        "Square", (), 1, [value], [value**2], [tf.constant(1.0)], [], ""
    )
    assert float(tf.nest.flatten(got)[0]) == 4


def test_graphs():
    seen = []

    @tf.function(autograph=False)
    def loop(x):
        def body(i, y):
            inside.append(y * x)
            return i + 1, inside[-1]

        inside = []
        tf.while_loop(lambda i, _: i < 3, body, (0, x))
        seen.append(tf_internals.outside_its_loop(inside[0]))
        seen.append(tf_internals.outside_its_loop(x))

    loop.get_concrete_function(tf.constant(1.0))
    assert seen == [True, False]


def test_control_flow():
    seen = []

    @tf.function(autograph=False)
    def called():
        seen.append(tf_internals.is_in_control_flow())
        return tf.constant(0)

    @tf.function(autograph=False)
    def function():
        called()
        tf.cond(tf.constant(True), lambda: tf.function(called.python_function)(), lambda: 1)

    function()
    assert seen == [False, True] and not tf_internals.is_in_control_flow()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compilation(jit_compile):
    seen = []

    @tf.function(jit_compile=jit_compile, autograph=False)
    def function():
        seen.append(tf_internals.enclosing_xla_context() is not None)
        return tf.constant(0)

    function()
    assert seen == [jit_compile]
