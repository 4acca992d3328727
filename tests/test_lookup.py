"""Rows of a table for a layer: what they are, and a gradient with unique rows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from problems import FORMS, given

import fastw2v
from fastw2v._losses.lookup import lookup

DTYPES = ("float32", "float64", "float16", "bfloat16")
ROWS, DIM = 11, 5

# Name: inputs, combiner.
INPUTS = {
    "one id": (4, None),
    "ids": ([3, 10, 3, 0], None),
    "ids of two axes": ([[3, 10, 3], [0, 3, 1]], None),
    "no ids": (np.zeros([0], np.int64), None),
    "padded bags": ([[3, -1, 3], [-1, 7, 0]], "mean"),
    "ragged bags": (tf.ragged.constant([[3, 3, 3], [7], [0, 10]]), "sum"),
}


def definition(table, inputs, combiner):
    if combiner is None:
        return tf.gather(table, inputs)
    return fastw2v.reference.hidden_rows(table, inputs, combiner)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", INPUTS)
def test_rows_and_their_gradient(case, form, dtype):
    inputs, combiner = INPUTS[case]
    values = tf.random.Generator.from_seed(1).normal([ROWS, DIM])
    table = given({"embeddings": tf.cast(values, dtype)}, form)["embeddings"]
    with tf.GradientTape() as tape:
        tape.watch(table.sources)
        hidden = lookup(table.argument, inputs, combiner)
        upstream = tf.random.Generator.from_seed(2).normal(hidden.shape)
        total = tf.reduce_sum(tf.cast(upstream, hidden.dtype) * hidden)
    assert hidden.dtype == (tf.float64 if dtype == "float64" else tf.float32)

    exact = tf.cast(tf.cast(values, dtype), tf.float64)
    with tf.GradientTape() as tape2:
        tape2.watch(exact)
        expected = definition(exact, inputs, combiner)
        expected_total = tf.reduce_sum(tf.cast(upstream, tf.float64) * expected)
    np.testing.assert_allclose(hidden, expected, rtol=1e-6, atol=1e-6)
    expected_gradient = tf.convert_to_tensor(tape2.gradient(expected_total, exact))
    tolerance = {"float64": 1e-6, "float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    gradients = tape.gradient(total, table.sources)
    assert all(isinstance(gradient, tf.IndexedSlices) for gradient in gradients)
    np.testing.assert_allclose(
        table.dense(gradients), expected_gradient, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("case", ["ids", "padded bags", "ragged bags"])
def test_gradient_of_the_gradient(case):
    inputs, combiner = INPUTS[case]
    got = []
    for rows in (lookup, definition):
        table = tf.Variable(tf.random.Generator.from_seed(1).normal([ROWS, DIM]))
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(rows(table, inputs, combiner) ** 3)
            first = tf.convert_to_tensor(inner.gradient(loss, table))
            second = tf.reduce_sum(first**2)
        got.append(tf.convert_to_tensor(outer.gradient(second, table)))
    np.testing.assert_allclose(*got, rtol=1e-4, atol=1e-5)


def test_in_a_graph_the_table_is_not_read_and_shapes_are_known():
    table = tf.Variable(tf.ones([ROWS, DIM]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.int32)])
    def step(ids):
        with tf.GradientTape() as tape:
            hidden = lookup(table, ids, None)
            loss = tf.reduce_sum(hidden)
        assert hidden.shape.as_list() == [None, 3, DIM]
        assert lookup(table, ids, "mean").shape.as_list() == [None, DIM]
        return tape.gradient(loss, table)

    gradient = step(tf.constant([[1, 1, 2]]))
    assert gradient.indices.numpy().tolist() == [1, 2]
    np.testing.assert_array_equal(gradient.values, [[2] * DIM, [1] * DIM])
    types = {op.type for op in step.get_concrete_function().graph.get_operations()}
    assert "ReadVariableOp" not in types


@pytest.mark.parametrize(
    ("inputs", "combiner", "message"),
    [
        ([1, 11], None, r"inputs\[1\] = 11 is not in \[0, 11\)"),
        ([1, -1], None, r"inputs\[1\] = -1 is not in \[0, 11\)"),
        ([[1, -1], [-1, -1]], "mean", r"inputs\[1\] is an empty bag"),
    ],
)
def test_bad_ids_are_named(inputs, combiner, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        lookup(tf.Variable(tf.ones([ROWS, DIM])), inputs, combiner)
