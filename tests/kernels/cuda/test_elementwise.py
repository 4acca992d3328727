"""What is done to whole arrays besides the losses, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.problems import DTYPES, accumulator_type, table_type

SIZES = (0, 1, 257, 10_000)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_are_rounded_widened_and_scaled(cuda, device, dtype):
    table, sums = table_type(dtype), accumulator_type(dtype)
    for size in SIZES:
        numbers = np.random.default_rng(size).normal(size=size).astype(sums)
        rounded = device.empty(size, table)
        getattr(cuda, f"round_array_{dtype}")(device.to_device(numbers), rounded)
        np.testing.assert_array_equal(device.to_host(rounded), numbers.astype(table))
        wide = device.empty(size, sums)
        getattr(cuda, f"widen_array_{dtype}")(rounded, wide)
        np.testing.assert_array_equal(device.to_host(wide), numbers.astype(table).astype(sums))
        for factor in (1, -0.37):
            scale = getattr(cuda, f"scale_array_{dtype}")
            on_device = device.to_device(np.array([factor], sums))
            expected = (sums(factor) * device.to_host(wide)).astype(table)
            scaled = device.empty(size, table)
            scale(on_device, rounded, scaled)
            np.testing.assert_array_equal(device.to_host(scaled), expected)
            in_place = device.to_device(numbers.astype(table))
            scale(on_device, in_place, in_place)
            np.testing.assert_array_equal(device.to_host(in_place), expected)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_a_number_fills_an_array(cuda, device, dtype):
    for size in SIZES:
        array = device.empty(size, dtype)
        getattr(cuda, f"fill_array_{dtype}")(device.to_device(np.array([2.5], dtype)), array)
        np.testing.assert_array_equal(device.to_host(array), np.full(size, 2.5))


# d_loss as a function of the coefficients, and the factor expected.
FACTORS = {
    "the coefficients": (lambda c: c, 1),
    "nearly the coefficients": (lambda c: c * (1 + np.finfo(c.dtype).eps), 1),
    "a multiple": (lambda c: -3 * c, -3),
    "nothing": (lambda c: 0 * c, 0),
    "no multiple": (lambda c: np.where(np.arange(c.size) == c.size - 1, c + 1, c), np.nan),
    "not a number": (lambda c: np.where(np.arange(c.size) == 1, np.nan, c), np.nan),
}


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("case", FACTORS)
def test_the_factor_of_coefficients_is_found(cuda, device, case, dtype):
    make, expected = FACTORS[case]
    for size in (2, 300, 1025):
        coefficients = np.random.default_rng(size).normal(size=size).astype(dtype)
        coefficients[size // 2] = 0
        for given in (coefficients, np.array(0.25, dtype)):
            d_loss = make(np.broadcast_to(given, size).astype(dtype))
            factor = device.empty(1, dtype)
            getattr(cuda, f"common_factor_{dtype}")(
                device.to_device(d_loss), device.to_device(given), factor
            )
            np.testing.assert_allclose(device.to_host(factor), [expected], rtol=1e-5)


def test_no_examples_have_the_factor_1(cuda, device):
    for coefficients in (np.zeros(0, np.float32), np.array(0.5, np.float32)):
        factor = device.empty(1, np.float32)
        cuda.common_factor_float32(
            device.empty(0, np.float32), device.to_device(coefficients), factor
        )
        assert device.to_host(factor) == [1]
