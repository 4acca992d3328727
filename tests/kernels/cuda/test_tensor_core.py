"""How the emulation sums products: as the models of tensor cores say (csrc/cuda/emulated/
tensor_core.h), by numbers for which rounding to nearest would give something else."""

from __future__ import annotations

import math

import numpy as np
import pytest

CORES = {"ampere 16": (8, 24), "hopper 16": (16, 25)}


@pytest.fixture(params=CORES)
def core(request, cuda):
    """Its name, how many products it adds at once, and the bits that it keeps of them."""
    if not cuda.emulated:
        pytest.skip("a GPU has tensor cores, not a model of them")
    return request.param, *CORES[request.param]


def padded(values, length):
    return [*values, *[0.0] * (length - len(values))]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_is_below_the_kept_bits_is_cut(cuda, core, sign):
    name, group, bits = core
    for power, kept in ((bits, group - 1), (bits + 1, 0)):
        a = [sign, *[sign * 2.0**-power] * (group - 1)]
        exact = 1 + kept * 2.0**-power
        expected = math.floor(exact * 2**23) / 2**23
        assert cuda.add_products(name, 0.0, a, [1.0] * group) == sign * expected


def test_the_sum_is_aligned_with_the_products(cuda, core):
    name, group, bits = core
    small = padded([2.0**-bits, 2.0**-bits], group)
    # One after the other each would vanish beside 1 in a float.
    assert (
        cuda.add_products(name, 1.0, small, [1.0] * group)
        == 1 + math.floor(2.0 ** (24 - bits)) * 2.0**-23
    )
    # Large products push the sum out.
    large = padded([2.0**bits, -(2.0**bits)], group)
    assert cuda.add_products(name, 0.75, large, [2.0] * group) == 0.0


def test_groups_follow_one_another(cuda, core):
    name, group, bits = core
    a = [*padded([2.0 ** (bits + 1)], group), *padded([1.0], group), *padded([-1.0], group)]
    b = [1.0] * len(a)
    # At once 1 - 1 would be exact; here both are cut.
    assert cuda.add_products(name, 0.0, a, b) == 2.0 ** (bits + 1)


def test_whole_numbers_are_exact(cuda, core):
    name, group, _ = core
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 10, size=(2, 4 * group))
    assert cuda.add_products(name, 7.0, a.tolist(), b.tolist()) == 7 + int(a @ b)


def test_numbers_that_are_not_finite(cuda, core):
    name, group, _ = core
    ones = [1.0] * group
    assert cuda.add_products(name, 1.0, padded([math.inf], group), ones) == math.inf
    assert math.isnan(cuda.add_products(name, -math.inf, padded([math.inf], group), ones))
    assert math.isnan(cuda.add_products(name, math.nan, ones, ones))
    # Too large for a float.
    assert cuda.add_products(name, 0.0, padded([2.0**100], group), [2.0**100] * group) == math.inf
    # Subnormal ones are kept.
    assert cuda.add_products(name, 0.0, padded([2.0**-140], group), ones) == 2.0**-140
