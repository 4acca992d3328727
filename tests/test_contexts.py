"""Losses and gradients wherever TensorFlow runs them: tapes, functions, control flow, Keras, a
SavedModel, several threads."""

from __future__ import annotations

import threading

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import Problem, given, gradients_of, run_python, to_dense

import fastw2v

each_loss = pytest.mark.parametrize("loss", cases.LOSSES)
# Each op, each source of hidden rows, each kind of candidates: enough where tracing takes its time.
some_losses = pytest.mark.parametrize("loss", ["exact", "sampled", "negatives_own", "tf_nn_nce"])
each_form = pytest.mark.parametrize("form", ["variable", "keras", "tensor", "shards"])


class Setting:
    """A problem, its tables as a caller holds them, and the gradients that must come out."""

    def __init__(self, loss: str, form: str = "variable", case: str = "two labels") -> None:
        self.problem = Problem(case, loss, "float64")
        self.tables = given(self.problem.tables, form)
        self.arguments = {name: table.argument for name, table in self.tables.items()}
        self.sources = {name: table.sources for name, table in self.tables.items()}
        self.expected = gradients_of(
            self.problem.reference, self.problem.tables, self.problem.upstream
        )

    def loss(self) -> tf.Tensor:
        return self.problem.fused(self.arguments)

    def weighted(self) -> tf.Tensor:
        return tf.reduce_sum(self.loss() * self.problem.upstream)

    def check(self, gradients, factor: float = 1.0) -> None:
        assert gradients.keys() == self.expected.keys()
        for name, table in self.tables.items():
            np.testing.assert_allclose(
                table.dense(gradients[name]),
                factor * self.expected[name],
                rtol=1e-9,
                atol=1e-11,
                err_msg=name,
            )

    @property
    def watched(self) -> list:
        """The sources that a tape does not watch by itself."""
        sources = [source for sources in self.sources.values() for source in sources]
        return [source for source in sources if not isinstance(source, tf.Variable)]


# ---- Tapes ---------------------------------------------------------------------------------------


@each_form
@each_loss
def test_an_eager_tape(loss, form):
    setting = Setting(loss, form)
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = setting.weighted()
    setting.check(tape.gradient(value, setting.sources))


@each_loss
def test_a_persistent_tape(loss):
    setting = Setting(loss)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(setting.watched)
        once = setting.weighted()
        thrice = 3 * once
    setting.check(tape.gradient(once, setting.sources))
    setting.check(tape.gradient(thrice, setting.sources), 3)
    setting.check(tape.gradient(once, setting.sources))


@each_loss
def test_a_tape_that_watches_what_it_is_told(loss):
    setting = Setting(loss)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(setting.sources)
        value = setting.weighted()
    setting.check(tape.gradient(value, setting.sources))


@each_loss
def test_two_losses_on_one_tape(loss):
    setting = Setting(loss)
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = setting.weighted() + 2 * setting.weighted()
    gradients = tape.gradient(value, setting.sources)
    summed = {  # the rows of both losses, one after the other
        name: [tf.convert_to_tensor(part) for part in parts] for name, parts in gradients.items()
    }
    setting.check(summed, 3)


# ---- Functions -----------------------------------------------------------------------------------


@each_form
@some_losses
def test_a_function_with_a_tape_inside(loss, form):
    setting = Setting(loss, form)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(setting.watched)
            value = setting.weighted()
        return tape.gradient(value, setting.sources)

    setting.check(gradients())
    setting.check(gradients())


@each_form
@some_losses
def test_a_function_inside_a_tape(loss, form):
    setting = Setting(loss, form)
    function = tf.function(setting.weighted)
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = function()
    setting.check(tape.gradient(value, setting.sources))


@some_losses
def test_a_second_derivative_in_a_function(loss):
    setting = Setting(loss)

    def second(loss, sources):
        with tf.GradientTape() as outer:
            outer.watch(sources)
            with tf.GradientTape() as inner:
                inner.watch(sources)
                value = tf.reduce_sum(loss(sources) * setting.problem.upstream)
            gradient = tf.convert_to_tensor(inner.gradient(value, sources["weights"]))
            norm = tf.reduce_sum(gradient**2)
        return outer.gradient(norm, sources, unconnected_gradients="zero")

    got = tf.function(lambda: second(setting.problem.fused, setting.arguments))()
    expected = second(setting.problem.reference, setting.problem.tables)
    for name, gradient in got.items():
        np.testing.assert_allclose(
            to_dense(gradient, setting.arguments[name].shape),
            tf.convert_to_tensor(expected[name]),
            rtol=1e-9,
            atol=1e-11,
            err_msg=name,
        )


@each_loss
def test_cond(loss):
    setting = Setting(loss)

    @tf.function
    def gradients(flag):
        with tf.GradientTape() as tape:
            tape.watch(setting.watched)
            value = tf.cond(flag, setting.weighted, lambda: tf.constant(0.0, tf.float64))
        return tape.gradient(value, setting.sources)

    setting.check(gradients(tf.constant(True)))
    setting.check(gradients(tf.constant(False)), 0)


@each_loss
def test_while_loop(loss):
    """The gradient of a loop accumulates; TensorFlow makes it dense."""
    setting = Setting(loss)

    @tf.function
    def gradients(steps):
        with tf.GradientTape() as tape:
            tape.watch(setting.watched)
            _, value = tf.while_loop(
                lambda i, _: i < steps,
                lambda i, total: (i + 1, total + setting.weighted()),
                (0, tf.constant(0.0, tf.float64)),
            )
        return tape.gradient(value, setting.sources)

    setting.check(gradients(tf.constant(3)), 3)


@some_losses
def test_a_loop_that_trains(loss):
    """Variables change inside a function's loop; every loss sees the latest values."""
    setting = Setting(loss)
    plain = [tf.Variable(table) for table in setting.problem.tables.values()]
    variables = [tf.Variable(table) for table in setting.problem.tables.values()]

    @tf.function
    def train(function, variables):
        losses = tf.TensorArray(tf.float64, 5)
        for step in tf.range(5):
            with tf.GradientTape() as tape:
                named = dict(zip(setting.problem.tables, variables, strict=True))
                value = tf.reduce_sum(function(named))
            losses = losses.write(step, value)
            for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
                variable.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        return losses.stack()

    def by_reference(named):
        return setting.problem.reference(
            {name: tf.convert_to_tensor(variable) for name, variable in named.items()}
        )

    got = train(setting.problem.fused, variables)
    assert got[-1] < got[0]
    np.testing.assert_allclose(got, train(by_reference, plain), rtol=1e-9)
    for ours, theirs in zip(variables, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_readers_of_a_variable_are_not_serialized():
    """Automatic control dependencies order writers; losses only read."""
    setting = Setting("exact")
    graph = tf.function(lambda: (setting.loss(), setting.loss())).get_concrete_function().graph
    ops = [op for op in graph.get_operations() if op.type == "Fastw2v>SoftmaxLoss"]
    assert len(ops) == 2
    assert all(not op.control_inputs for op in ops)


def test_a_recompute_block():
    setting = Setting("linear")
    block = tf.recompute_grad(
        lambda *tables: setting.problem.fused(
            dict(zip(setting.problem.tables, tables, strict=True))
        )
    )
    tables = list(setting.problem.tables.values())
    with tf.GradientTape() as tape:
        tape.watch(tables)
        value = tf.reduce_sum(block(*tables) * setting.problem.upstream)
    gradients = tape.gradient(value, tables)
    for gradient, expected in zip(gradients, setting.expected.values(), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-11)


# ---- Keras ---------------------------------------------------------------------------------------

VOCABULARY, WIDTH = 40, 8


class SkipGram(keras.Model):
    """Trains on (word, context) with the loss in train_step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embeddings = self.add_weight(shape=(VOCABULARY, WIDTH), initializer="random_normal")
        self.contexts = self.add_weight(shape=(VOCABULARY, WIDTH), initializer="random_normal")
        self.bias = self.add_weight(shape=(VOCABULARY,), initializer="zeros")

    def call(self, words):
        return tf.gather(self.embeddings, words)

    def train_step(self, data):
        words, contexts = data
        options = {} if self.kind == "exact" else {"num_sampled": 10, "seed": 7}
        if self.kind == "negatives":
            tables = (self.embeddings, self.contexts)
            function = fastw2v.negative_sampling_loss
        else:
            tables = (self.embeddings, self.contexts, self.bias)
            function = fastw2v.softmax_loss
        with tf.GradientTape() as tape:
            loss = function(*tables, words, contexts, reduction="mean", **options)
        variables = [table.value for table in tables]
        self.optimizer.apply(tape.gradient(loss, variables), list(tables))
        return {"nats": loss}


class Head(keras.layers.Layer):
    """Adds its loss itself, as a last layer."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.supports_jit = False

    def build(self, shapes):
        options = {"initializer": "random_normal", "autocast": False}
        self.kernel = self.add_weight(shape=(VOCABULARY, WIDTH), **options)
        self.bias = self.add_weight(shape=(VOCABULARY,), **options)

    def call(self, inputs):
        hidden, labels = inputs
        self.add_loss(
            fastw2v.linear_cross_entropy(labels, hidden, self.kernel, self.bias, reduction="mean")
        )
        return hidden


def words_and_contexts():
    words = np.arange(VOCABULARY * 8) % VOCABULARY
    return words, (words + 1) % VOCABULARY


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("kind", ["exact", "sampled", "negatives"])
def test_keras_fit_with_a_train_step(kind, run_eagerly):
    keras.utils.set_random_seed(1)
    model = SkipGram(kind)
    model.compile(optimizer=keras.optimizers.SGD(2.0), run_eagerly=run_eagerly)
    before = [weight.numpy() for weight in model.trainable_weights]
    history = model.fit(*words_and_contexts(), batch_size=32, epochs=8, verbose=0)
    losses = history.history["nats"]
    assert losses[-1] < losses[0] - 0.1
    changed = [np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert changed == [True, True, kind != "negatives"]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_keras_fit_with_add_loss(policy):
    keras.utils.set_random_seed(1)
    words = keras.Input([], dtype="int32")
    contexts = keras.Input([], dtype="int32")
    hidden = keras.layers.Embedding(VOCABULARY, WIDTH, dtype=policy)(words)
    model = keras.Model([words, contexts], Head(dtype=policy)([hidden, contexts]))
    optimizer = keras.optimizers.SGD(2.0)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer)
    before = model.get_weights()
    history = model.fit(list(words_and_contexts()), batch_size=32, epochs=8, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0] - 0.1
    for old, new in zip(before, model.get_weights(), strict=True):
        assert new.dtype == np.float32
        assert np.any(old != new)


# ---- SavedModel ----------------------------------------------------------------------------------

LOAD = """
import sys
import numpy as np
import tensorflow as tf
import fastw2v  # the op must be registered

loaded = tf.saved_model.load(sys.argv[1])
loss, rows, values = loaded.loss_and_gradient(tf.constant([1, 2, 2]), tf.constant([3, 0, 3]))
np.savez(sys.argv[2], loss=loss, rows=rows, values=values)
"""


def test_a_saved_model_in_another_process(tmp_path):
    rng = np.random.default_rng(3)
    module = tf.Module()
    module.embeddings = tf.Variable(rng.normal(size=[5, 4]))
    module.weights = tf.Variable(rng.normal(size=[6, 4]))
    module.biases = tf.Variable(rng.normal(size=[6]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)] * 2)
    def loss_and_gradient(inputs, labels):
        with tf.GradientTape() as tape:
            loss = fastw2v.softmax_loss(
                module.embeddings, module.weights, module.biases, inputs, labels
            )
        gradient = tape.gradient(loss, module.embeddings)
        return loss, gradient.indices, gradient.values

    module.loss_and_gradient = loss_and_gradient
    expected = loss_and_gradient(tf.constant([1, 2, 2]), tf.constant([3, 0, 3]))
    tf.saved_model.save(module, str(tmp_path / "model"))
    run_python(LOAD, str(tmp_path / "model"), str(tmp_path / "results.npz"))
    got = np.load(tmp_path / "results.npz")
    np.testing.assert_array_equal(got["loss"], expected[0])
    np.testing.assert_array_equal(got["rows"], expected[1])
    np.testing.assert_array_equal(got["values"], expected[2])


# ---- Threads -------------------------------------------------------------------------------------


def run_together(*functions):
    """Runs each function in a thread of its own and raises what any of them raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive(), "deadlock"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("loss", ["exact", "sampled", "negatives_own"])
def test_two_threads_read_one_variable(loss):
    setting = Setting(loss, case="batch 97")

    def work():
        for _ in range(20):
            with tf.GradientTape() as tape:
                value = setting.weighted()
            setting.check(tape.gradient(value, setting.sources))

    run_together(work, work)


class Updates:
    """Changes a variable back and forth for as long as the block runs."""

    def __init__(self, update, variable):
        self._values = [variable.numpy(), -variable.numpy()]
        self._update = update
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            for value in reversed(self._values):
                self._update(value)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive(), "deadlock"


@pytest.mark.parametrize("loss", ["exact", "sampled"])
def test_one_thread_reads_while_another_assigns(loss):
    """A reader sees a whole assignment or none of it: a variable is held while it is read."""
    setting = Setting(loss, case="batch 97")
    weights = setting.arguments["weights"]
    before, values = weights.numpy(), set()
    for factor in (-1, 1):
        weights.assign(factor * before)
        values.add(setting.loss().numpy().tobytes())
    assert len(values) == 2
    with Updates(weights.assign, weights):
        seen = {setting.loss().numpy().tobytes() for _ in range(300)}
    assert seen <= values


@pytest.mark.parametrize("loss", ["exact", "sampled"])
def test_one_thread_reads_while_another_updates_rows(loss):
    """TensorFlow's sparse updates and other readers go on together, so rows may be old or new."""
    setting = Setting(loss, case="batch 97")
    weights = setting.arguments["weights"]
    rows = np.arange(weights.shape[0])

    def update(values):
        weights.scatter_update(tf.IndexedSlices(values, rows))

    with Updates(update, weights):
        for _ in range(100):
            with tf.GradientTape() as tape:
                value = setting.weighted()
            gradients = tape.gradient(value, setting.sources)
            for name, table in setting.tables.items():
                assert np.all(np.isfinite(table.dense(gradients[name])))
    with tf.GradientTape() as tape:
        value = setting.weighted()
    setting.check(tape.gradient(value, setting.sources))
