"""Under ``jit_compile=True``: the same losses, gradients and draws, from TensorFlow's own ops."""

from __future__ import annotations

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import Problem, given

import fastw2v
from fastw2v import samplers
from fastw2v._core import xla

# Each loss and each option once: compilation takes its time.
EVERY_LOSS = [
    ("two labels", "exact", "float32", "keras"),
    ("scalar", "exact", "float64", "variable"),
    ("all options, softmax", "exact", "float64", "variable"),
    ("all options, exact", "exact", "float64", "shards"),
    ("all options, exact", "linear", "float64", "tensor"),
    ("plain", "linear", "float16", "variable"),
    ("no biases", "sampled", "float64", "variable"),
    ("hits kept", "sampled", "bfloat16", "variable"),
    ("all options, softmax", "sampled", "float64", "shards"),
    ("ignored class", "sampled_own", "float64", "variable"),
    ("padded bags, sum", "negatives", "float64", "variable"),
    ("ragged bags", "negatives_own", "float64", "keras"),
    ("hits removed", "tf_nn_softmax", "float64", "variable"),
    ("all options, logistic", "tf_nn_nce", "float64", "tensor shards"),
    ("batch 0", "exact", "float64", "variable"),
    ("batch 0", "sampled_own", "float64", "variable"),
]


class Setting:
    """A problem, its tables as a caller holds them, and a loss that can be run in both ways."""

    def __init__(self, case, loss, dtype="float64", form="variable", **options):
        self.problem = Problem(case, loss, dtype)
        self.tables = given(self.problem.tables, form)
        self.arguments = {name: table.argument for name, table in self.tables.items()}
        self.sources = {name: table.sources for name, table in self.tables.items()}
        self.options = options

    def watch(self, tape):
        for sources in self.sources.values():
            tape.watch(sources)

    def weighted(self):
        loss = self.problem.fused(self.arguments, **self.options)
        return loss, tf.reduce_sum(loss * tf.cast(self.problem.upstream, loss.dtype))

    def loss_and_gradients(self):
        with tf.GradientTape() as tape:
            self.watch(tape)
            loss, total = self.weighted()
        return loss, tape.gradient(total, self.sources)

    def check(self, got, expected, rtol=1e-9, atol=1e-11, factor=1.0):
        """Compares loss and gradients; those of gathered tables have unique, ascending rows."""
        assert got[0].dtype == expected[0].dtype
        np.testing.assert_allclose(got[0], expected[0], rtol=rtol, atol=atol)
        for name, table in self.tables.items():
            kinds = [
                [isinstance(gradient, tf.IndexedSlices) for gradient in gradients[name]]
                for gradients in (got[1], expected[1])
            ]
            assert kinds[0] == kinds[1], name
            np.testing.assert_allclose(
                table.dense(got[1][name]),
                factor * table.dense(expected[1][name]),
                rtol=rtol,
                atol=atol,
                err_msg=name,
            )


def jitted(function):
    return tf.function(function, jit_compile=True)


@pytest.mark.parametrize(("case", "loss", "dtype", "form"), EVERY_LOSS)
def test_loss_and_gradients_are_those_of_the_op(case, loss, dtype, form):
    setting = Setting(case, loss, dtype, form)
    tolerances = {"float64": 1e-9, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}
    setting.check(
        jitted(setting.loss_and_gradients)(),
        setting.loss_and_gradients(),
        rtol=tolerances[dtype],
        atol=1e-11 if dtype == "float64" else tolerances[dtype] / 10,
    )


def test_every_loss_is_met():
    assert {loss for _, loss, _, _ in EVERY_LOSS} == set(cases.LOSSES)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions_and_weights(reduction):
    weight = np.linspace(0.5, 2.0, cases.BY_NAME["ignored"].batch)
    options = {"reduction": reduction, "sample_weight": weight}
    setting = Setting("ignored", "linear", **options)
    setting.problem.upstream = np.float64(1.5)
    setting.check(jitted(setting.loss_and_gradients)(), setting.loss_and_gradients())


@pytest.mark.parametrize("loss", ["exact", "sampled_own"])
def test_products_in_bfloat16(loss):
    setting = Setting("plain", loss, "float32", compute_dtype="bfloat16")
    loss, gradients = jitted(setting.loss_and_gradients)()
    expected, expected_gradients = setting.loss_and_gradients()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for name, table in setting.tables.items():
        truth = table.dense(expected_gradients[name])
        error = np.abs(table.dense(gradients[name]) - truth).max()
        assert error < 2.0**-6 * np.abs(truth).max(), name


@pytest.mark.filterwarnings("ignore::fastw2v.GradientWarning")  # of tables that are fixed
@pytest.mark.parametrize("loss", ["tf_nn_softmax", "tf_nn_nce"])
def test_gradients_of_bfloat16_activations_are_summed_in_float32(loss):
    """Rounded once, at the end: by at most half a unit in the last of 8 bits."""
    problem = Problem("plain", loss, "bfloat16")

    def gradient(tables):
        inputs = tables["activations"]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = problem.fused(tables)
        return tape.gradient(value, inputs)

    got = tf.cast(jitted(gradient)(problem.tables), tf.float64).numpy()
    truth = gradient(problem.in_float64()).numpy()
    assert np.all(np.abs(got - truth) <= 2.0**-8 * np.abs(truth) + 1e-6)


# ---- Where XLA is met ----------------------------------------------------------------------------


def test_contexts():
    """Functions, branches and loops inside a compiled function are compiled with it."""
    met = {}

    def note(where, value):
        met[where] = xla.compiles()
        return value

    @jitted
    def compiled(x):
        note("function", x)
        x = tf.function(lambda x: note("inner function", x))(x)
        x = tf.function(lambda x: note("inner, not compiled", x), jit_compile=False)(x)
        x = tf.cond(x > 0, lambda: note("branch", x), lambda: -x)
        x = tf.while_loop(lambda x: x < 3, lambda x: note("loop", x + 1), [x])[0]
        with tf.init_scope():
            note("init_scope", x)
        return x

    @tf.function
    def plain(x):
        note("plain", x)
        return compiled(x)

    plain(tf.constant(1.0))
    note("eager", None)
    outside = {"init_scope", "plain", "eager"}
    assert met == {where: where not in outside for where in met}
    assert len(met) == 8


@pytest.mark.parametrize("loss", ["exact", "sampled"])
def test_a_tape_outside(loss):
    setting = Setting("two labels", loss)
    with tf.GradientTape() as tape:
        loss, total = jitted(setting.weighted)()
    setting.check((loss, tape.gradient(total, setting.sources)), setting.loss_and_gradients())


def test_a_function_inside_a_branch():
    setting = Setting("two labels", "exact")

    @jitted
    def loss_and_gradients(flag):
        with tf.GradientTape() as tape:
            loss, total = tf.cond(
                flag,
                tf.function(setting.weighted),
                lambda: (
                    tf.zeros(setting.problem.case.batch, tf.float64),
                    tf.zeros([], tf.float64),
                ),
            )
        return loss, tape.gradient(total, setting.sources)

    setting.check(loss_and_gradients(tf.constant(True)), setting.loss_and_gradients())


def test_a_function_that_was_called_outside_first():
    """It is not traced anew inside, so it must be compiled on its own too."""
    weights = tf.Variable(np.ones([CLASSES, DIM]))

    def loss():
        return fastw2v.linear_cross_entropy([1], np.ones([1, DIM]), weights)

    inner = jitted(loss)
    expected = inner()
    np.testing.assert_allclose(jitted(lambda: inner())(), expected)
    plain = tf.function(loss)
    plain()
    with pytest.raises(tf.errors.InvalidArgumentError, match="Fastw2v>SoftmaxLoss"):
        jitted(lambda: plain())()


def test_while_loop():
    """TensorFlow makes the gradient of a loop dense, compiled or not."""
    setting = Setting("plain", "negatives_own")

    def loss_and_gradients(steps):
        with tf.GradientTape() as tape:
            _, value = tf.while_loop(
                lambda i, _: i < steps,
                lambda i, total: (i + 1, total + setting.weighted()[1]),
                (0, tf.constant(0.0, tf.float64)),
                maximum_iterations=5,
            )
        return value, tape.gradient(value, setting.sources)

    three = tf.constant(3)
    setting.check(jitted(loss_and_gradients)(three), tf.function(loss_and_gradients)(three))


def test_second_derivatives():
    problem = Problem("two labels", "linear", "float64")

    def second(tables):
        with tf.GradientTape() as outer:
            outer.watch(tables)
            with tf.GradientTape() as inner:
                inner.watch(tables)
                value = tf.reduce_sum(problem.fused(tables) * problem.upstream)
            norm = tf.reduce_sum(inner.gradient(value, tables["weights"]) ** 2)
        return outer.gradient(norm, tables)

    expected = second(problem.tables)
    for name, gradient in jitted(second)(problem.tables).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


# ---- What is out of range ------------------------------------------------------------------------

ROWS, CLASSES, DIM = 5, 6, 3
GOOD_ID, GOOD_LABEL = 2, 4
# Which of three examples has no loss, and what is wrong with it.
OUT_OF_RANGE = {
    "an id": (1, {"inputs": [GOOD_ID, ROWS, GOOD_ID]}),
    "a negative id": (0, {"inputs": [-1, GOOD_ID, GOOD_ID]}),
    "an id in a bag": (2, {"inputs": [[1, -1], [GOOD_ID, 3], [GOOD_ID, 2**40]]}),
    "an empty bag": (1, {"inputs": [[1, -1], [-1, -1], [GOOD_ID, 0]]}),
    "an id in a ragged bag": (0, {"inputs": tf.ragged.constant([[1, -1], [GOOD_ID], [3, 3]])}),
    "an empty ragged bag": (1, {"inputs": tf.ragged.constant([[1, 3], [], [3, 3]])}),
    "a label": (2, {"labels": [GOOD_LABEL, 0, CLASSES]}),
    "a negative label": (2, {"labels": [[GOOD_LABEL, 1], [0, 0], [0, -1]]}),
    "a candidate": (1, {"sampled_values": ([[1, 2], [0, CLASSES], [2, 2]], None, None)}),
    "a count": (0, {"sampled_values": ([[1], [0], [2]], [[0.0], [0.5], [0.5]], [[1.0]] * 3)}),
}


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
def test_out_of_range_is_nan_without_a_gradient(wrong):
    """Nothing can raise an error in a compiled function. The other examples are as they were."""
    bad, arguments = OUT_OF_RANGE[wrong]
    rng = np.random.default_rng(1)
    tables = [tf.Variable(rng.normal(size=shape)) for shape in [(ROWS, DIM), (CLASSES, DIM)]]
    tables.append(tf.Variable(rng.normal(size=CLASSES)))
    arguments = {"inputs": [GOOD_ID] * 3, "labels": [GOOD_LABEL] * 3, **arguments}

    def run(arguments):
        with tf.GradientTape() as tape:
            loss = fastw2v.softmax_loss(*tables, **arguments)
        gradients = tape.gradient(loss, tables)
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def without_bad(value):
        keep = [b for b in range(3) if b != bad]
        if isinstance(value, tuple):
            return tuple(None if part is None else without_bad(part) for part in value)
        return tf.gather(value, keep)

    loss, gradients = jitted(lambda: run(arguments))()
    assert np.isnan(loss.numpy()).tolist() == [b == bad for b in range(3)]
    good, expected = run({name: without_bad(value) for name, value in arguments.items()})
    np.testing.assert_allclose(np.delete(loss, bad), good, rtol=1e-12)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-12)


def test_a_shared_candidate_out_of_range_concerns_every_example():
    table = tf.Variable(np.ones([CLASSES, DIM]))
    loss = jitted(
        lambda: fastw2v.negative_sampling_loss(
            table, table, [0, 1], [1, 2], sampled_values=[3, CLASSES]
        )
    )()
    assert np.all(np.isnan(loss))


def test_sizes_that_differ_are_not_broadcast():
    table = tf.Variable(np.ones([CLASSES, DIM]))

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None], tf.int64)] * 2)
    def loss(inputs, labels):
        return fastw2v.softmax_loss(table, table, None, inputs, labels)

    assert loss([1, 2], [3, 3]).shape == [2]
    with pytest.raises(tf.errors.InvalidArgumentError):
        loss([1, 2], [3])


# ---- Rows of gradients ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "size", "expected"),
    [
        ([5, 2, 5, 5], 9, [0, 1, 2, 5]),  # the smallest other rows fill up
        ([0, 1, 0, 1, 3], 4, [0, 1, 2, 3]),  # more ids than rows
        ([-1, 7, 3], 7, [0, 1, 3]),  # two of these pick nothing
        ([8, 6, 7], 9, [6, 7, 8]),
        ([], 4, []),
    ],
)
def test_unique_rows(ids, size, expected):
    rows, position = jitted(xla.unique_rows)(
        tf.constant(ids, tf.int64), tf.constant(size, tf.int64)
    )
    assert rows.numpy().tolist() == expected
    for id, place in zip(ids, position.numpy(), strict=True):
        assert place == -1 if not 0 <= id < size else rows[place] == id


# ---- Samplers ------------------------------------------------------------------------------------

COUNTS = np.maximum(1000 // np.arange(1, 41) - 25, 0)  # the last ones are never drawn
LISTS = {
    "a draw that is not unique": ("uniform", 2**40, 100, False, False),
    "lists that are not unique": ("unigram", len(COUNTS), 30, False, True),
    "a unique list": ("log_uniform", 1000, 60, True, False),
    "lists of all classes, by their draws": (
        "unigram",
        len(COUNTS),
        np.sum(COUNTS > 0),
        True,
        True,
    ),
    "nearly full lists, by a race": ("log_uniform", 6000, 5990, True, True),
}


def make_sampler(name, num_classes, unique):
    if name == "unigram":
        return samplers.Unigram(COUNTS, unique=unique)
    return samplers.resolve(name, num_classes, unique)


@pytest.mark.parametrize("which", LISTS)
def test_draws_are_those_of_the_op(which):
    name, num_classes, num_sampled, unique, per_example = LISTS[which]
    sampler = make_sampler(name, num_classes, unique)
    labels = np.random.default_rng(1).integers(0, num_classes, [2, 3])

    def draw(seed):
        return sampler.sample(labels, num_sampled, seed=seed, per_example=per_example)

    compiled = jitted(draw)
    for seed in [(1, 2), (-5, 2**62), (0, -1)]:
        got, expected = compiled(tf.constant(seed)), draw(seed)
        np.testing.assert_array_equal(got.sampled_candidates, expected.sampled_candidates)
        for ours, theirs in zip(got[1:], expected[1:], strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=2e-7)  # a last bit of float32


def test_millions_of_log_uniform_draws():
    """Two exponential functions decide the same class."""
    sampler = samplers.LogUniform(10**6, unique=False)

    def draw(seed):
        return sampler.sample([[0]], 2**21, seed=seed).sampled_candidates

    np.testing.assert_array_equal(jitted(draw)(tf.constant([3, 4])), draw((3, 4)))


def test_a_list_that_cannot_be_filled():
    """One of the two classes is drawn once in 10^14 times."""
    sampler = samplers.Unigram([1, 10**14] + [0] * 7, power=1)
    values = jitted(lambda: sampler.sample([[1]], 2, seed=(1, 2)))()
    assert values.sampled_candidates.numpy().tolist() == [-1, -1]
    assert np.isnan(values.true_expected_count).all()
    with pytest.raises(tf.errors.ResourceExhaustedError):
        sampler.sample([[1]], 2, seed=(1, 2))


def test_a_true_class_out_of_range():
    sampler = samplers.Uniform(4, unique=False)
    values = jitted(lambda: sampler.sample([[3, 4]], 1, seed=(1, 2)))()
    assert np.isnan(values.true_expected_count).tolist() == [[False, True]]


def test_more_samples_than_classes():
    for sampler in (samplers.Uniform(4), samplers.Unigram([1, 0, 2, 1, 1])):
        for draw in (sampler.sample, jitted(sampler.sample)):
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"5 is not in \[1, 4\]"):
                draw([[0]], 5, seed=(1, 2))


def test_without_a_seed_each_call_draws_anew():
    sampler = samplers.Uniform(2**40, unique=False)
    draw = jitted(lambda seed: sampler.sample([[0]], 4, seed=seed).sampled_candidates)
    for seed in (None, 7):
        assert np.all(draw(seed) != draw(seed))


def test_a_sampler_made_of_what_the_function_computes():
    with pytest.raises(ValueError, match="make the sampler outside"):
        jitted(lambda counts: samplers.Unigram(counts).sample([[0]], 1)[0])(tf.constant([1.0]))


# ---- Keras ---------------------------------------------------------------------------------------

VOCABULARY, WIDTH = 40, 8


class SkipGram(keras.Model):
    """The model of the README, its draws decided by the batch."""

    def __init__(self):
        super().__init__()
        options = {"initializer": "random_normal", "autocast": False}
        self.embeddings = self.add_weight(shape=(VOCABULARY, WIDTH), **options)
        self.context = self.add_weight(shape=(VOCABULARY, WIDTH), **options)

    def train_step(self, data):
        centers, contexts = data
        seed = tf.cast(tf.stack([centers[0], contexts[0]]), tf.int64)
        with tf.GradientTape() as tape:
            loss = fastw2v.negative_sampling_loss(
                self.embeddings, self.context, centers, contexts, 5, reduction="mean", seed=seed
            )
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"nats": loss}


def trained(make, jit_compile, optimizer, data):
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(optimizer=optimizer(0.1), jit_compile=jit_compile)
    history = model.fit(*data, batch_size=32, epochs=2, shuffle=False, verbose=0)
    (losses,) = history.history.values()
    return losses, model.get_weights()


def check_training(make, optimizer, data):
    losses, weights = trained(make, True, optimizer, data)
    expected_losses, expected_weights = trained(make, False, optimizer, data)
    assert losses[1] < losses[0]
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for ours, theirs in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_keras_fit_with_a_train_step():
    """Each batch holds words several times, which Keras' optimizers do not sum; the last one is
    smaller."""
    words = np.arange(48) ** 2 % 7
    check_training(SkipGram, keras.optimizers.Adagrad, (words, (words + 1) % VOCABULARY))


class Head(keras.layers.Layer):
    def build(self, shapes):
        self.kernel = self.add_weight(shape=(VOCABULARY, WIDTH), initializer="random_normal")

    def call(self, inputs):
        hidden, labels = inputs
        self.add_loss(fastw2v.linear_cross_entropy(labels, hidden, self.kernel, reduction="mean"))
        return hidden


def test_keras_fit_with_add_loss():
    def make():
        words, contexts = keras.Input([], dtype="int32"), keras.Input([], dtype="int32")
        hidden = keras.layers.Embedding(VOCABULARY, WIDTH)(words)
        return keras.Model([words, contexts], Head()([hidden, contexts]))

    words = np.arange(64) % VOCABULARY
    check_training(make, keras.optimizers.Adam, ([words, (words + 1) % VOCABULARY],))
