"""Kernels as TensorFlow runs them, on a machine without TensorFlow: in the primary context that the
driver made, on a stream of its own, from a thread that has never called CUDA.

    FASTW2V_KERNELS=... python tools/gpu/driver_context.py [LIBRARY OF THE DRIVER]

Prints the device and, for each type, the largest errors of a loss and its gradients; ends with
status 1 if one is too large. Without this context an error says 201 (no context) or 709.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import ml_dtypes
import numpy as np
from device import Driver, ExactStep, load_kernels

# Relative to the largest value; of the losses, and of gradients, which are rounded to the type.
# Generous: what is looked for is memory of another context or stream, not an error of rounding.
ALLOWED = {"float32": (1e-4, 1e-4), "float16": (5e-3, 1e-2), "bfloat16": (2e-2, 4e-2)}
BATCH, CLASSES, DIM = 200, 3000, 64


def truth(h: np.ndarray, w: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Losses, and the gradients of their mean, in float64."""
    h, w = h.astype(np.float64), w.astype(np.float64)
    z = h @ w.T
    log_sum = np.log(np.exp(z).sum(1))
    p = np.exp(z - log_sum[:, None])
    p[np.arange(len(h)), labels] -= 1
    return log_sum - z[np.arange(len(h)), labels], p @ w / len(h), p.T @ h / len(h)


def compare(driver: Driver, cuda: ModuleType, name: str) -> bool:
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    rng = np.random.default_rng(0)
    h = rng.normal(size=(BATCH, DIM)).astype(dtype)
    w = (rng.normal(size=(CLASSES, DIM)) / 8).astype(dtype)
    labels = rng.integers(CLASSES, size=BATCH)
    stream = driver.stream()
    step = ExactStep(driver, cuda, driver.put(h), driver.put(w), labels)
    step.run(stream)
    driver.wait(stream)
    errors = []
    for array, expected in zip(step.results(), truth(h, w, labels), strict=True):
        difference = abs(array.get().astype(np.float64) - expected)
        errors.append(float(difference.max() / abs(expected).max()))
    allowed = (ALLOWED[name][0], ALLOWED[name][1], ALLOWED[name][1])
    good = all(error <= limit for error, limit in zip(errors, allowed, strict=True))
    print(
        f"{'ok' if good else 'WRONG':6} {name:9} relative errors: loss {errors[0]:.1e}, "
        f"gradient of the hidden rows {errors[1]:.1e}, of the weights {errors[2]:.1e}",
        flush=True,
    )
    return good


def main(*arguments: str) -> int:
    cuda = load_kernels()
    driver = Driver(*arguments)
    good: list[bool] = []

    def work() -> None:
        driver.enter()
        print("device:", cuda.device(), flush=True)
        for name in ALLOWED:
            good.append(compare(driver, cuda, name))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    # A thread that ended with an error has printed it, and compared less.
    return 0 if good == [True] * len(ALLOWED) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
