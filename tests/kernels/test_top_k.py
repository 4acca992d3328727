"""The k classes of largest logit, against a sort of all logits."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.problems import DTYPES, accumulator_type, table_type, to_bits

# Integers of a few bits: their products and sums are exact in every type, and many are equal.
SIZES = {
    "one of everything": (1, 1, 1, 1),
    "one class": (70, 1, 5, 1),
    "all classes": (5, 40, 3, 40),
    "no width": (3, 30, 0, 7),
    "rows below, at and above a tile": (97, 60, 4, 3),
    "many blocks of rows": (2400, 50, 2, 2),
    "classes of several chunks": (3, 40_000, 4, 5),
    "k above a chunk's own": (2, 6000, 3, 4000),
    "k of half the classes, several chunks": (9, 9000, 8, 130),
    "more entries than scratch has room for": (300, 3000, 2, 2500),
}


def integers(rng, shape, dtype):
    return rng.integers(-3, 4, shape).astype(dtype)


def define(hidden, weights, biases, k, scale=1.0):
    """Logits in float64, sorted by the definition's order."""
    logits = scale * (hidden.astype(np.float64) @ weights.astype(np.float64).T)
    if biases is not None:
        logits += biases.astype(np.float64)
    classes = np.lexsort((np.broadcast_to(np.arange(logits.shape[1]), logits.shape), -logits))
    # lexsort leaves NaN last: they come first.
    nan_first = np.argsort(~np.isnan(np.take_along_axis(logits, classes, 1)), 1, kind="stable")
    classes = np.take_along_axis(classes, nan_first, 1)[:, :k]
    return np.take_along_axis(logits, classes, 1), classes


def top_k(kernels, dtype, hidden, weights, biases, k, **options):
    hidden = hidden.astype(accumulator_type(dtype))
    biases = None if biases is None else to_bits(biases)
    return getattr(kernels, f"top_k_{dtype}")(hidden, to_bits(weights), biases, k, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_sort(kernels, size, dtype):
    batch, classes, dim, k = SIZES[size]
    rng = np.random.default_rng([batch, classes])
    hidden = integers(rng, (batch, dim), accumulator_type(dtype))
    weights = integers(rng, (classes, dim), table_type(dtype))
    for biases in (None, integers(rng, classes, table_type(dtype))):
        values, indices = top_k(kernels, dtype, hidden, weights, biases, k, num_threads=2)
        expected_values, expected_indices = define(hidden, weights, biases, k)
        np.testing.assert_array_equal(indices, expected_indices)
        np.testing.assert_array_equal(values, expected_values)
        assert values.dtype == accumulator_type(dtype)


def test_equals_a_sort_on_each_instruction_set(kernels, each_instruction_set):
    rng = np.random.default_rng(1)
    for dtype in DTYPES:
        for dim in (3, 8, 33):
            hidden = integers(rng, (50, dim), accumulator_type(dtype))
            weights = integers(rng, (2000, dim), table_type(dtype))
            biases = integers(rng, 2000, table_type(dtype))
            expected = define(hidden, weights, biases, 9)
            for _ in each_instruction_set():
                got = top_k(kernels, dtype, hidden, weights, biases, 9)
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_those_of_real_logits(kernels, dtype):
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(40, 37)).astype(accumulator_type(dtype))
    weights = rng.normal(size=(3000, 37)).astype(table_type(dtype))
    values, indices = top_k(kernels, dtype, hidden, weights, None, 20, logit_scale=-0.25)
    expected, _ = define(hidden, weights, None, 20, scale=-0.25)
    tolerance = 1e-14 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(values, expected, rtol=tolerance)
    logits = -0.25 * hidden.astype(np.float64) @ weights.astype(np.float64).T
    at_indices = np.take_along_axis(logits, indices, 1)
    np.testing.assert_allclose(values, at_indices, rtol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_soft_cap_changes_values_and_not_the_order(kernels, dtype):
    rng = np.random.default_rng(3)
    hidden = integers(rng, (20, 6), accumulator_type(dtype))
    weights = integers(rng, (500, 6), table_type(dtype))
    biases = integers(rng, 500, table_type(dtype))
    plain, indices = top_k(kernels, dtype, hidden, weights, biases, 8)
    capped, same = top_k(kernels, dtype, hidden, weights, biases, 8, logit_softcap=3.0)
    np.testing.assert_array_equal(same, indices)
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(capped, 3 * np.tanh(plain / 3), rtol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 7, 300])
def test_nan_comes_first_and_infinities_have_their_places(kernels, k, dtype):
    rng = np.random.default_rng(4)
    hidden = integers(rng, (11, 5), accumulator_type(dtype))
    hidden[:, 0] = 1
    hidden[3] = np.nan  # all logits of a row
    weights = integers(rng, (2000, 5), table_type(dtype))
    weights[[5, 800, 1999], 0] = np.nan
    weights[[6, 900, 1998], 0] = np.inf
    weights[[7, 901, 1997], 0] = -np.inf
    values, indices = top_k(kernels, dtype, hidden, weights, None, k, num_threads=3)
    with np.errstate(invalid="ignore"):
        expected = define(hidden, weights, None, k)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(indices[3], np.arange(k))
    np.testing.assert_array_equal(indices[0, :6], [5, 800, 1999, 6, 900, 1998][:k])


@pytest.mark.parametrize("value", [0.0, -np.inf, np.inf, np.nan])
def test_equal_logits_come_in_the_order_of_their_classes(kernels, value):
    weights = np.zeros((20_000, 3), np.float32)
    biases = np.full(20_000, value, np.float32)
    values, indices = kernels.top_k_float32(np.ones((100, 3), np.float32), weights, biases, 40)
    np.testing.assert_array_equal(indices, np.broadcast_to(np.arange(40), (100, 40)))
    np.testing.assert_array_equal(values, np.full((100, 40), value))


def test_ascending_logits_are_the_worst_order(kernels):
    weights = np.arange(30_000, dtype=np.float32)[:, None]
    _, indices = kernels.top_k_float32(np.array([[1], [-1]], np.float32), weights, None, 50)
    np.testing.assert_array_equal(indices, [np.arange(29_999, 29_949, -1), np.arange(50)])


@pytest.mark.parametrize("batch", [2, 5])
def test_more_entries_than_scratch_takes_for_two_rows(kernels, batch):
    rng = np.random.default_rng(6)
    hidden = np.arange(1, batch + 1, dtype=np.float32)[:, None]
    weights = rng.integers(-1000, 1000, (1_500_000, 1)).astype(np.float32)
    k = 800_000
    values, indices = kernels.top_k_float32(hidden, weights, None, k, logit_scale=2.0)
    order = np.lexsort((np.arange(len(weights)), -weights[:, 0]))[:k]
    np.testing.assert_array_equal(indices, np.broadcast_to(order, (batch, k)))
    np.testing.assert_array_equal(values, 2 * hidden * weights[order, 0])


def test_same_bits_for_any_number_of_threads(kernels):
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=(130, 19)).astype(np.float32)
    weights = rng.normal(size=(30_000, 19)).astype(np.float32)
    once = kernels.top_k_float32(hidden, weights, None, 10)
    for num_threads in (2, 3, 8):
        again = kernels.top_k_float32(hidden, weights, None, 10, num_threads=num_threads)
        assert [part.tobytes() for part in again] == [part.tobytes() for part in once]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_batch(kernels, dtype):
    hidden, weights = np.zeros((0, 5)), np.zeros((9, 5), table_type(dtype))
    values, indices = top_k(kernels, dtype, hidden, weights, None, 4)
    assert values.shape == indices.shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k = 0 is not in \[1, 9\], the rows of weights"),
        ({"k": 10}, r"k = 10 is not in \[1, 9\], the rows of weights"),
        ({"biases": np.zeros(8, np.float32)}, "biases has 8 entries, but weights has 9 rows"),
        ({"weights": np.zeros((0, 5), np.float32)}, "weights has no rows"),
        ({"logit_scale": np.inf}, r"logit_scale = inf is not in \(-inf, inf\)"),
        ({"logit_softcap": -1.0}, r"logit_softcap = -1 is not in \[0, inf\)"),
    ],
)
def test_bad_arguments_are_named(kernels, arguments, message):
    good = {"weights": np.zeros((9, 5), np.float32), "biases": None, "k": 3}
    with pytest.raises(ValueError, match=message):
        kernels.top_k_float32(np.zeros((2, 5), np.float32), **(good | arguments))
