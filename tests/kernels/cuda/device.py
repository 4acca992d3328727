"""Arrays in the memory of the device: PyTorch's on a GPU, NumPy's in the emulated build.

The same tests run on both. Tables of 16-bit types are NumPy arrays of float16 or
ml_dtypes.bfloat16 on the host, whatever holds them on the device.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

SCRATCH_ALIGNMENT = 256


class Device:
    """Moves arrays to and from the memory that `_kernels.cuda` works on."""

    def __init__(self, cuda: ModuleType):
        self.cuda = cuda
        self.emulated: bool = cuda.emulated

    def to_device(self, array: np.ndarray) -> Any:
        """A copy of `array` on the device."""
        # An array of its own size: AddressSanitizer and compute-sanitizer watch its ends.
        array = np.array(array, order="C")
        if self.emulated:
            return array
        import torch

        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16)).cuda().view(torch.bfloat16)
        return torch.from_numpy(array).cuda()

    def to_host(self, array: Any) -> np.ndarray:
        """A copy on the host of an array of the device, after all work that writes it."""
        if self.emulated:
            return array.copy()
        import torch

        if array.dtype == torch.bfloat16:
            return array.view(torch.int16).cpu().numpy().view(ml_dtypes.bfloat16)
        return array.cpu().numpy()

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """An array on the device whose bytes are 0xCB, so that what is not written is seen."""
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = 0xCB
        return self.to_device(array)

    def scratch(self, num_bytes: int) -> Any:
        """Memory for a call, aligned, with 0xCB in it."""
        memory = self.empty(num_bytes + SCRATCH_ALIGNMENT, np.uint8)
        address = memory.ctypes.data if self.emulated else memory.data_ptr()
        start = -address % SCRATCH_ALIGNMENT
        return memory[start : start + num_bytes]

    def wait(self) -> None:
        """Until the device has done all work; errors of kernels are raised here."""
        if not self.emulated:
            import torch

            torch.cuda.synchronize()
