"""The k classes of largest logit on a GPU, against a sort of all logits."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.problems import DTYPES, accumulator_type, table_type
from kernels.test_top_k import define, integers


def top_k(cuda, device, dtype, hidden, weights, biases, k, **options):
    put, sums = device.to_device, accumulator_type(dtype)
    hidden, weights = put(hidden.astype(sums)), put(weights)
    biases = None if biases is None else put(biases)
    values, indices = device.empty((len(hidden), k), sums), device.empty((len(hidden), k), np.int64)
    scratch = device.scratch(getattr(cuda, f"top_k_scratch_bytes_{dtype}")(hidden, weights, k))
    getattr(cuda, f"top_k_{dtype}")(hidden, weights, biases, k, values, indices, scratch, **options)
    return device.to_host(values), device.to_host(indices)


# (batch, classes, dim, k) and why: 512 classes come at a time.
SIZES = {
    "one of everything": (1, 1, 1, 1),
    "all classes": (1, 40, 3, 40),
    "no width": (1, 30, 0, 7),
    "one more than come at a time": (1, 513, 4, 5),
    "several parts, largest k": (1, 1500, 4, 512),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_sort(cuda, device, size, dtype):
    batch, classes, dim, k = SIZES[size]
    rng = np.random.default_rng([batch, classes])
    hidden = integers(rng, (batch, dim), accumulator_type(dtype))
    weights = integers(rng, (classes, dim), table_type(dtype))
    biases = integers(rng, classes, table_type(dtype))
    values, indices = top_k(cuda, device, dtype, hidden, weights, biases, k)
    expected_values, expected_indices = define(hidden, weights, biases, k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(values, expected_values)


def test_options_and_real_logits(cuda, device):
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(2, 37)).astype(np.float32)
    weights = rng.normal(size=(700, 37)).astype(np.float32)
    options = {"logit_scale": -0.25, "logit_softcap": 2.0}
    values, indices = top_k(cuda, device, "float32", hidden, weights, None, 9, **options)
    plain, expected = define(hidden, weights, None, 9, scale=-0.25)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(values, 2 * np.tanh(plain / 2), rtol=1e-5)


def test_nan_comes_first_and_infinity_next(cuda, device):
    weights = np.zeros((600, 1), np.float32)
    weights[[7, 550]] = np.nan
    weights[[3, 580]] = np.inf
    weights[5] = -np.inf
    hidden = np.ones((1, 1), np.float32)
    indices = top_k(cuda, device, "float32", hidden, weights, None, 6)[1]
    np.testing.assert_array_equal(indices[0], [7, 550, 3, 580, 0, 1])


def test_what_cannot_be_is_refused(cuda, device):
    for k, message in ((0, r"k = 0 is not in \[1, 600\]"), (513, r"k = 513 is not in \[1, 512\]")):
        with pytest.raises(ValueError, match=message):
            top_k(cuda, device, "float32", np.ones((1, 2)), np.ones((600, 2), np.float32), None, k)
