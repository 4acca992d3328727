"""The library of matrix products, cuBLAS on a GPU, on small whole numbers: no rounding hides a
wrong place."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.problems import accumulator_type, table_type

# Of operands and of the result.
TYPES = {
    "float32_float32": ("float32", "float32"),
    "float64_float64": ("float64", "float64"),
    "float16_float32": ("float16", "float32"),
    "bfloat16_float32": ("bfloat16", "float32"),
    "bfloat16_bfloat16": ("bfloat16", "bfloat16"),
}


def whole(rng, *shape):
    return rng.integers(-3, 4, size=shape)


@pytest.mark.parametrize("beta", [0.0, 2.0])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("types", TYPES)
def test_products_of_whole_numbers(cuda, device, types, transpose_a, transpose_b, beta):
    operands, result = (table_type(name) for name in TYPES[types])
    rng = np.random.default_rng(5)
    m, n, k, columns = 24, 40, 16, 33
    a, b, c = whole(rng, m, k), whole(rng, k, n), whole(rng, m, n)
    old = c.astype(result)
    if beta == 0:
        old[:] = np.nan  # is not read
    on_device = device.to_device(old)
    getattr(cuda, f"multiply_{types}")(
        device.to_device((a.T if transpose_a else a).astype(operands)),
        device.to_device((b.T if transpose_b else b).astype(operands)),
        on_device,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        alpha=0.5,
        beta=beta,
        columns=columns,
    )
    expected = 0.5 * (a @ b) + beta * c
    computed = device.to_host(on_device)
    np.testing.assert_array_equal(computed[:, :columns], expected[:, :columns].astype(result))
    # What lies beside the result is left as it is.
    assert computed[:, columns:].tobytes() == old[:, columns:].tobytes()


def test_tf32_is_only_where_it_is_allowed(cuda, device):
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 64, 64)).astype(np.float32)
    truth = a.astype(np.float64) @ b.astype(np.float64)
    error = {}
    for allowed in (False, True):
        c = device.empty((64, 64), accumulator_type("float32"))
        arguments = device.to_device(a), device.to_device(b), c
        cuda.multiply_float32_float32(*arguments, columns=64, allow_tf32=allowed)
        error[allowed] = np.max(np.abs(device.to_host(c) - truth))
    assert error[False] < 2e-5 < 1e-4 < error[True] < 0.1


def test_what_no_library_takes(cuda, device):
    """Without a row or a column there is nothing to do."""
    empty = device.empty((0, 8), np.float32)
    ones = device.to_device(np.ones((4, 8), np.float32))
    cuda.multiply_float32_float32(
        device.empty((0, 4), np.float32), ones, empty, columns=8, transpose_b=False
    )
    assert device.to_host(empty).shape == (0, 8)
