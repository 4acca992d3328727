"""Memory and a stream of a GPU by the driver's own interface, without PyTorch: the primary context,
as TensorFlow takes it, a stream that does not wait for the default one, and arrays that
`_kernels.cuda` takes."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

_NON_BLOCKING = 1


class DriverError(Exception):
    """A function of the driver failed."""


class Driver:
    """The first device of the driver; its library is named where a test has another one."""

    def __init__(self, library: str = "libcuda.so.1") -> None:
        self._library = ctypes.CDLL(library)
        self.call("cuInit", 0)
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise DriverError(f"{name} failed with {status}")

    def enter(self) -> None:
        """Makes the context that of the calling thread."""
        self.call("cuCtxSetCurrent", self._context)

    def stream(self) -> int:
        """The address of a new stream."""
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def wait(self, stream: int) -> None:
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array whose bytes are 0xCB, so that what is not written is seen."""
        array = Array(self, shape, np.dtype(dtype))
        array.poison()
        return array

    def put(self, host: np.ndarray, repeats: int = 1) -> Array:
        """A copy of an array, as often as is said one after the other."""
        host = np.ascontiguousarray(host)
        array = Array(self, (repeats * len(host), *host.shape[1:]), host.dtype)
        source = host.ctypes.data_as(ctypes.c_void_p)
        self.call("cuMemcpyHtoD_v2", array.address, source, ctypes.c_size_t(host.nbytes))
        for i in range(1, repeats):
            there = ctypes.c_uint64(array.address.value + i * host.nbytes)
            self.call("cuMemcpyDtoD_v2", there, array.address, ctypes.c_size_t(host.nbytes))
        return array


class Array:
    """Memory of the device, freed with this object."""

    def __init__(self, driver: Driver, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._driver, self.shape, self.dtype = driver, shape, dtype
        self.nbytes = math.prod(shape) * dtype.itemsize
        self.address = ctypes.c_uint64()
        size = ctypes.c_size_t(max(self.nbytes, 16))
        driver.call("cuMemAlloc_v2", ctypes.byref(self.address), size)
        # 16-bit types are taken by their size.
        code = "<u2" if dtype.itemsize == 2 else dtype.str
        interface = {
            **{"shape": shape, "typestr": code, "version": 2},
            "data": (self.address.value, False),
        }
        self.__cuda_array_interface__ = interface
        self.__array_interface__ = {**interface, "version": 3}  # which the emulated kernels take

    def __del__(self) -> None:
        if getattr(self, "address", None):
            self._driver.call("cuMemFree_v2", self.address)

    def poison(self) -> None:
        self._driver.call(
            "cuMemsetD8_v2", self.address, ctypes.c_ubyte(0xCB), ctypes.c_size_t(self.nbytes)
        )

    def get(self, begin: int = 0, end: int | None = None) -> np.ndarray:
        """A copy of rows [begin, end) on the host."""
        rows = range(*slice(begin, end).indices(self.shape[0]))
        host = np.empty((len(rows), *self.shape[1:]), self.dtype)
        row_bytes = self.nbytes // max(self.shape[0], 1)
        there = ctypes.c_uint64(self.address.value + rows.start * row_bytes)
        target = host.ctypes.data_as(ctypes.c_void_p)
        self._driver.call("cuMemcpyDtoH_v2", target, there, ctypes.c_size_t(host.nbytes))
        return host


def load_kernels() -> ModuleType:
    """`_kernels.cuda` of the library that FASTW2V_KERNELS names, or an exit with a sentence."""
    path = os.environ.get("FASTW2V_KERNELS", "")
    if not os.path.isfile(path):
        sys.exit(f"FASTW2V_KERNELS = {path!r} is not a file: build with FASTW2V_CUDA=ON")
    spec = importlib.util.spec_from_file_location("_kernels", path)
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    if not hasattr(kernels, "cuda"):
        sys.exit(f"{path} was built without CUDA: build with FASTW2V_CUDA=ON")
    return kernels.cuda


class ExactStep:
    """The exact loss of hidden rows (and its gradients with 1 / batch upstream) on the device."""

    def __init__(
        self, driver: Driver, cuda: ModuleType, hidden: Array, weights: Array, labels: Any
    ):
        batch, (classes, dim) = hidden.shape[0], weights.shape
        name = f"ExactLoss_{weights.dtype.name}"
        self._inputs = hidden, weights, driver.put(labels.reshape(-1, 1).astype(np.int64))
        self._call = getattr(cuda, name)(*self._inputs[:2], None, self._inputs[2])
        self.loss, self._max, self._log_sum = (driver.empty((batch,), np.float32) for _ in range(3))
        self._d_loss = driver.put(np.full(batch, 1 / batch, np.float32))
        self.d_hidden = driver.empty((batch, dim), np.float32)
        self.d_weights = driver.empty((classes, dim), weights.dtype)
        self._scratch = driver.empty((self._call.scratch_bytes(),), np.uint8)

    def results(self) -> tuple[Array, Array, Array]:
        return self.loss, self.d_hidden, self.d_weights

    def run(self, stream: int) -> None:
        """Enqueues it, into results that are no numbers before."""
        for array in (*self.results(), self._max, self._log_sum, self._scratch):
            array.poison()
        self._call.forward_backward(
            *(self._d_loss, self.loss, self._max, self._log_sum, self.d_hidden, self.d_weights),
            *(None, self._scratch),
            stream=stream,
        )
