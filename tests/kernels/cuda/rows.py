"""Padded gradients of rows, as kernels of a GPU return them."""

from __future__ import annotations

import numpy as np


def dense_rows(rows: np.ndarray, values: np.ndarray, num_rows: int) -> np.ndarray:
    """The gradient of the whole table; checks the order of `rows` and what pads them."""
    dense = np.zeros((num_rows, *values.shape[1:]), values.dtype)
    if len(rows) == 0:
        return dense
    assert np.all((rows >= 0) & (rows < num_rows))
    assert np.all(np.diff(rows) >= 0)
    first = np.concatenate([[True], rows[1:] != rows[:-1]])
    # Padding repeats the largest row, so that only this one can come twice.
    assert np.all(rows[~first] == rows[-1])
    np.testing.assert_array_equal(values[~first].astype(np.float64), 0)
    dense[rows[first]] = values[first]
    return dense


def num_met(rows: np.ndarray) -> int:
    """How many rows a padded gradient holds."""
    return len(np.unique(rows))
