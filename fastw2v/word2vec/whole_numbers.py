"""Numbers that count something, as the integers that are kept of them."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np


def whole_numbers(name: str, values: Any) -> np.ndarray:
    """Whole numbers in [-2**63, 2**63) as a new int64 array of the same shape.

    Raises:
        ValueError: A value is not such a number; the message begins with ``name``.
    """
    try:
        given = np.asarray(values)
        with np.errstate(invalid="ignore"):
            numbers = given.astype(np.int64) if given.dtype.kind in "biufO" else None
        # A float of 2**63 becomes -2**63, NaN any number: neither is equal afterwards.
        if numbers is not None and np.array_equal(numbers, given):
            return numbers
    except (OverflowError, TypeError, ValueError):
        pass
    raise ValueError(f"{name} = {reprlib.repr(values)} must be whole numbers in [-2**63, 2**63)")
