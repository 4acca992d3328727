"""`watch` and `assert_gradients`."""

from __future__ import annotations

import io
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import gradients_util

from fastw2v import doctor
from fastw2v.doctor import watching as watching_module
from fastw2v.doctor.findings import missing


@pytest.fixture
def weights():
    return tf.Variable([0.4, 1.6], name="weights")


def rounded_gradient(weights):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.round(weights))
    return tape.gradient(loss, weights)


def kinds(watching):
    return [finding.kind for report in watching.reports for finding in report.findings]


def test_a_report_is_collected_and_printed(weights, capsys):
    with doctor.watch() as watching:
        assert rounded_gradient(weights) is None
    (report,) = watching.reports
    (finding,) = report.findings
    assert (finding.variable, finding.kind, finding.op) == ("weights", "rounding", "Round")
    assert finding.place.file == __file__
    assert finding.place.text == "loss = tf.reduce_sum(tf.round(weights))"
    assert not report.ok and report.connected == ()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(report) in printed.err


class _Unwritable(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_file_that_cannot_be_written(weights):
    closed = io.StringIO()
    closed.close()
    for file in (_Unwritable(), closed):
        with doctor.watch(file) as watching:
            assert rounded_gradient(weights) is None
        assert kinds(watching) == ["rounding"]


def test_nothing_is_said_of_gradients_that_exist(weights, capsys):
    with doctor.watch() as watching:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(weights**2)
        np.testing.assert_allclose(tape.gradient(loss, weights), [0.8, 3.2])
    assert watching.reports == []
    assert capsys.readouterr().err == ""


def test_connected_variables_are_named(weights):
    bias = tf.Variable(0.0, name="bias")
    with doctor.watch(io.StringIO()) as watching:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.round(weights)) + bias
        tape.gradient(loss, {"weights": weights, "others": [bias]})
    assert watching.reports[0].connected == ("bias",)
    assert kinds(watching) == ["rounding"]


def test_the_same_is_told_once(weights):
    file = io.StringIO()
    with doctor.watch(file) as watching:
        for _ in range(5):
            rounded_gradient(weights)
        rounded_gradient(weights)
    assert len(watching.reports) == 1
    assert file.getvalue() == f"{watching.reports[0]}\n"


def test_a_loop_is_not_explained_in_every_round(weights, monkeypatch):
    calls = []
    diagnose = missing.diagnose
    monkeypatch.setattr(missing, "diagnose", lambda *a: calls.append(a) or diagnose(*a))
    with doctor.watch(io.StringIO()):
        for _ in range(20):
            rounded_gradient(weights)
    assert 1 <= len(calls) <= 3


def test_nested_watches(weights):
    outer_file, inner_file = io.StringIO(), io.StringIO()
    with doctor.watch(outer_file) as outer:
        with doctor.watch(inner_file) as inner:
            rounded_gradient(weights)
        assert kinds(inner) == kinds(outer) == ["rounding"]
        assert outer_file.getvalue() == ""
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.stop_gradient(weights))
        tape.gradient(loss, weights)
    assert kinds(inner) == ["rounding"]
    assert kinds(outer) == ["rounding", "stop_gradient"]
    assert "stop_gradient" in outer_file.getvalue()


def test_cells_of_a_notebook(weights):
    watching = doctor.watch(io.StringIO())
    rounded_gradient(weights)
    assert watching.reports == []
    assert watching.start() is watching
    watching.start()
    rounded_gradient(weights)
    watching.stop()
    watching.stop()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.stop_gradient(weights))
    tape.gradient(loss, weights)
    assert kinds(watching) == ["rounding"]
    with watching:  # again
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.stop_gradient(weights))
        tape.gradient(loss, weights)
    assert kinds(watching) == ["rounding", "stop_gradient"]


def modules():
    """All that is looked up in TensorFlow and Keras."""
    return {
        (name, key): value
        for name, module in list(sys.modules.items())
        if name.startswith(("tensorflow.python.", "keras.src."))
        for owner in [module, *(v for v in vars(module).values() if isinstance(v, type))]
        for key, value in list(vars(owner).items())
        if callable(value)
    }


def test_everything_is_put_back(weights):
    with doctor.watch(io.StringIO()):
        rounded_gradient(weights)
    before = modules()
    finders = list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), doctor.watch(io.StringIO()):
        changed = modules()
        rounded_gradient(weights)
        raise ZeroDivisionError
    after = modules()
    assert [key for key in before if after.get(key) is not before[key]] == []
    assert [key for key in before if changed.get(key) is not before[key]] != []
    assert sys.meta_path == finders


def test_who_wraps_on_top_keeps_what_he_wrapped(weights):
    original = tf.GradientTape.gradient
    with doctor.watch(io.StringIO()) as watching:
        ours = tf.GradientTape.gradient
        tf.GradientTape.gradient = lambda *args, **kwargs: ours(*args, **kwargs)
    try:
        assert rounded_gradient(weights) is None
    finally:
        tf.GradientTape.gradient = original
    assert watching.reports == []


def test_functions_keep_their_signature():
    with doctor.watch():
        assert tf.GradientTape.gradient.__name__ == "gradient"
        assert "unconnected_gradients" in tf.GradientTape.gradient.__doc__


def test_arguments_by_name(weights):
    with doctor.watch(io.StringIO()) as watching:
        with tf.GradientTape() as tape:
            loss = tf.round(weights)
        assert tape.gradient(sources=weights, target=loss, output_gradients=tf.ones(2)) is None
        with tf.GradientTape() as tape:
            loss = tf.round(weights)
        zero = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        np.testing.assert_array_equal(zero, [0.0, 0.0])
    assert len(watching.reports) == 1


def test_gradients_inside_tensorflow_are_its_own(weights):
    @tf.custom_gradient
    def doubled(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = 2.0 * values

        def backward(upstream):
            return tape.gradient(result, values, upstream)

        return result, backward

    bias = tf.Variable(1.0)
    unused = tf.Variable(1.0)

    @tf.recompute_grad
    def block(inputs):
        return tf.tanh(inputs * bias) + 0.0 * tf.stop_gradient(unused)

    with doctor.watch() as watching, tf.GradientTape() as tape:
        loss = tf.reduce_sum(block(doubled(weights)))
    tape.gradient(loss, [weights, bias])
    assert watching.reports == []


def test_errors_stay_as_they_are(weights):
    def fail():
        with tf.GradientTape() as tape:
            loss = tf.unique(weights)[0]
        tape.gradient(loss, weights)

    with pytest.raises(LookupError) as alone:
        fail()
    with doctor.watch(io.StringIO()) as watching, pytest.raises(LookupError) as watched:
        fail()
    assert str(alone.value) == str(watched.value)
    assert kinds(watching) == ["no_gradient_registered"]


def test_messages_of_autograph_name_no_file_of_ours(weights):
    @tf.function
    def fail():
        with tf.GradientTape() as tape:
            loss = tf.unique(weights)[0]
        return tape.gradient(loss, weights)

    with (
        doctor.watch(io.StringIO()),
        pytest.raises(Exception, match="no entry for: Unique") as error,
    ):
        fail()
    assert "gradient_calls.py" not in str(error.value)
    assert "test_watch.py" in str(error.value)


def test_errors_about_other_things_are_not_explained(weights):
    with doctor.watch() as watching:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(weights)
        with pytest.raises(tf.errors.InvalidArgumentError):
            tape.gradient(loss, weights, output_gradients=tf.ones([7, 7]))
        with pytest.raises(TypeError), tf.GradientTape() as tape:
            tape.gradient(None, weights)
    assert watching.reports == []


def test_a_failure_of_the_doctor_is_a_line(weights, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("no idea")

    monkeypatch.setattr(missing, "diagnose", fail)
    with doctor.watch() as watching:
        assert rounded_gradient(weights) is None
    assert watching.reports == []
    error = capsys.readouterr().err
    assert error == "fastw2v.doctor: could not explain a gradient: ZeroDivisionError: no idea\n"


def test_jacobian(weights):
    with doctor.watch(io.StringIO()) as watching:
        with tf.GradientTape() as tape:
            outputs = tf.round(weights)
        assert tape.jacobian(outputs, weights) is None
    assert kinds(watching) == ["rounding"]


def test_other_threads(weights):
    """Graphs are read wherever they were made; eager ops of other threads are not recorded."""
    compiled = tf.function(rounded_gradient)
    for step, expected in (
        (lambda: compiled(weights), "rounding"),
        (lambda: rounded_gradient(weights), "undecided"),
    ):
        with doctor.watch(io.StringIO()) as watching:
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()
        assert kinds(watching) == [expected]
        place = watching.reports[0].findings[0].place
        assert place.file == __file__ and place.function == "rounded_gradient"


def test_replicas_of_a_distribution_strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        weights = tf.Variable([0.4, 1.6], name="weights")

    @tf.function
    def step():
        strategy.run(lambda: rounded_gradient(weights))

    with doctor.watch(io.StringIO()) as watching:
        step()
    (finding,) = watching.reports[0].findings
    assert finding.kind == "rounding"
    assert finding.place.text == "loss = tf.reduce_sum(tf.round(weights))"


def test_an_optimizer_that_is_given_none(weights):
    optimizer = keras.optimizers.SGD(0.1)
    with doctor.watch(io.StringIO()) as watching:
        with pytest.raises(ValueError, match="No gradients provided for any variable"):
            optimizer.apply_gradients([(None, weights)])
    (finding,) = watching.reports[0].findings
    assert (finding.variable, finding.kind) == ("weights", "undecided")
    assert finding.place.text == "optimizer.apply_gradients([(None, weights)])"


def test_an_optimizer_says_nothing_that_the_tape_has_said(weights):
    optimizer = keras.optimizers.SGD(0.1)
    with doctor.watch(io.StringIO()) as watching:
        gradient = rounded_gradient(weights)
        with pytest.raises(ValueError, match="No gradients provided for any variable"):
            optimizer.apply_gradients([(gradient, weights)])
        with pytest.raises(ValueError, match="No gradients provided for any variable"):
            optimizer.apply([gradient])
    assert kinds(watching) == ["rounding"]


@pytest.mark.parametrize("named", [False, True])
def test_minimize_of_tensorflow_1(named):
    """Variables that nobody named may be those of another loss."""
    with doctor.watch(io.StringIO()) as watching, tf.Graph().as_default():
        used = tf.compat.v1.get_variable("used", [2])
        other = tf.compat.v1.get_variable("other", [2])
        loss = tf.reduce_sum(used**2)
        variables = {"var_list": [used, other]} if named else {}
        tf.compat.v1.train.AdamOptimizer().minimize(loss, **variables)
    assert kinds(watching) == (["unused"] if named else [])


def test_gradients_of_graphs_inside_tensorflow_are_its_own():
    before = gradients_util._GradientsHelper
    with doctor.watch() as watching:
        assert gradients_util._GradientsHelper is not before

        @tf.function
        def step(x):
            counter = tf.constant(0)
            while counter < 3:
                if x > 0:
                    x = 2.0 * x
                counter += 1
            return x

        x = tf.Variable(1.0)
        with tf.GradientTape() as tape:
            loss = step(x)
        assert tape.gradient(loss, x) == 8.0
    assert watching.reports == []


def test_random_numbers_are_the_same(weights):
    def draw():
        tf.random.set_seed(3)
        values = [float(tf.random.normal([]))]
        rounded_gradient(weights)
        return [*values, float(tf.random.normal([]))]

    alone = draw()
    with doctor.watch(io.StringIO()):
        assert draw() == alone


def test_assert_gradients(weights):
    doctor.assert_gradients(lambda x: tf.reduce_sum(weights * x), [weights], 2.0)
    doctor.assert_gradients(lambda x: tf.reduce_sum(weights * x), weights, x=2.0)
    with pytest.raises(AssertionError, match="weights") as error:
        doctor.assert_gradients(lambda x: tf.reduce_sum(tf.round(weights) * x), [weights], 2.0)
    assert "rounding" in str(error.value) and "test_watch.py" in str(error.value)
    with pytest.raises(ZeroDivisionError):
        doctor.assert_gradients(lambda: 1 / 0, weights)
    with doctor.watch() as watching, pytest.raises(AssertionError):
        doctor.assert_gradients(lambda: tf.round(weights), weights)
    assert watching.reports == []  # it is told once, by the exception


def test_hooks_are_idle_after_an_error_in_a_program(weights):
    with pytest.raises(KeyboardInterrupt), doctor.watch(io.StringIO()):
        raise KeyboardInterrupt
    assert watching_module._session.watches == []
