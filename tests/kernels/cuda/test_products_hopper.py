"""Products of a warpgroup (wgmma) on small whole numbers, where no rounding hides a wrong place.

Every way in which kernels name an operand is met: columns of a tile summed over or its rows, in
shared memory (here) or in registers (test_exact_loss_hopper), and tiles that the copy engine brings
or the threads.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def hopper(device, cuda, monkeypatch):
    """Makes the emulated device one of Hopper's kind."""
    if device.emulated:
        monkeypatch.setenv("FASTW2V_EMULATED_ARCH", "90")
    elif cuda.device()["arch"] != 90:
        pytest.skip("the GPU is not of compute capability 9.0")


def whole(rng, *shape):
    return rng.integers(-3, 4, size=shape).astype(ml_dtypes.bfloat16)


# (batch, classes, dim, parts) and why. Tiles of results have 128 rows and 256 or 320 columns; 64
# numbers are summed at a time.
SIZES = {
    "one step": (64, 64, 256, 1),
    "two tiles of 256, ragged in all": (70, 136, 264, 1),
    "a tile of 320, rows of 600 bytes, parts": (130, 264, 300, 3),
    "rows of 196 bytes": (3, 72, 98, 2),
    "more parts than steps": (10, 64, 64, 2),
}


@pytest.mark.parametrize("size", SIZES)
def test_gradients_times_weights(cuda, device, size):
    batch, classes, dim, parts = SIZES[size]
    rng = np.random.default_rng([batch, classes, dim])
    p, weights = whole(rng, batch, classes), whole(rng, classes - 3, dim)
    sums = device.empty((parts, batch, dim), np.float32)
    arguments = device.to_device(p), device.to_device(weights), sums
    cuda.multiply_hidden_bfloat16(*arguments, True)
    expected = p[:, : classes - 3].astype(np.float32) @ weights.astype(np.float32)
    np.testing.assert_array_equal(device.to_host(sums).sum(axis=0), expected)
    cuda.multiply_hidden_bfloat16(*arguments, False)
    np.testing.assert_array_equal(device.to_host(sums).sum(axis=0), 2 * expected)


@pytest.mark.parametrize("size", SIZES)
def test_transposed_gradients_times_hidden_rows(cuda, device, size):
    batch, classes, dim, _ = SIZES[size]
    rng = np.random.default_rng([batch, classes, dim])
    p, hidden = whole(rng, batch, classes), whole(rng, batch, dim)
    rounded = device.empty((classes - 3, dim), ml_dtypes.bfloat16)
    cuda.multiply_weights_bfloat16(device.to_device(p), device.to_device(hidden), rounded)
    expected = p[:, : classes - 3].astype(np.float32).T @ hidden.astype(np.float32)
    np.testing.assert_array_equal(device.to_host(rounded), expected.astype(ml_dtypes.bfloat16))
