"""`fastw2v.top_k` against `tf.math.top_k` of stored logits, its gradient, and bad input."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import FORMS, given

import fastw2v

DTYPES = ("float32", "float64", "float16", "bfloat16")

# Name: shape of inputs, classes, k, options.
CASES = {
    "plain": ([7, 12], 40, 5, {}),
    "all classes": ([3, 5], 9, 9, {}),
    "one row": ([12], 40, 3, {}),
    "more axes": ([2, 3, 12], 40, 4, {}),
    "empty batch": ([0, 4], 6, 2, {}),
    "scale and cap": ([7, 12], 40, 5, {"logit_scale": 0.5, "logit_softcap": 4.0}),
}


def draw(case, dtype):
    shape, classes, k, options = CASES[case]
    generator = tf.random.Generator.from_seed(len(case))
    tables = {
        "weights": tf.cast(generator.normal([classes, shape[-1]]), dtype),
        "biases": tf.cast(generator.normal([classes]), dtype),
    }
    return tf.cast(generator.normal(shape), dtype), tables, k, options


def reference(inputs, tables, k, **options):
    shape = inputs.shape
    rows = tf.reshape(inputs, [-1, shape[-1]])
    results = fastw2v.reference.top_k(rows, tables["weights"], tables["biases"], k, **options)
    return [tf.reshape(part, [*shape[:-1], k]) for part in results]


# Every case and dtype once, and every form of the tables once in each dtype.
SELECTED = [(case, dtype, "variable") for case in CASES for dtype in DTYPES]
SELECTED += [("plain", dtype, form) for form in FORMS[1:] for dtype in DTYPES]


@pytest.mark.parametrize(("case", "dtype", "form"), SELECTED)
def test_equals_a_sort_of_all_logits(case, dtype, form):
    inputs, tables, k, options = draw(case, dtype)
    expected, expected_indices = reference(inputs, tables, k, **options)
    arguments = {name: table.argument for name, table in given(tables, form).items()}
    for call in (fastw2v.top_k, tf.function(fastw2v.top_k)):
        values, indices = call(inputs, **arguments, k=k, **options)
        assert values.dtype == expected.dtype and indices.dtype == tf.int64
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(indices, expected_indices)


def test_without_biases_and_by_default_ten():
    inputs, tables, _, _ = draw("plain", "float32")
    values, indices = fastw2v.top_k(inputs, tables["weights"])
    expected = tf.math.top_k(tf.matmul(inputs, tables["weights"], transpose_b=True), 10)
    np.testing.assert_allclose(values, expected.values, rtol=1e-5)
    np.testing.assert_array_equal(indices, expected.indices)


def test_static_shapes():
    weights = tf.Variable(tf.zeros([9, 4]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 4]), tf.TensorSpec([None, 4])])
    def shapes(deep, flat):
        for inputs, expected in ((deep, [None, 3, 2]), (flat, [None, 2])):
            for part in fastw2v.top_k(inputs, weights, k=2):
                assert part.shape.as_list() == expected
        return 0

    shapes.get_concrete_function()


@pytest.mark.parametrize(
    ("case", "dtype", "form", "in_graph"),
    [
        (case, dtype, form, in_graph)
        for case, dtype, form in SELECTED
        for in_graph in (False, True)
        if case != "empty batch" and not (in_graph and form.startswith("tensor"))
    ],
)
def test_gradient_of_the_values(case, dtype, form, in_graph):
    inputs, tables, k, options = draw(case, dtype)
    inputs, forms = tf.Variable(inputs), given(tables, form)
    upstream = tf.random.Generator.from_seed(3).normal([*inputs.shape[:-1], k])
    sources = [inputs, *(table.sources for table in forms.values())]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        arguments = {name: table.argument for name, table in forms.items()}

        def call():
            return fastw2v.top_k(inputs, **arguments, k=k, **options)

        values, _ = tf.function(call)() if in_graph else call()
        total = tf.reduce_sum(tf.cast(upstream, values.dtype) * values)
    d_inputs, *d_tables = tape.gradient(total, sources)
    assert all(isinstance(part, tf.IndexedSlices) for part in tf.nest.flatten(d_tables))
    got = [tf.cast(d_inputs, tf.float64)]
    for table, gradients in zip(forms.values(), d_tables, strict=True):
        got.append(table.dense(gradients))

    exact = [tf.cast(value, tf.float64) for value in (inputs, *tables.values())]
    with tf.GradientTape() as tape:
        tape.watch(exact)
        values, _ = reference(exact[0], dict(zip(tables, exact[1:], strict=True)), k, **options)
        total = tf.reduce_sum(tf.cast(upstream, tf.float64) * values)
    tolerance = {"float64": 1e-6, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}[dtype]
    for gradient, expected in zip(got, tape.gradient(total, exact), strict=True):
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(gradient, expected, atol=tolerance * scale, rtol=tolerance)


def test_gradient_of_the_gradient():
    weights, inputs = tf.Variable(tf.random.normal([9, 4])), tf.Variable(tf.ones([2, 4]))
    for library in (fastw2v, fastw2v.reference):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                values, _ = library.top_k(inputs, weights, k=3)
                loss = tf.reduce_sum(values**2)
            first = tf.convert_to_tensor(inner.gradient(loss, inputs))
            second = tf.reduce_sum(first**2)
        gradient = tf.convert_to_tensor(outer.gradient(second, weights))
        if library is fastw2v:
            got = gradient
    np.testing.assert_allclose(got, gradient, rtol=1e-4, atol=1e-5)


def test_reads_a_variable_where_it_is_and_as_it_is():
    weights = keras.Variable(tf.zeros([6, 2]))
    call = tf.function(lambda: fastw2v.top_k(tf.ones([1, 2]), weights, k=1)[1])
    assert call().numpy().item() == 0
    weights.assign(tf.one_hot(4, 6)[:, None] * tf.ones([6, 2]))
    assert call().numpy().item() == 4
    assert {op.type for op in call.get_concrete_function().graph.get_operations()}.isdisjoint(
        {"ReadVariableOp", "MatMul"}
    )


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, r"k = 0 is not a Python integer in \[1, 9\]"),
        ({"k": 10}, r"k = 10 is not a Python integer in \[1, 9\]"),
        ({"k": 2.0}, r"k = 2.0 is not a Python integer"),
        ({"inputs": [1, 2]}, "inputs has dtype int32, expected float activations"),
        ({"inputs": 1.0}, r"inputs has shape \(\), expected \[..., dim\]"),
        ({"inputs": np.ones([2, 5])}, "inputs has width 5, but weights has width 4"),
        ({"weights": np.ones(4, np.float32)}, r"weights has shape \(4,\), expected \[rows, dim\]"),
        ({"biases": np.ones(8, np.float32)}, "biases has 8 entries, but weights has 9 rows"),
        ({"biases": np.ones(9)}, "biases has dtype float64, but weights has dtype float32"),
        ({"logit_scale": np.inf}, "logit_scale = inf is not a Python number"),
        ({"logit_softcap": 0.0}, r"logit_softcap = 0.0 is not in \(0, inf\)"),
        ({"logit_softcap": -1.0}, r"logit_softcap = -1.0 is not a Python number in \[0.0, inf\)"),
    ],
)
def test_bad_arguments_are_named(changes, message, in_graph):
    good = {"inputs": np.ones([2, 4], np.float32), "weights": np.ones([9, 4], np.float32), "k": 3}

    def call():
        return fastw2v.top_k(**(good | changes))

    with pytest.raises(ValueError, match=message):
        (tf.function(call) if in_graph else call)()


def test_sizes_known_only_when_it_runs():
    @tf.function(input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None, None])])
    def find(inputs, weights):
        return fastw2v.top_k(inputs, weights, k=3)

    assert find(tf.ones([2, 4]), tf.ones([3, 4]))[1].numpy().tolist() == [[0, 1, 2]] * 2
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"k = 3 is not in \[1, 2\]"):
        find(tf.ones([2, 4]), tf.ones([2, 4]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="width of weights, 5"):
        find(tf.ones([2, 4]), tf.ones([3, 5]))
