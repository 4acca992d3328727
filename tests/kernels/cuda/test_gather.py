"""Bags of rows and their gradient on a GPU, against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.cuda.rows import dense_rows, num_met
from kernels.definition import gather, gather_gradient
from kernels.problems import DTYPES, accumulator_type, table_type
from kernels.test_gather import ROWS, TOLERANCE, as_ids, error, random_bags


class Call:
    """Bags on the device."""

    def __init__(self, cuda, device, dtype, table, ids, row_splits=None, combiner="mean"):
        self.device, self.table, self.sums = device, table, accumulator_type(dtype)
        self.batch = len(ids) if row_splits is None else len(row_splits) - 1
        self.gather = getattr(cuda, f"Gather_{dtype}")(
            device.to_device(table),
            device.to_device(ids),
            None if row_splits is None else device.to_device(row_splits),
            combiner=combiner,
        )

    def forward(self, rounded=False):
        dtype = self.table.dtype if rounded else self.sums
        hidden = self.device.empty((self.batch, self.table.shape[1]), dtype)
        (self.gather.forward_rounded if rounded else self.gather.forward)(hidden)
        return self.device.to_host(hidden)

    def backward(self, d_hidden):
        capacity, dim = self.gather.row_capacity(), self.table.shape[1]
        rows = self.device.empty(capacity, np.int64)
        values = self.device.empty((capacity, dim), self.table.dtype)
        scratch = self.device.scratch(self.gather.scratch_bytes())
        self.gather.backward(self.device.to_device(d_hidden), rows, values, scratch)
        return self.device.to_host(rows), self.device.to_host(values)


# (batch, longest bag, dim) and why: 8 warps a block; pieces of 4 columns, 512 at a time.
SIZES = {
    "one of all": (1, 1, 1),
    "odd width": (9, 3, 33),
    "pieces of 4": (20, 4, 36),
    "above a span, odd width": (3, 2, 131),
    "above a span": (3, 2, 520),
    "a row with many terms": (300, 2, 4),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("form", ["plain", "padded", "ragged"])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_definition(cuda, device, size, form, combiner, dtype):
    batch, longest, dim = SIZES[size]
    rng = np.random.default_rng([dim, batch])
    table = rng.normal(size=(ROWS, dim)).astype(table_type(dtype))
    bags = random_bags(form, batch, longest, rng)
    if size == "a row with many terms":
        bags[10:200] = [[5] * len(bag) for bag in bags[10:200]]
    call = Call(cuda, device, dtype, table, *as_ids(form, bags), combiner)
    truth = gather(table, bags, combiner)
    plain = gather(table, bags, combiner, accumulator_type(dtype))
    assert error(call.forward(), truth) <= error(plain, truth) + TOLERANCE[dtype]
    allowed = error(plain.astype(table.dtype), truth) + TOLERANCE[dtype]
    assert error(call.forward(rounded=True), truth) <= allowed

    d_hidden = rng.normal(size=(batch, dim)).astype(accumulator_type(dtype))
    rows, values = call.backward(d_hidden)
    assert num_met(rows) == len(np.unique(np.concatenate(bags)))
    truth = gather_gradient(ROWS, bags, combiner, d_hidden)
    plain = gather_gradient(ROWS, bags, combiner, d_hidden, accumulator_type(dtype))
    # A long row is summed in parts: in another order than the definition's.
    allowed = error(plain.astype(table.dtype), truth) + 4 * TOLERANCE[dtype]
    assert error(dense_rows(rows, values, ROWS), truth) <= allowed


def test_what_is_out_of_range_gives_nan_and_no_gradient(cuda, device):
    table = np.ones((4, 3), np.float32)
    ids = np.array([[0, 1], [2, 4], [-1, 3], [-1, -1], [1 << 40, 0]])
    call = Call(cuda, device, "float32", table, ids)
    expected = np.array([1, np.nan, 1, np.nan, np.nan])[:, np.newaxis] * np.ones(3)
    np.testing.assert_array_equal(call.forward(), expected)
    rows, values = call.backward(np.ones((5, 3), np.float32))
    expected = np.array([0.5, 0.5, 0, 1])[:, np.newaxis] * np.ones(3)
    np.testing.assert_array_equal(dense_rows(rows, values, 4), expected)


@pytest.mark.parametrize("splits", [[0, 2, 1, 4], [0, 2, 9, 4], [-3, 2, 3, 4], [0, 1, 1, 4]])
def test_row_splits_that_are_none_give_nan_and_read_nothing_outside(cuda, device, splits):
    table, ids = np.ones((4, 3), np.float32), np.array([0, 1, 2, 3])
    splits = np.array(splits)
    call = Call(cuda, device, "float32", table, ids, splits)
    valid = (splits[:-1] >= 0) & (splits[:-1] < splits[1:]) & (splits[1:] <= 4)
    hidden = call.forward()
    np.testing.assert_array_equal(np.isnan(hidden), np.repeat(~valid[:, np.newaxis], 3, axis=1))
    rows, values = call.backward(np.ones((3, 3), np.float32))
    assert np.all(np.isfinite(dense_rows(rows, values, 4)))


def test_nothing_in_nothing_out(cuda, device):
    call = Call(cuda, device, "float32", np.ones((4, 3), np.float32), np.zeros(0, np.int64))
    assert call.forward().shape == (0, 3)
    rows, values = call.backward(np.zeros((0, 3), np.float32))
    assert rows.shape == (0,) and values.shape == (0, 3)
