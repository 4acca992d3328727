"""Two promises that only a GPU at full size can break: the same inputs give the same bits, and
tables may have more than 2^31 entries.

    FASTW2V_KERNELS=... python tools/gpu/promises.py [--driver LIBRARY] [--small]

Ends with status 1 if one is broken. --small is for a trial on a device of any kind.
"""

from __future__ import annotations

import argparse
import sys
from types import ModuleType

import ml_dtypes
import numpy as np
from device import Driver, ExactStep, load_kernels

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Batch, classes and widths of what is computed twice. Differences would come from a race: between
# the warpgroups, or of a copy and the product that reads it (300: rows that threads copy).
TWICE, SMALL_TWICE = (8192, 100_000, (128, 300, 512)), (40, 300, (20, 64))
# Batch, rows of a block, how often it is repeated, width, and the entry from which on a 32-bit
# offset would not do.
LARGE, SMALL_LARGE = (128, 100_000, 85, 256, 2**31), (20, 70, 3, 16, 2**11)
# Of bfloat16 results, relative to the largest value.
ALLOWED = 4e-2


def random(rng: np.random.Generator, rows: int, dim: int, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal((rows, dim), np.float32) * scale).astype(BFLOAT16)


def same_bits(driver: Driver, cuda: ModuleType, batch: int, classes: int, dim: int) -> bool:
    """Whether two training steps give the same bits."""
    rng = np.random.default_rng(dim)
    stream = driver.stream()
    hidden = driver.put(random(rng, batch, dim))
    weights = driver.put(random(rng, classes, dim, dim**-0.5))
    step = ExactStep(driver, cuda, hidden, weights, rng.integers(classes, size=batch))
    runs = []
    for _ in range(2):
        step.run(stream)
        driver.wait(stream)
        runs.append([array.get() for array in step.results()])
    differ = [
        f"{name}: {int((first.view(np.uint8) != second.view(np.uint8)).sum())} bytes"
        for name, first, second in zip(("loss", "d_hidden", "d_weights"), *runs, strict=True)
        if first.tobytes() != second.tobytes()
    ]
    said = f"DIFFER in {', '.join(differ)}" if differ else "are the same"
    print(f"bits of two steps, B={batch} V={classes} D={dim}: {said}", flush=True)
    return not differ


def large_table(
    driver: Driver, cuda: ModuleType, batch: int, rows: int, repeats: int, dim: int, beyond: int
) -> bool:
    """Whether losses and gradients around an offset are right. The table is one block of rows
    again and again, so that a sum over all classes is one over the block, times the repeats."""
    classes = rows * repeats
    rng = np.random.default_rng(0)
    h, block = random(rng, batch, dim), random(rng, rows, dim, dim**-0.5)
    border = beyond // dim
    checked = np.array([0, border - 1, border, classes - 1])
    labels = rng.integers(classes, size=batch)
    labels[: len(checked)] = checked
    stream = driver.stream()
    weights = driver.put(block, repeats)
    step = ExactStep(driver, cuda, driver.put(h), weights, labels)
    step.run(stream)
    driver.wait(stream)
    h32, block32 = h.astype(np.float32), block.astype(np.float32)
    z = h32 @ block32.T
    log_sum = np.log(np.exp(z).sum(1, dtype=np.float64) * repeats)
    errors = {"loss": _error(step.loss.get(), log_sum - z[np.arange(batch), labels % rows])}
    for row in checked:
        d_logit = np.exp(z[:, row % rows] - log_sum) - (labels == row)
        got = step.d_weights.get(row, row + 1)[0].astype(np.float64)
        errors[f"d_weights[{row}]"] = _error(got, d_logit @ h32 / batch)
    good = all(error <= ALLOWED for error in errors.values())
    text = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(
        f"a table of {classes * dim:.3g} entries, relative errors: {text}: "
        f"{'right' if good else 'WRONG'}",
        flush=True,
    )
    return good


def _error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(abs(got - expected).max() / abs(expected).max())


def main(*given: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", default="libcuda.so.1", help="the driver's library")
    parser.add_argument("--small", action="store_true", help="small problems: a trial")
    arguments = parser.parse_args(given)
    cuda = load_kernels()
    driver = Driver(arguments.driver)
    driver.enter()
    batch, classes, widths = SMALL_TWICE if arguments.small else TWICE
    good = [same_bits(driver, cuda, batch, classes, dim) for dim in widths]
    good.append(large_table(driver, cuda, *(SMALL_LARGE if arguments.small else LARGE)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
