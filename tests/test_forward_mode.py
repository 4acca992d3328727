"""Directional derivatives by `tf.autodiff.ForwardAccumulator`: those of the reference."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import tensorflow as tf
from problems import Problem, given

import fastw2v
from fastw2v._losses.lookup import lookup

rng = np.random.default_rng(11)


def directions(sources):
    return [tf.constant(rng.normal(size=source.shape), source.dtype) for source in sources]


def derivative(function, sources, tangents):
    with tf.autodiff.ForwardAccumulator(sources, tangents) as accumulator:
        values = function()
    return accumulator.jvp(values)


# In a function an accumulator works in another way; to trace one takes its time.
IN_FUNCTIONS = ("exact", "sampled", "tf_nn_nce")


@pytest.mark.parametrize("loss", cases.LOSSES)
def test_losses(loss):
    problem = Problem("plain", loss, "float64")
    tables = given(problem.tables, "variable")
    arguments = {name: table.argument for name, table in tables.items()}
    sources = [table.argument for table in tables.values()]
    tangents = directions(sources)
    plain = {name: tf.identity(table) for name, table in problem.tables.items()}
    expected = derivative(lambda: problem.reference(plain), list(plain.values()), tangents)

    def ours():
        return derivative(lambda: problem.fused(arguments), sources, tangents)

    np.testing.assert_allclose(ours(), expected, rtol=1e-9, atol=1e-12)
    if loss in IN_FUNCTIONS:
        np.testing.assert_allclose(tf.function(ours)(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["embeddings", "weights", "biases"])
def test_one_table_alone(name):
    problem = Problem("plain", "sampled", "float64")
    variables = {key: tf.Variable(table) for key, table in problem.tables.items()}
    plain = {key: tf.identity(table) for key, table in problem.tables.items()}
    tangents = directions([plain[name]])
    got = derivative(lambda: problem.fused(variables), [variables[name]], tangents)
    expected = derivative(lambda: problem.reference(plain), [plain[name]], tangents)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["exact", "sampled"])
def test_hessian_vector_products(loss):
    """The derivative of the gradient: forward over reverse."""
    problem = Problem("plain", loss, "float64")
    tables = given(problem.tables, "variable")
    arguments = {name: table.argument for name, table in tables.items()}
    plain = {name: tf.identity(table) for name, table in problem.tables.items()}
    tangents = directions(plain.values())

    def product(loss, sources):
        def gradient():
            with tf.GradientTape() as tape:
                tape.watch(sources)
                value = tf.reduce_sum(problem.upstream * loss())
            return [tf.convert_to_tensor(each) for each in tape.gradient(value, sources)]

        return derivative(gradient, sources, tangents)

    got = product(lambda: problem.fused(arguments), [table.argument for table in tables.values()])
    expected = product(lambda: problem.reference(plain), list(plain.values()))
    for ours, truth in zip(got, expected, strict=True):
        ours, truth = tf.convert_to_tensor(ours), tf.convert_to_tensor(truth)
        np.testing.assert_allclose(ours, truth, rtol=1e-8, atol=1e-11)


def test_top_k_and_lookup():
    inputs, weights, biases = (
        tf.Variable(rng.normal(size=shape)) for shape in ([5, 4], [9, 4], [9])
    )
    sources = [inputs, weights, biases]
    tangents = directions(sources)

    def best(module):
        return derivative(lambda: module.top_k(inputs, weights, biases, 3)[0], sources, tangents)

    np.testing.assert_allclose(best(fastw2v), best(fastw2v.reference), rtol=1e-9)
    bags = [[1, 3], [8, -1]]
    hidden = derivative(lambda: lookup(weights, bags, "sum"), [weights], [tangents[1]])
    direction = tangents[1].numpy()
    np.testing.assert_allclose(hidden, [direction[1] + direction[3], direction[8]], rtol=1e-12)
