"""The fused training step against the loss, a tape and the optimizer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v import optimizers

ROWS, CLASSES, DIM, BATCH = 30, 40, 6, 12

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1, weight_decay=0.01, lazy=True),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, lazy=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "rowwise_adagrad": lambda: optimizers.RowwiseAdagrad(0.1),
    "adam": lambda: optimizers.Adam(0.1, use_ema=True, lazy=True),
    "amsgrad": lambda: optimizers.Adam(0.1, amsgrad=True, lazy=True),
    "adam_pending": lambda: optimizers.AdamW(0.1, lazy=False),
    "ftrl": lambda: optimizers.Ftrl(0.1, lazy=True),
    "lion": lambda: optimizers.Lion(0.01),
    "clipping": lambda: optimizers.Adam(0.1, global_clipnorm=0.1, lazy=True),  # not in one op
    "accumulating": lambda: optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "scaling": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.1)),
    "keras": lambda: keras.optimizers.SGD(0.1),
}


class Tables:
    """Fresh variables, always the same."""

    def __init__(self, dtype="float32", seed=0):
        rng = np.random.default_rng(seed)

        def variable(*shape):
            return tf.Variable(tf.cast(rng.normal(size=shape), dtype))

        self.embeddings = variable(ROWS, DIM)
        self.weights = variable(CLASSES, DIM)
        self.biases = variable(CLASSES)
        self.all = [self.embeddings, self.weights, self.biases]


def softmax(tables, ids, labels, seed, activations, **options):
    return fastw2v.softmax_loss, (*tables.all, ids, labels), options


def sampled(tables, ids, labels, seed, activations, **options):
    options |= {"num_sampled": 7, "seed": seed}
    return fastw2v.softmax_loss, (*tables.all, ids, labels), options


def negatives(tables, ids, labels, seed, activations, **options):
    options |= {"num_sampled": 3, "seed": seed}
    return fastw2v.negative_sampling_loss, (*tables.all[:2], ids, labels), options


def linear(tables, ids, labels, seed, activations, **options):
    return fastw2v.linear_cross_entropy, (labels, activations, *tables.all[1:]), options


def nce(tables, ids, labels, seed, activations, **options):
    arguments = (*tables.all[1:], labels[:, None], activations, 7, CLASSES)
    return fastw2v.nce_loss, arguments, options | {"seed": seed}


LOSSES = (softmax, sampled, negatives, linear, nce)


def batch(i):
    rng = np.random.default_rng([1, i])
    ids, labels = rng.integers(ROWS, size=BATCH), rng.integers(CLASSES, size=BATCH)
    return ids, labels, (5, i), tf.constant(rng.normal(size=(BATCH, DIM)).astype(np.float32))


def train(make_optimizer, loss, steps=4, fused=True, function=False, **options):
    """Losses, tables and gradients of activations after a few steps."""
    tables, optimizer = Tables(), make_optimizer()
    used = tables.all
    if loss is negatives:
        used = used[:2]
    elif loss in (linear, nce):
        used = used[1:]
    optimizer.build(used)

    def step(ids, labels, seed, activations):
        with tf.GradientTape() as tape:
            tape.watch(activations)
            call, arguments, keywords = loss(tables, ids, labels, seed, activations, **options)
            if fused:
                value = fastw2v.train_step(optimizer, call, *arguments, **keywords)
            else:
                value = call(*arguments, **{"reduction": "mean", **keywords})
                scaled = optimizer.scale_loss(value)
        if fused:
            return value, tape.gradient(value, activations)
        *grads, d_activations = tape.gradient(scaled, [*used, activations])
        optimizer.apply_gradients(zip(grads, used, strict=True))
        if d_activations is not None:
            d_activations /= optimizer.scale_loss(1.0)
        return value, d_activations

    step = tf.function(step) if function else step
    results = []
    for i in range(steps):
        ids, labels, seed, activations = batch(i)
        ids, labels, seed = (tf.constant(x, tf.int64) for x in (ids, labels, seed))
        results += [x for x in step(ids, labels, seed, activations) if x is not None]
    if hasattr(optimizer, "finalize_variable_values"):
        optimizer.finalize_variable_values(used)
    return [np.asarray(value) for value in (*results, *tables.all)]


def assert_close(got, expected, tolerance=1e-5):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_equals_the_loss_with_a_tape(loss, name):
    got = train(OPTIMIZERS[name], loss)
    assert_close(got, train(OPTIMIZERS[name], loss, fused=False))
    assert not np.array_equal(got[-2], Tables().weights)


@pytest.mark.parametrize("name", ["adagrad", "adam_pending"])
@pytest.mark.parametrize("loss", LOSSES)
def test_in_a_function(loss, name):
    got = train(OPTIMIZERS[name], loss, function=True)
    assert_close(got, train(OPTIMIZERS[name], loss, fused=False))


@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "sum"},
        {"sample_weight": np.linspace(0.0, 2.0, BATCH, dtype=np.float32)},
        {"ignore_label": 3, "logit_scale": 0.5, "logit_softcap": 4.0},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize("loss", LOSSES)
def test_options_of_the_losses(loss, options):
    got = train(OPTIMIZERS["adagrad"], loss, **options)
    assert_close(got, train(OPTIMIZERS["adagrad"], loss, fused=False, **options))


@pytest.mark.parametrize("loss", [softmax, linear])
def test_options_of_exact_losses(loss):
    options = {"label_smoothing": 0.25, "margin": 0.75}
    got = train(OPTIMIZERS["adagrad"], loss, **options)
    assert_close(got, train(OPTIMIZERS["adagrad"], loss, fused=False, **options))
    assert got[0] > train(OPTIMIZERS["adagrad"], loss, label_smoothing=0.25)[0] + 0.1


def test_bags_and_scalars():
    for inputs, labels in (
        ([[1, 2, -1], [3, -1, -1]], [4, 5]),
        (tf.ragged.constant([[1, 2], [3]]), [4, 5]),
        (7, 9),
    ):
        tables, others = Tables(), Tables()
        optimizer = optimizers.SGD(0.5)
        value = fastw2v.train_step(
            optimizer, fastw2v.softmax_loss, *tables.all, inputs, labels, combiner="sum"
        )
        with tf.GradientTape() as tape:
            expected = fastw2v.softmax_loss(
                *others.all, inputs, labels, combiner="sum", reduction="mean"
            )
        optimizers.SGD(0.5).apply_gradients(
            zip(tape.gradient(expected, others.all), others.all, strict=True)
        )
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert_close(tables.all, others.all)


def test_frozen_tables_stay():
    tables = Tables()
    frozen = tf.Variable(tables.embeddings, trainable=False)
    optimizer = optimizers.Adagrad(0.5)
    fastw2v.train_step(
        optimizer, fastw2v.softmax_loss, frozen, tables.weights, None, [1, 2], [3, 4]
    )
    np.testing.assert_array_equal(frozen, tables.embeddings)
    assert not np.array_equal(tables.weights, Tables().weights)
    assert len(optimizer.variables) == 3  # iterations, learning rate, one slot


def test_one_variable_as_both_tables_and_tables_in_shards():
    table, twin = (tf.Variable(Tables().weights) for _ in range(2))
    optimizer = optimizers.Adagrad(0.1)
    fastw2v.train_step(optimizer, fastw2v.softmax_loss, table, table, None, [1, 2], [3, 4])
    with tf.GradientTape() as tape:
        loss = fastw2v.softmax_loss(twin, twin, None, [1, 2], [3, 4], reduction="mean")
    keras.optimizers.Adagrad(0.1).apply_gradients(
        [(tf.convert_to_tensor(tape.gradient(loss, twin)), twin)]
    )
    np.testing.assert_allclose(table, twin, rtol=1e-5, atol=1e-6)

    tables = Tables()
    shards = [tf.Variable(part) for part in tf.split(tables.weights, 2)]
    optimizer = optimizers.SGD(0.1)
    fastw2v.train_step(optimizer, fastw2v.softmax_loss, tables.embeddings, shards, None, [1], [3])
    whole = Tables()
    fastw2v.train_step(
        optimizers.SGD(0.1), fastw2v.softmax_loss, whole.embeddings, whole.weights, None, [1], [3]
    )
    assert_close([tf.concat(shards, 0)], [whole.weights])


def test_keras_variables_and_constraints():
    def variable(constraint=None):
        value = keras.Variable(Tables().weights.numpy(), name="table")
        value.constraint = constraint
        return value

    plain, clipped = variable(), variable(lambda x: tf.clip_by_value(x, -0.5, 0.5))
    for table in (plain, clipped):
        optimizer = optimizers.SGD(0.1)
        fastw2v.train_step(optimizer, fastw2v.softmax_loss, table, table, None, [1], [3])
    assert np.max(np.abs(plain)) > 0.5
    assert np.max(np.abs(clipped)) <= 0.5


def test_16_bit_and_float64_tables():
    for dtype, tolerance in (("float64", 1e-12), ("float16", 2e-2), ("bfloat16", 1e-1)):
        results = []
        for fused in (True, False):
            tables, optimizer = Tables(dtype), optimizers.Adagrad(0.1)
            optimizer.build(tables.all)
            arguments = (*tables.all, [1, 2, 1], [3, 4, 3])
            if fused:
                fastw2v.train_step(optimizer, fastw2v.softmax_loss, *arguments)
            else:
                with tf.GradientTape() as tape:
                    loss = fastw2v.softmax_loss(*arguments, reduction="mean")
                grads = tape.gradient(loss, tables.all)
                optimizer.apply_gradients(zip(grads, tables.all, strict=True))
            results.append([tf.cast(table, tf.float64).numpy() for table in tables.all])
        assert_close(*results, tolerance)


def test_under_xla_the_step_is_composed():
    tables, optimizer = Tables(), optimizers.Adagrad(0.1)
    optimizer.build(tables.all)

    @tf.function(jit_compile=True)
    def step(ids, labels):
        return fastw2v.train_step(optimizer, fastw2v.softmax_loss, *tables.all, ids, labels)

    other = Tables()
    ids, labels = tf.constant([1, 2, 1]), tf.constant([3, 4, 3])
    value = step(ids, labels)
    expected = fastw2v.train_step(
        optimizers.Adagrad(0.1), fastw2v.softmax_loss, *other.all, ids, labels
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_close(tables.all, other.all)


def test_in_a_distribution_strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        tables, optimizer = Tables(), optimizers.Adagrad(0.1)
        optimizer.build(tables.all)
    other = Tables()

    @tf.function
    def step():
        return strategy.run(
            lambda: fastw2v.train_step(optimizer, fastw2v.softmax_loss, *tables.all, [1, 2], [3, 4])
        )

    step()
    fastw2v.train_step(optimizers.Adagrad(0.1), fastw2v.softmax_loss, *other.all, [1, 2], [3, 4])
    assert_close(tables.all, other.all)


def test_bad_arguments_change_nothing():
    tables, optimizer = Tables(), optimizers.Adam(0.1, lazy=True)
    optimizer.build(tables.all)
    loss = fastw2v.softmax_loss
    cases = (
        (ValueError, 'reduction = "none" is not one of', {"reduction": "none"}),
        (ValueError, "logit_scale = 'a' is not a Python number", {"logit_scale": "a"}),
        (TypeError, "softmax_loss: got an unexpected keyword argument 'scale'", {"scale": 2}),
    )
    for error, message, options in cases:
        with pytest.raises(error, match=message):
            fastw2v.train_step(optimizer, loss, *tables.all, [1], [2], **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels\[0,0\]|labels\[0\]"):
        fastw2v.train_step(optimizer, loss, *tables.all, [1], [CLASSES])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"inputs\[0\] = 30 is not in"):
        fastw2v.train_step(optimizer, loss, *tables.all, [ROWS], [2])
    with pytest.raises(ValueError, match="is not one of the losses of fastw2v"):
        fastw2v.train_step(optimizer, tf.nn.nce_loss, *tables.all, [1], [2])
    with pytest.raises(ValueError, match="none of embeddings, weights, biases is a trainable"):
        constants = [tf.constant(table) for table in tables.all]
        fastw2v.train_step(optimizer, loss, *constants, [1], [2])
    assert int(optimizer.iterations) == 0
    assert_close(tables.all, Tables().all, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_finite_is_refused_and_changes_nothing(loss):
    tables, optimizer = Tables(), optimizers.Adagrad(0.1)
    broken = np.array(tables.weights)
    broken[3, 1] = np.nan
    tables.weights.assign(broken)
    ids, labels, seed, activations = batch(0)
    call, arguments, options = loss(tables, ids, np.full_like(labels, 3), seed, activations)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"loss\[0,0\] = -?nan is not finite"):
        fastw2v.train_step(optimizer, call, *arguments, **options)
    np.testing.assert_array_equal(tables.weights, broken)
    np.testing.assert_array_equal(tables.embeddings, Tables().embeddings)
    assert int(optimizer.iterations) == 0


def test_the_same_step_gives_the_same_bits():
    first = train(OPTIMIZERS["adam"], sampled)
    again = train(OPTIMIZERS["adam"], sampled)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_share_tables_whose_rows_stand_still_for_none():
    """After one thread has applied the pending updates of its rows, and before its own update,
    another thread may update the tables: the step applies those, too."""
    optimizer = optimizers.Adam(0.01, lazy=False)
    tables = [tf.Variable(tf.ones([50, 4])) for _ in range(2)]
    optimizer.build(tables)
    steps, threads = 150, 2

    def train(seed):
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            inputs, labels = rng.integers(50, size=[2, 8])
            fastw2v.train_step(
                optimizer,
                fastw2v.negative_sampling_loss,
                *tables,
                inputs=inputs,
                labels=labels,
                num_sampled=3,
                seed=(seed, 0),
            )

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(train, range(threads)))  # raises what a thread has raised
    for history in [value for value in optimizer.variables if value.name == "history"]:
        assert history[0, 0] == threads * steps
    optimizer.finalize()
    assert all(np.isfinite(table).all() for table in tables)


def test_what_is_no_optimizer_and_tables_of_text_are_refused():
    tables = tf.Variable(tf.ones([5, 2])), tf.Variable(tf.ones([5, 2]))
    for optimizer in ("adam", None, tf.Variable(1.0)):
        with pytest.raises(ValueError, match="optimizer = .* is not an optimizer of fastw2v or"):
            fastw2v.train_step(
                optimizer, fastw2v.softmax_loss, *tables, None, inputs=[1], labels=[2]
            )
    text = tf.Variable([["a", "b"]])
    optimizer = fastw2v.optimizers.Adagrad(0.1)
    with pytest.raises(ValueError, match="embeddings has dtype string, expected one of float32"):
        fastw2v.train_step(
            optimizer, fastw2v.softmax_loss, text, tables[1], None, inputs=[0], labels=[0]
        )
