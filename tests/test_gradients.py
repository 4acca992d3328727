"""Gradients and second derivatives: against the reference, and against finite differences."""

from __future__ import annotations

import cases
import numpy as np
import problems
import pytest
import tensorflow as tf
from problems import Problem, given, gradients_of, selected
from tensorflow.python.distribute.sharded_variable import ShardedVariable

import fastw2v

# Tables that a test holds fixed while a tape records.
tables_are_fixed = pytest.mark.filterwarnings("ignore::fastw2v.GradientWarning")
every_loss = selected(names=["plain"], dtypes=["float64"])


def fused_gradients(problem, form, **changes):
    """Dense gradients in float64 by table, and those of the tape as they are."""
    tables = given(problem.tables, form)
    arguments = {name: table.argument for name, table in tables.items()}
    sources = {name: table.sources for name, table in tables.items()}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = problem.fused(arguments, **changes)
    upstream = tf.cast(problem.upstream, value.dtype)
    raw = tape.gradient(value, sources, output_gradients=upstream)
    return {name: table.dense(raw[name]) for name, table in tables.items()}, raw


def assert_gradients(problem, form="variable", **tolerances):
    got, _ = fused_gradients(problem, form)
    expected = gradients_of(problem.reference, problem.tables, problem.upstream)
    assert got.keys() == expected.keys()
    for name in got:
        np.testing.assert_allclose(got[name], expected[name], err_msg=name, **tolerances)


@selected(dtypes=["float64"])
def test_the_reference_in_float64(case, loss, dtype):
    scale = 1e4 if case.values == "huge" else 1.0
    assert_gradients(Problem(case, loss, dtype), rtol=1e-9, atol=1e-11 * scale)


@selected(dtypes=["float32", "bfloat16", "float16"])
def test_as_accurate_as_the_naive_computation(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    op, _ = fused_gradients(problem, "variable")
    naive = gradients_of(problem.reference, problem.tables, problem.upstream)
    # What arrives at the loss is rounded too.
    loss_dtype = problem.fused(problem.tables).dtype
    upstream = tf.cast(tf.cast(problem.upstream, loss_dtype), tf.float64)
    truth = gradients_of(problem.reference, problem.in_float64(), upstream)
    for name in op:
        problems.assert_as_accurate(
            op[name], naive[name], truth[name], dtype=tf.float32, output_dtype=dtype
        )


@pytest.mark.parametrize("form", problems.FORMS)
@selected(
    names=["plain", "two labels", "ragged bags", "batch 0", "batch 97", "all options, exact"],
    dtypes=["float64"],
)
def test_every_form_of_table(case, loss, dtype, form):
    assert_gradients(Problem(case, loss, dtype), form, rtol=1e-9, atol=1e-11)


def test_a_sharded_variable_is_its_shards():
    """What tf.distribute makes of a variable with a partitioner."""
    problem = Problem("plain", "exact", "float64")
    expected = gradients_of(problem.reference, problem.tables, problem.upstream)["weights"]
    pieces = np.array_split(problem.tables["weights"].numpy(), 3)
    weights = ShardedVariable([tf.Variable(piece) for piece in pieces])
    tables = {name: tf.Variable(table) for name, table in problem.tables.items()}
    with tf.GradientTape() as tape:
        value = problem.fused({**tables, "weights": weights})
    gradients = tape.gradient(value, weights.variables, output_gradients=problem.upstream)
    np.testing.assert_allclose(tf.concat(gradients, axis=0), expected, rtol=1e-9, atol=1e-11)


@selected(names=["3000 classes", "more samples than a tile"], dtypes=["float32"])
def test_shards_give_the_same_gradients(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    whole, _ = fused_gradients(problem, "variable")
    shards, _ = fused_gradients(problem, "shards")
    for name in whole:
        np.testing.assert_allclose(shards[name], whole[name], rtol=1e-5, atol=1e-6, err_msg=name)


# ---- The form of gradients -----------------------------------------------------------------------


@pytest.mark.parametrize("form", problems.FORMS)
@every_loss
def test_rows_that_were_met_and_no_others(case, loss, dtype, form):
    """Unique ascending rows are checked wherever a gradient is made dense; here which they are."""
    problem = Problem(case, loss, dtype)
    _, gradients = fused_gradients(problem, form)
    met = {"embeddings": np.unique(problem.inputs)} if loss in cases.IDS else {}
    if loss in cases.SAMPLED:
        classes = [np.ravel(problem.labels), np.ravel(problem.sampled_values[0])]
        met["weights"] = met["biases"] = np.unique(np.concatenate(classes))
    for name, parts in gradients.items():
        if name not in met:
            assert all(isinstance(part, tf.Tensor) for part in parts), name
            continue
        assert all(isinstance(part, tf.IndexedSlices) for part in parts), name
        sizes = [int(part.dense_shape[0]) for part in parts]
        begins = np.cumsum([0, *sizes[:-1]])
        rows = [part.indices + begin for part, begin in zip(parts, begins, strict=True)]
        np.testing.assert_array_equal(np.concatenate(rows), met[name])


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("loss", cases.LOSSES)
def test_gradients_have_the_dtype_of_their_table(loss, dtype):
    problem = Problem("plain", loss, dtype)
    _, gradients = fused_gradients(problem, "variable")
    for parts in gradients.values():
        assert [part.dtype for part in parts] == [problem.dtype]


@every_loss
def test_integers_have_no_gradient(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    labels = tf.constant(problem.labels)
    with tf.GradientTape() as tape:
        tape.watch([labels, *problem.tables.values()])
        value = problem.fused(problem.tables, labels=labels)
    assert tape.gradient(value, labels) is None


@selected(names=["ignored", "ignored class"], dtypes=["float64"])
def test_ignored_examples_have_no_gradient(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    problem.labels = np.full_like(problem.labels, case.options["ignore_label"])
    gradients, _ = fused_gradients(problem, "variable")
    for gradient in gradients.values():
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@selected(names=["two labels"], dtypes=["float64"])
def test_weights_and_reductions(case, loss, dtype, reduction):
    problem = Problem(case, loss, dtype)
    weight = tf.constant(np.linspace(0.5, 2.0, case.batch))
    total = tf.reduce_sum(weight) if reduction == "mean" else 1.0

    def reduced(tables):
        return tf.reduce_sum(weight * problem.reference(tables)) / total

    with tf.GradientTape() as tape:
        tape.watch([weight, *problem.tables.values()])
        value = problem.fused(problem.tables, sample_weight=weight, reduction=reduction)
        value = 3 * tf.reduce_sum(value)
    expected = gradients_of(reduced, problem.tables, 3.0)
    sources = {**problem.tables, "weight": weight}
    for name, gradient in tape.gradient(value, sources).items():
        if name != "weight":
            got = tf.convert_to_tensor(gradient)
            np.testing.assert_allclose(got, expected[name], rtol=1e-9, atol=1e-12)
            continue
        # A weight counts in the numerator, and for the mean in the denominator too.
        each = problem.reference(problem.tables)
        mean = tf.reduce_sum(weight * each) / total if reduction == "mean" else 0.0
        np.testing.assert_allclose(gradient, 3 * (each - mean) / total, rtol=1e-9)


@selected(names=["plain", "97 classes"], dtypes=["float32"])
def test_products_in_bfloat16(case, loss, dtype):
    """Gradients are made of rounded operands, so they are as far off as these."""
    problem = Problem(case, loss, dtype)
    rounded, _ = fused_gradients(problem, "variable", compute_dtype="bfloat16")
    exact, _ = fused_gradients(problem, "variable")
    for name in exact:
        assert np.any(rounded[name] != exact[name])
        error = np.abs(rounded[name] - exact[name]).max()
        assert error < 2.0**-5 * np.abs(exact[name]).max(), name


def test_one_class_has_no_gradient():
    for loss in cases.EXACT:
        gradients, _ = fused_gradients(Problem("one class", loss, "float32"), "variable")
        for gradient in gradients.values():
            np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_a_table_used_twice_gets_both_gradients():
    """Tied embeddings: one variable is both tables."""
    rng = np.random.default_rng(4)
    table = tf.constant(rng.normal(size=[7, 5]))
    variable = tf.Variable(table)
    upstream = tf.constant(rng.normal(size=3))
    for module, source in ((fastw2v, variable), (fastw2v.reference, table)):
        with tf.GradientTape() as tape:
            tape.watch(source)
            loss = module.softmax_loss(source, source, None, [1, 1, 6], [6, 2, 1])
        gradient = tf.convert_to_tensor(tape.gradient(loss, source, output_gradients=upstream))
        if module is fastw2v:
            got = gradient
    np.testing.assert_allclose(got, gradient, rtol=1e-10, atol=1e-12)


# ---- Finite differences --------------------------------------------------------------------------


@tables_are_fixed
@selected(
    names=[
        "plain",
        "two labels",
        "padded bags",
        "scalar",
        "ignored class",
        "all options, softmax",
        "all options, exact",
        "all options, logistic",
    ],
    dtypes=["float64"],
)
def test_finite_differences(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    names = list(problem.tables)

    def weighted(*tables):
        value = problem.fused(dict(zip(names, tables, strict=True)))
        return tf.reduce_sum(value * problem.upstream)

    theoretical, numerical = tf.test.compute_gradient(
        weighted, list(problem.tables.values()), delta=1e-4
    )
    for name, ours, differences in zip(names, theoretical, numerical, strict=True):
        assert np.any(ours)
        np.testing.assert_allclose(ours, differences, rtol=1e-6, atol=1e-7, err_msg=name)


# ---- Second order --------------------------------------------------------------------------------

SECOND_ORDER = (
    "plain",
    "two labels",
    "hits kept",
    "padded bags, sum",
    "ragged bags",
    "ignored among others",
    "ignored class",
    "all options, softmax",
    "all options, exact",
    "all options, logistic",
)


def gradient_of_a_gradient(loss, arguments, sources, upstream, probes):
    """Derivatives of a random linear function of the first gradients and of their squares, by every
    source and by the upstream gradient."""
    upstream = tf.constant(upstream)
    with tf.GradientTape() as second:
        second.watch([upstream, sources])
        with tf.GradientTape() as first:
            first.watch(sources)
            value = loss(arguments)
        gradients = first.gradient(
            value, sources, output_gradients=upstream, unconnected_gradients="zero"
        )
        norm = 0.0
        for name, parts in gradients.items():
            dense = tf.concat([tf.convert_to_tensor(part) for part in parts], axis=0)
            norm += tf.reduce_sum(dense**2 + probes[name] * dense)
    return second.gradient(norm, {**sources, "upstream": upstream})


@pytest.mark.parametrize("form", ["tensor", "shards"])
@selected(names=["plain", "ragged bags"], dtypes=["float64"])
def test_second_order_in_every_form(case, loss, dtype, form):
    assert_second_order(case, loss, dtype, form)


@selected(names=SECOND_ORDER, dtypes=["float64"])
def test_second_order(case, loss, dtype):
    assert_second_order(case, loss, dtype, "variable")


def assert_second_order(case, loss, dtype, form):
    problem = Problem(case, loss, dtype)
    rng = np.random.default_rng(5)
    probes = {name: rng.normal(size=table.shape) for name, table in problem.tables.items()}
    tables = given(problem.tables, form)
    arguments = {name: table.argument for name, table in tables.items()}
    sources = {name: table.sources for name, table in tables.items()}
    got = gradient_of_a_gradient(problem.fused, arguments, sources, problem.upstream, probes)
    plain = {name: [table] for name, table in problem.tables.items()}
    expected = gradient_of_a_gradient(
        problem.reference, problem.tables, plain, problem.upstream, probes
    )
    np.testing.assert_allclose(got["upstream"], expected["upstream"], rtol=1e-8, atol=1e-10)
    for name, table in tables.items():
        reference = tf.convert_to_tensor(expected[name][0])
        np.testing.assert_allclose(
            table.dense(got[name]), reference, rtol=1e-8, atol=1e-10, err_msg=name
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("loss", cases.LOSSES)
def test_second_order_in_every_dtype(loss, dtype):
    problem = Problem("plain", loss, dtype)
    tables = {name: tf.Variable(table) for name, table in problem.tables.items()}

    def norm_gradient(loss, tables):
        with tf.GradientTape() as second:
            second.watch(tables)
            with tf.GradientTape() as first:
                first.watch(tables)
                value = tf.cast(loss(tables), tf.float64)
                value = tf.reduce_sum(value * problem.upstream)
            gradients = first.gradient(value, tables)
            norm = 0.0
            for gradient in gradients.values():
                norm += tf.reduce_sum(tf.cast(tf.convert_to_tensor(gradient), tf.float64) ** 2)
        return second.gradient(norm, tables)

    got = norm_gradient(problem.fused, tables)
    expected = norm_gradient(problem.reference, problem.in_float64())
    for name, truth in expected.items():
        truth = tf.convert_to_tensor(truth).numpy()
        error = tf.cast(tf.convert_to_tensor(got[name]), tf.float64).numpy() - truth
        scale = {"float32": 5e-5, "bfloat16": 0.03, "float16": 0.01}[dtype]
        assert got[name].dtype == problem.dtype
        assert np.abs(error).max() <= scale * np.abs(truth).max(), name


@tables_are_fixed
@selected(names=["plain", "two labels"], dtypes=["float64"])
def test_hessians(case, loss, dtype):
    """A nested tape and a Jacobian of the gradient: all second derivatives by the weights."""
    problem = Problem(case, loss, dtype)

    def hessian(loss, weights):
        with tf.GradientTape() as second:
            second.watch(weights)
            with tf.GradientTape() as first:
                first.watch(weights)
                value = tf.reduce_sum(loss({**problem.tables, "weights": weights}))
            gradient = tf.convert_to_tensor(first.gradient(value, weights))
        return second.jacobian(gradient, weights)

    weights = problem.tables["weights"]
    got = hessian(problem.fused, weights)
    assert got.shape == [*weights.shape, *weights.shape]
    np.testing.assert_allclose(got, hessian(problem.reference, weights), rtol=1e-9, atol=1e-11)


@tables_are_fixed
@every_loss
def test_jacobian(case, loss, dtype):
    """The derivatives of every example by themselves."""
    problem = Problem(case, loss, dtype)
    activations = "embeddings" if loss in cases.IDS else "activations"
    source = problem.tables[activations]
    jacobians = []
    for function in (problem.fused, problem.reference):
        with tf.GradientTape() as tape:
            tape.watch(source)
            value = function(problem.tables)
        jacobians.append(tape.jacobian(value, source))
    assert jacobians[0].shape == [case.batch, *source.shape]
    np.testing.assert_allclose(jacobians[0], jacobians[1], rtol=1e-9, atol=1e-12)


@every_loss
def test_second_order_of_an_empty_batch(case, loss, dtype):
    problem = Problem("batch 0", loss, dtype)
    tables = {name: tf.Variable(table) for name, table in problem.tables.items()}
    with tf.GradientTape() as second:
        with tf.GradientTape() as first:
            value = problem.fused(tables)
        gradients = first.gradient(value, tables)
        norm = tf.add_n(
            [tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients.values()]
        )
    for name, gradient in second.gradient(norm, tables).items():
        dense = problems.to_dense(gradient, tables[name].shape)
        np.testing.assert_array_equal(dense, np.zeros(tables[name].shape))
