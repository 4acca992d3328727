"""An exact softmax loss from parts of the classes: the loss of all classes and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v._losses import parts

CLASSES, DIM, BATCH, NUM_TRUE, IGNORED = 103, 9, 14, 3, -7
CUTS = {
    "three": [0, 40, 71, 103],
    "one": [0, 103],
    "empty": [0, 0, 60, 60, 103],
    "many": [*range(0, 100, 5), 103],
}
OPTIONS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "z_loss": {"z_loss": 1e-2},
    "capped": {"logit_softcap": 3.0},
    "all": {"label_smoothing": 0.2, "z_loss": 1e-2, "logit_softcap": 4.0, "logit_scale": 0.7},
}


def problem(dtype=tf.float64, classes=CLASSES, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, [BATCH, NUM_TRUE])
    labels[3, 1] = labels[5] = IGNORED
    labels[6] = 41  # a label that counts three times
    hidden, weights, biases = (
        tf.cast(rng.normal(size=shape), dtype)
        for shape in ([BATCH, DIM], [classes, DIM], [classes])
    )
    accumulator = tf.float64 if dtype == tf.float64 else tf.float32
    upstream = tf.cast(rng.normal(size=[BATCH]), accumulator)
    return tf.constant(labels), hidden, weights, biases + tf.cast(offset, dtype), upstream


def whole(labels, hidden, weights, biases, upstream, **options):
    with tf.GradientTape() as tape:
        tape.watch([hidden, weights, biases])
        loss = fastw2v.linear_cross_entropy(labels, hidden, weights, biases, **options)
    return loss, *tape.gradient(loss, [hidden, weights, biases], upstream)


def in_parts(labels, hidden, weights, biases, upstream, cuts, **options):
    bounds = list(zip(cuts, cuts[1:], strict=False))
    build = fastw2v.linear_cross_entropy.call
    calls = [build(labels, hidden, weights[i:j], biases[i:j], **options) for i, j in bounds]
    classes = weights.shape[0]
    statistics = tf.stack(
        [parts.statistics(call, i, classes) for call, (i, _) in zip(calls, bounds, strict=True)]
    )
    losses = parts.join(calls[0], statistics, [j - i for i, j in bounds])
    gradients = [
        parts.gradients(call, i, classes, upstream, losses)
        for call, (i, _) in zip(calls, bounds, strict=True)
    ]
    d_weights, d_biases, d_hidden = zip(*gradients, strict=True)
    return losses.loss, tf.add_n(d_hidden), tf.concat(d_weights, 0), tf.concat(d_biases, 0)


def assert_equal(found, expected, tolerance):
    for got, right in zip(found, expected, strict=True):
        assert got.dtype == right.dtype and got.shape == right.shape
        got, right = (np.asarray(tf.cast(each, tf.float64)) for each in (got, right))
        np.testing.assert_allclose(got, right, rtol=0, atol=tolerance * np.abs(right).max())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_parts_are_the_whole(cuts, options):
    arguments, options = problem(), {"ignore_label": IGNORED, **options}
    found = in_parts(*arguments, cuts, **options)
    assert_equal(found, whole(*arguments, **options), 1e-13)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 2e-6), ("float16", 1e-3), ("bfloat16", 1e-2)]
)
def test_every_dtype(dtype, tolerance):
    arguments = problem(tf.as_dtype(dtype))
    options = {"ignore_label": IGNORED, "label_smoothing": 0.1}
    found = in_parts(*arguments, CUTS["three"], **options)
    assert_equal(found, whole(*arguments, **options), tolerance)


def test_a_common_offset_of_the_logits_cancels():
    arguments = problem(tf.float32, offset=1e4)
    options = {"ignore_label": IGNORED}
    assert_equal(in_parts(*arguments, CUTS["three"], **options), whole(*arguments, **options), 2e-6)


def test_more_classes_than_one_tile():
    arguments = problem(tf.float32, classes=4001)
    cuts, options = [0, 1500, 4001], {"ignore_label": IGNORED, "label_smoothing": 0.1}
    assert_equal(in_parts(*arguments, cuts, **options), whole(*arguments, **options), 2e-6)


def test_classes_that_cannot_be():
    """Biases of -inf: a part may have no weight at all, and a label none."""
    labels, hidden, weights, biases, upstream = problem()
    biases = tf.where(tf.range(CLASSES) < 71, tf.constant(-np.inf, tf.float64), biases)
    labels = tf.where(labels < 71, 80, labels)
    arguments = labels, hidden, weights, biases, upstream
    found, expected = in_parts(*arguments, CUTS["three"]), whole(*arguments)
    assert np.isfinite(found[0]).all()
    assert_equal(found, expected, 1e-13)
    lost = tf.where(labels == labels[0, 0], 3, labels)
    assert in_parts(lost, *arguments[1:], CUTS["three"])[0][0] == np.inf
    assert whole(lost, *arguments[1:])[0][0] == np.inf


@pytest.fixture
def part():
    """The first 40 classes."""
    labels, hidden, weights, biases, _ = problem()
    return fastw2v.linear_cross_entropy.call(tf.abs(labels), hidden, weights[:40], biases[:40])


def test_wrong_numbers_of_a_part_are_named(part):
    statistics = parts.statistics(part, 0, CLASSES)
    for function, message in {
        lambda: parts.statistics(part, 70, CLASSES): r"first_class = 70 is not in \[0, 63\]",
        lambda: parts.statistics(part, 0, 0): "num_classes = 0 is not at least 1",
        lambda: parts.join(part, statistics, [40]): r"statistics has shape",
    }.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function()


def test_wrong_labels_and_sizes_of_parts_are_named(part):
    statistics = parts.statistics(part, 0, CLASSES)[tf.newaxis]
    for function, message in {
        lambda: parts.statistics(part, 0, 40): r"labels\[\d+\] = \d+ is not in \[0, 40\)",
        lambda: parts.join(part, statistics, [40]): r"labels\[\d+\] = \d+ is not in",
        lambda: parts.join(part, statistics, [-1]): r"part_classes\[0\] = -1",
    }.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function()


def test_a_part_alone_has_no_gradient():
    labels, hidden, weights, biases, _ = problem()
    with tf.GradientTape() as tape:
        tape.watch([hidden, weights, biases])
        call = fastw2v.linear_cross_entropy.call(tf.abs(labels), hidden, weights, biases)
        statistics = parts.statistics(call, 0, CLASSES)
    assert statistics.shape == [4, BATCH]
    with pytest.raises(LookupError, match="has no gradient by itself"):
        tape.gradient(statistics, hidden)
