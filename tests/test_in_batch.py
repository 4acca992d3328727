"""The softmax over the candidates of a batch, against its definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v import reference

BATCH, NEGATIVES, DIM = 70, 33, 12


def problem(dtype="float64", *, batch=BATCH, num_ids=25, extra=False, ids=True, log_q=True, seed=0):
    """Vectors as variables and, by name, what else the loss is given."""
    rng = np.random.default_rng(seed)

    def vectors(n):
        return tf.Variable(tf.cast(rng.normal(size=[n, DIM]), dtype))

    queries, candidates, arguments = vectors(batch), vectors(batch), {}
    for prefix, n in [("", batch)] + ([("negative_", NEGATIVES)] if extra else []):
        if prefix:
            arguments["negatives"] = vectors(n)
        if ids:
            arguments[prefix + "ids" if prefix else "candidate_ids"] = tf.constant(
                rng.integers(num_ids, size=n)
            )
        if log_q:
            arguments[prefix + "log_q"] = tf.Variable(tf.cast(rng.normal(size=n), dtype))
    return queries, candidates, arguments


def wide(value):
    is_float = tf.is_tensor(value) or isinstance(value, tf.Variable)
    return tf.cast(value, tf.float64) if is_float and value.dtype.is_floating else value


def watched(queries, candidates, arguments):
    others = [each for each in arguments.values() if isinstance(each, tf.Variable)]
    return [queries, candidates, *others]


def assert_equals_definition(queries, candidates, arguments, tolerance, **options):
    """Losses and gradients, for a random upstream gradient."""
    sources = watched(queries, candidates, arguments)
    upstream = np.random.default_rng(1).normal(size=[queries.shape[0]])
    results = []
    for function, cast in (
        (fastw2v.in_batch_softmax_loss, lambda x: x),
        (reference.in_batch_softmax_loss, wide),
    ):
        with tf.GradientTape() as tape:
            given = {name: cast(value) for name, value in arguments.items()}
            loss = function(cast(queries), cast(candidates), **given, **options)
            total = tf.reduce_sum(tf.cast(loss, tf.float64) * upstream)
        gradients = tape.gradient(total, sources)
        assert all(gradient is not None for gradient in gradients)
        results.append([loss, *map(tf.convert_to_tensor, gradients)])
    for got, right in zip(*results, strict=True):
        atol = tolerance * max(1.0, float(tf.reduce_max(tf.abs(right))))
        np.testing.assert_allclose(
            tf.cast(got, tf.float64), tf.cast(right, tf.float64), rtol=tolerance, atol=atol
        )


@pytest.mark.parametrize("hard", [None, 1, 9])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("log_q", [False, True])
def test_equals_the_definition(hard, symmetric, extra, ids, log_q):
    assert_equals_definition(
        *problem(extra=extra, ids=ids, log_q=log_q),
        tolerance=1e-11,
        num_hard_negatives=hard,
        symmetric=symmetric,
        temperature=0.7,
    )


@pytest.mark.parametrize("hard", [None, 5])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("bfloat16", 2e-2)])
def test_other_dtypes(dtype, tolerance, hard):
    assert_equals_definition(*problem(dtype, extra=True), tolerance, num_hard_negatives=hard)


@pytest.mark.parametrize("num_ids", [1, 2, 2000])
@pytest.mark.parametrize("batch", [1, 2, 5, 1500])
@pytest.mark.parametrize("hard", [None, 3])
def test_few_and_many_hits(num_ids, batch, hard):
    """Of one id all are hits, and what is left is the label: loss 0. 1500 rows are several tiles of
    classes, some of which hold nothing but hits."""
    queries, candidates, arguments = problem("float64", batch=batch, num_ids=num_ids)
    assert_equals_definition(queries, candidates, arguments, 1e-10, num_hard_negatives=hard)
    if num_ids == 1:
        loss = fastw2v.in_batch_softmax_loss(
            queries, candidates, num_hard_negatives=hard, **arguments
        )
        np.testing.assert_allclose(loss, np.zeros(batch), atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"num_hard_negatives": 4}, {"symmetric": True}])
def test_reductions(reduction, weighted, options):
    queries, candidates, arguments = problem()
    weights = tf.constant(np.random.default_rng(3).uniform(size=BATCH)) if weighted else None
    sources = watched(queries, candidates, arguments)
    with tf.GradientTape(persistent=True) as tape:
        each = fastw2v.in_batch_softmax_loss(queries, candidates, **arguments, **options)
        factors = tf.ones([BATCH], tf.float64) if weights is None else weights
        right = tf.reduce_sum(each * factors)
        if reduction == "mean":
            right /= tf.reduce_sum(factors)
        loss = fastw2v.in_batch_softmax_loss(
            queries, candidates, **arguments, **options, sample_weight=weights, reduction=reduction
        )
    np.testing.assert_allclose(loss, right, rtol=1e-12)
    for got, expected in zip(
        tape.gradient(loss, sources), tape.gradient(right, sources), strict=True
    ):
        np.testing.assert_allclose(
            tf.convert_to_tensor(got), tf.convert_to_tensor(expected), rtol=1e-9, atol=1e-12
        )


def test_ids_are_strings():
    queries, candidates, arguments = problem(extra=True)
    expected = fastw2v.in_batch_softmax_loss(queries, candidates, **arguments)
    for name in ("candidate_ids", "negative_ids"):
        arguments[name] = tf.strings.as_string(arguments[name])
    loss = fastw2v.in_batch_softmax_loss(queries, candidates, **arguments)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_a_temperature_is_learned():
    queries, candidates, arguments = problem()
    temperature = tf.Variable(0.5, dtype=tf.float64)
    with tf.GradientTape() as tape:
        loss = fastw2v.in_batch_softmax_loss(
            queries, candidates, temperature=temperature, reduction="mean", **arguments
        )
    with tf.GradientTape() as reference_tape:
        right = tf.reduce_mean(
            reference.in_batch_softmax_loss(
                queries, candidates, temperature=temperature, **arguments
            )
        )
    np.testing.assert_allclose(
        tape.gradient(loss, temperature), reference_tape.gradient(right, temperature), rtol=1e-10
    )


@pytest.mark.parametrize("jit", [None, True])
@pytest.mark.parametrize("options", [{}, {"num_hard_negatives": 4}, {"symmetric": True}])
def test_in_a_graph(jit, options):
    queries, candidates, arguments = problem(extra="symmetric" not in options)

    @tf.function(jit_compile=jit)
    def step(queries, candidates, arguments):
        with tf.GradientTape() as tape:
            tape.watch([queries, candidates])
            loss = fastw2v.in_batch_softmax_loss(
                queries, candidates, reduction="mean", **arguments, **options
            )
        return loss, tape.gradient(loss, [queries, candidates])

    given = [tf.nest.map_structure(tf.convert_to_tensor, x) for x in (queries, candidates)]
    others = tf.nest.map_structure(tf.convert_to_tensor, arguments)
    loss, gradients = step(*given, others)
    with tf.GradientTape() as tape:
        right = tf.reduce_mean(
            reference.in_batch_softmax_loss(queries, candidates, **arguments, **options)
        )
    np.testing.assert_allclose(loss, right, rtol=1e-10)
    for got, expected in zip(gradients, tape.gradient(right, [queries, candidates]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("batch", [3, 40])
def test_sizes_that_a_graph_does_not_know(batch):
    """A last batch may have fewer negatives than are asked for: then all compete."""

    @tf.function(input_signature=[tf.TensorSpec([None, DIM]), tf.TensorSpec([None, DIM])])
    def step(queries, candidates):
        ids = tf.range(tf.shape(candidates)[0]) // 2
        return fastw2v.in_batch_softmax_loss(
            queries, candidates, candidate_ids=ids, num_hard_negatives=7
        )

    queries, candidates, _ = problem("float32", batch=batch)
    expected = reference.in_batch_softmax_loss(
        queries, candidates, candidate_ids=tf.range(batch) // 2, num_hard_negatives=7
    )
    np.testing.assert_allclose(step(queries, candidates), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="another shape than queries"):
        step(queries, candidates[:-1])


@pytest.mark.parametrize("missing", ["candidate_ids", "log_q", "negative_ids", "negative_log_q"])
def test_lengths_that_a_graph_does_not_know(missing):
    """The message is that of the check, whichever op of the graph runs first."""
    queries, candidates, _ = problem("float32", batch=9)
    negatives = queries[:5]
    ids, log_q = tf.range(9, dtype=tf.int64) // 2, tf.zeros(9)
    given = {
        "candidate_ids": ids,
        "log_q": log_q,
        "negatives": negatives,
        "negative_ids": ids[:5],
        "negative_log_q": log_q[:5],
    }

    @tf.function(reduce_retracing=True)
    def step(queries, candidates, given):
        return fastw2v.in_batch_softmax_loss(queries, candidates, **given)

    unknown = tf.nest.map_structure(
        lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), (queries, candidates, given)
    )
    step = step.get_concrete_function(*unknown)
    step(queries, candidates, given)
    given[missing] = given[missing][:-1]
    of = "negatives" if missing.startswith("negative") else "candidates"
    for _ in range(20):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"{missing} has another length than {of}"
        ):
            step(queries, candidates, given)


def test_second_gradients():
    queries, candidates, arguments = problem(batch=9, num_ids=4)

    def gradient(function):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(function(queries, candidates, **arguments) ** 2)
            first = inner.gradient(loss, queries)
            total = tf.reduce_sum(first * tf.sin(tf.cast(tf.range(DIM), tf.float64)))
        return outer.gradient(total, candidates)

    np.testing.assert_allclose(
        tf.convert_to_tensor(gradient(fastw2v.in_batch_softmax_loss)),
        gradient(reference.in_batch_softmax_loss),
        rtol=1e-8,
        atol=1e-11,
    )


def test_an_empty_batch():
    nothing = tf.Variable(tf.zeros([0, DIM]), shape=[None, DIM])
    ids = tf.zeros([0], tf.int64)
    for options in ({}, {"candidate_ids": ids, "log_q": tf.zeros([0])}, {"num_hard_negatives": 2}):
        for function in (fastw2v.in_batch_softmax_loss, tf.function(fastw2v.in_batch_softmax_loss)):
            with tf.GradientTape() as tape:
                losses = function(nothing, nothing, **options)
                total = tf.reduce_sum(losses)
            assert losses.shape == [0]
            assert tf.convert_to_tensor(tape.gradient(total, nothing)).shape == [0, DIM]


def test_logits_are_not_stored():
    """Beside 64 MB of scratch and the gradients, 20 000 x 20 000 logits would take 1.6 GB."""
    batch = 20_000
    queries, candidates, _ = problem("float32", batch=batch, log_q=False)
    ids = tf.range(batch) % 9_000

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = fastw2v.in_batch_softmax_loss(
                queries, candidates, candidate_ids=ids, reduction="mean"
            )
        return tape.gradient(loss, [queries, candidates])

    graph = step.get_concrete_function().graph
    sizes = [out.shape.num_elements() or 0 for op in graph.get_operations() for out in op.outputs]
    assert max(sizes) <= 4 * batch * DIM


BAD = {
    "queries of rank 1": ({"queries": tf.ones([3])}, r"queries has shape \(3,\)"),
    "integers": ({"queries": tf.ones([3, 4], tf.int32)}, "queries has dtype int32"),
    "fewer queries": ({"queries": tf.ones([2, 4])}, r"candidates has shape \(3, 4\), but queries"),
    "wider queries": ({"queries": tf.ones([3, 5])}, r"but queries has shape \(3, 5\)"),
    "fewer ids": ({"candidate_ids": [1, 2]}, r"candidate_ids has shape \(2,\), expected \[3\]"),
    "ids of floats": ({"candidate_ids": [1.0, 2.0, 3.0]}, "candidate_ids has dtype float32"),
    "log_q of rank 2": ({"log_q": tf.ones([3, 1])}, r"log_q has shape \(3, 1\), expected \[3\]"),
    "log_q of strings": ({"log_q": ["a", "b", "c"]}, "log_q has dtype string"),
    "temperature 0": ({"temperature": 0.0}, r"temperature = 0.0 is not in \(0, inf\)"),
    "negative temperature": ({"temperature": -1}, "temperature = -1 is not a Python number"),
    "temperatures": ({"temperature": tf.ones([3])}, r"temperature has shape \(3,\)"),
    "no hard negatives": ({"num_hard_negatives": 0}, "num_hard_negatives = 0 is not a Python"),
    "ids of nothing": ({"negative_ids": [1]}, "is given without negatives"),
    "narrow negatives": ({"negatives": tf.ones([2, 3])}, "negatives has width 3, but candidates"),
    "negatives of doubles": (
        {"negatives": tf.ones([2, 4], tf.float64)},
        "negatives has dtype float64, but candidates has dtype float32",
    ),
    "negatives without ids": (
        {"negatives": tf.ones([2, 4]), "candidate_ids": [1, 2, 3]},
        "candidate_ids is given without negative_ids",
    ),
    "candidates without log_q": (
        {"negatives": tf.ones([2, 4]), "negative_log_q": [0.0, 0.0]},
        "negative_log_q is given without log_q",
    ),
    "ids of two kinds": (
        {"negatives": tf.ones([2, 4]), "candidate_ids": [1, 2, 3], "negative_ids": ["a", "b"]},
        "negative_ids has dtype string, but candidate_ids has dtype int64",
    ),
    "weights": ({"sample_weight": tf.ones([2])}, r"sample_weight has shape \(2,\)"),
    "reduction": ({"reduction": "max"}, "reduction = 'max' is not one of"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input(name):
    arguments, message = BAD[name]
    given = {"queries": tf.ones([3, 4]), "candidates": tf.ones([3, 4]), **arguments}
    with pytest.raises(ValueError, match=message):
        fastw2v.in_batch_softmax_loss(**given)
