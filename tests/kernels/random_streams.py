"""The streams of random bits of csrc/core/random.h, block by block."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType


def random_stream(
    kernels: ModuleType, seed: tuple[int, int], number: int
) -> Callable[[int], tuple[int, int, int, int]]:
    """Returns the function that gives the four words of block i of a stream."""
    mixed = kernels.philox((*_split(seed[1]), *_split(number)), _split(seed[0]))
    return lambda i: tuple(kernels.philox((*_split(i), *mixed[2:]), mixed[:2]))


def integer(low: int, high: int, bound: int) -> int:
    """The integer in [0, bound) of two words."""
    return (high << 32 | low) * bound >> 64


def real(low: int, high: int) -> float:
    """The number in [0, 1) of two words."""
    return ((high << 32 | low) >> 11) * 2.0**-53


def _split(x: int) -> tuple[int, int]:
    """The low and the high 32 bits of an int64."""
    return x & 0xFFFFFFFF, (x >> 32) & 0xFFFFFFFF
