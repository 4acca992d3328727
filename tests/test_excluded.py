"""Ranges of classes that do not compete for an example, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fastw2v import reference
from fastw2v._losses import prediction
from fastw2v._losses.build import loss_call

BATCH, CLASSES, DIM = 80, 700, 9
ERRORS = (ValueError, tf.errors.InvalidArgumentError)


def problem(dtype="float64", num_true=2, classes=CLASSES):
    """Hidden rows, weights, biases, labels and ranges, of which some are empty and some are all."""
    rng = np.random.default_rng(0)
    hidden, weights, biases = (
        tf.Variable(tf.cast(rng.normal(size=shape), dtype))
        for shape in ([BATCH, DIM], [classes, DIM], [classes])
    )
    labels = rng.integers(classes, size=[BATCH, num_true])
    ranges = np.sort(rng.integers(classes + 1, size=[BATCH, 2]), axis=1)
    ranges[:4] = [[0, classes], [0, 0], [classes, classes], [3, 3]]
    return hidden, weights, biases, labels, tf.constant(ranges)


OPTIONS = {
    "none": {},
    "soft cap": {"logit_softcap": 2.0},
    "margin and scale": {"margin": 1.5, "logit_scale": 0.25},
    "z_loss": {"z_loss": 0.125},
    "ignored": {"ignore_label": 5},
}


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize("classes", [CLASSES, 30_000])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_losses_equal_the_definition(name, classes, reduction):
    options = OPTIONS[name]
    hidden, weights, biases, labels, excluded = problem(classes=classes)
    if "ignore_label" in options:
        labels[::3, 0] = labels[::6, 1] = options["ignore_label"]
    upstream = np.random.default_rng(1).normal(size=[BATCH] if reduction == "none" else [])
    results = []
    for fused in (True, False):
        with tf.GradientTape() as tape:
            if fused:
                tables = {"weights": weights, "biases": biases}
                loss = loss_call(
                    tables, hidden, labels, excluded=excluded, reduction=reduction, **options
                ).value()
            else:
                loss = reference.linear_cross_entropy(
                    labels, hidden, weights, biases, excluded=excluded, **options
                )
                if reduction == "mean":
                    counts = np.any(labels != options.get("ignore_label", -1), axis=1)
                    loss = tf.reduce_sum(loss) / counts.sum()
            total = tf.reduce_sum(loss * upstream)
        gradients = tape.gradient(total, [hidden, weights, biases])
        results.append([loss, *map(tf.convert_to_tensor, gradients)])
    for got, right in zip(*results, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_other_dtypes(dtype):
    hidden, weights, biases, labels, excluded = problem(dtype)
    tables = {"weights": weights, "biases": biases}
    loss = loss_call(tables, hidden, labels, excluded=excluded).value()
    right = reference.linear_cross_entropy(labels, hidden, weights, biases, excluded=excluded)
    np.testing.assert_allclose(loss, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"logit_softcap": 2.0}], ids=["plain", "capped"])
@pytest.mark.parametrize("batch", [1, 3, BATCH])
@pytest.mark.parametrize("k", [1, 20, CLASSES])
def test_the_largest_logits(batch, k, options):
    hidden, weights, biases, _, excluded = problem()
    hidden, excluded = hidden[:batch], excluded[:batch]
    options = {**options, "excluded": excluded}
    values, classes = prediction.top_k(hidden, weights, biases, k, **options)
    right, right_classes = reference.top_k(hidden, weights, biases, k, **options)
    np.testing.assert_allclose(values, right, rtol=1e-10)
    there = ~np.isinf(right)
    np.testing.assert_array_equal(classes.numpy()[there], right_classes.numpy()[there])


def test_a_gradient_passes_the_largest_logits():
    hidden, weights, biases, *_ = problem()
    excluded = tf.constant([[0, 600]] * BATCH, tf.int64)
    gradients = []
    for function in (prediction.top_k, reference.top_k):
        with tf.GradientTape() as tape:
            values, _ = function(hidden, weights, biases, 3, excluded=excluded)
            total = tf.reduce_sum(values)
        gradients.append(tape.gradient(total, hidden))
    np.testing.assert_allclose(*gradients, rtol=1e-9)


@pytest.mark.parametrize("bad", [[-1, 3], [3, 2], [0, CLASSES + 1]])
def test_other_ranges_are_refused(bad):
    hidden, weights, biases, labels, excluded = problem()
    ranges = np.array(excluded)
    ranges[7] = bad
    message = (
        rf"excluded\[7\] = \[{bad[0]}, {bad[1]}\) is not a range of classes in \[0, {CLASSES}\)"
    )
    with pytest.raises(ERRORS, match=message):
        tables = {"weights": weights, "biases": biases}
        loss_call(tables, hidden, labels, excluded=tf.constant(ranges)).value()
    with pytest.raises(ERRORS, match=message):
        prediction.top_k(hidden, weights, biases, 3, excluded=tf.constant(ranges))


def test_label_smoothing_is_refused():
    hidden, weights, biases, labels, excluded = problem()
    with pytest.raises(ERRORS, match="label_smoothing = 0.1.* with excluded classes it must be 0"):
        loss_call(
            {"weights": weights, "biases": biases},
            hidden,
            labels,
            excluded=excluded,
            label_smoothing=0.1,
        ).value()
    with pytest.raises(ERRORS, match=r"excluded has shape \[79,2\], expected \[batch, 2\]"):
        loss_call(
            {"weights": weights, "biases": None}, hidden, labels, excluded=excluded[1:]
        ).value()
