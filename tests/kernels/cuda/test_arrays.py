"""Arrays of the device as arguments: what is taken, what is refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest


def test_zero_writes_all_bytes_of_an_array(cuda, device):
    for size in (0, 1, 1000):
        array = device.empty(size, np.uint8)
        cuda.zero(array)
        np.testing.assert_array_equal(device.to_host(array), np.zeros(size))


def test_every_type_returns_from_the_device_as_it_was(device):
    for dtype in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        returned = device.to_host(device.to_device(array))
        assert returned.dtype == array.dtype
        np.testing.assert_array_equal(returned, array)


REFUSED = {
    "another type": (lambda device: device.empty(4, np.float32), "type <f4"),
    "a stride": (lambda device: device.empty((4, 4), np.uint8)[:, :2], "not contiguous"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_kernel_cannot_take_is_refused(cuda, device, case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        cuda.zero(make(device))


def test_what_is_no_array_of_the_device_is_refused(cuda):
    with pytest.raises(TypeError, match="DeviceArray"):
        cuda.zero([1, 2])


def test_the_device_says_what_kernels_ask_of_it(cuda):
    numbers = cuda.device()
    assert numbers["arch"] >= 80
    assert numbers["num_multiprocessors"] >= 1
    assert numbers["shared_bytes"] >= 48 << 10
