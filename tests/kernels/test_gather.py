"""Rows of a table picked by ids, and their gradient, against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.definition import gather, gather_gradient
from kernels.problems import DTYPES, accumulator_type, from_bits, table_type, to_bits

ROWS = 90

# Added to the errors of plain NumPy, relative to the largest entry.
TOLERANCE = {"float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6, "float64": 1e-15}


def as_ids(form, bags):
    """Ids and row_splits of a plain list of ids, of padded bags, or of ragged ones."""
    if form == "plain":
        return np.array([bag[0] for bag in bags], np.int64), None
    if form == "ragged":
        ids = np.array([i for bag in bags for i in bag], np.int64)
        return ids, np.cumsum([0] + [len(bag) for bag in bags])
    ids = np.full((len(bags), max(map(len, bags), default=1) + 1), -1, np.int64)
    for b, bag in enumerate(bags):
        ids[b, 1 : len(bag) + 1] = bag  # padding on both sides
        ids[b, len(bag) + 1 :] = -1 - b
    return ids, None


def random_bags(form, batch, longest, rng):
    sizes = rng.integers(1, longest + 1, size=batch) if form != "plain" else np.ones(batch, int)
    return [list(rng.integers(ROWS, size=size)) for size in sizes]


def make_gather(kernels, dtype, table, bags, form="ragged", combiner="mean", num_threads=1):
    ids, row_splits = as_ids(form, bags)
    return getattr(kernels, f"Gather_{dtype}")(
        to_bits(table), ids, row_splits, combiner=combiner, num_threads=num_threads
    )


def error(values, truth):
    scale = np.max(np.abs(truth), initial=0) or 1
    return np.max(np.abs(values.astype(np.float64) - truth), initial=0) / scale


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("form", ["plain", "padded", "ragged"])
@pytest.mark.parametrize("batch", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("dim", [1, 3, 4, 5, 8, 15, 16, 17, 33])
def test_equals_the_definition(kernels, dim, batch, form, combiner, dtype):
    rng = np.random.default_rng([dim, batch])
    table = rng.normal(size=(ROWS, dim)).astype(table_type(dtype))
    bags = random_bags(form, batch, 6, rng)
    bags[0] = [bags[0][0]] * len(bags[0])  # one id again and again
    d_hidden = rng.normal(size=(batch, dim)).astype(accumulator_type(dtype))

    op = make_gather(kernels, dtype, table, bags, form, combiner)
    truth = gather(table, bags, combiner)
    plain = gather(table, bags, combiner, accumulator_type(dtype))
    assert error(op.forward(), truth) <= error(plain, truth) + TOLERANCE[dtype]

    rows, values = op.backward(d_hidden)
    np.testing.assert_array_equal(rows, np.unique(np.concatenate(bags)))
    truth = gather_gradient(ROWS, bags, combiner, d_hidden)[rows]
    plain = gather_gradient(ROWS, bags, combiner, d_hidden, accumulator_type(dtype))[rows]
    allowed = error(plain.astype(table_type(dtype)), truth) + TOLERANCE[dtype]
    assert error(from_bits(values, dtype), truth) <= allowed


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_id_gives_its_row_as_it_is(kernels, dtype):
    rng = np.random.default_rng(1)
    table = rng.normal(size=(ROWS, 7)).astype(table_type(dtype))
    bags = random_bags("plain", 100, 1, rng)
    expected = table[np.concatenate(bags)].astype(accumulator_type(dtype))
    for form in ("plain", "padded", "ragged"):
        for combiner in ("sum", "mean"):
            hidden = make_gather(kernels, dtype, table, bags, form, combiner).forward()
            np.testing.assert_array_equal(hidden, expected)


# No digit of the sort, one, and several; ids met once and often; rows of many cache lines.
@pytest.mark.parametrize(
    ("rows", "dim", "batch"),
    [
        (1, 3, 40),
        (2, 5, 300),
        (90, 700, 100),
        (2**20, 2, 50),
        (2**20, 2, 5000),
        (2**16 + 1, 9, 9000),
    ],
)
@pytest.mark.parametrize("combiner", ["sum", "mean"])
def test_terms_of_a_row_are_summed_in_their_order(kernels, rows, dim, batch, combiner):
    rng = np.random.default_rng([rows, batch])
    # Half of the ids anywhere, half of them among the first rows, the last row now and then.
    anywhere = rng.integers(rows, size=batch)
    ids = np.where(rng.random(batch) < 0.5, anywhere, anywhere % min(rows, 37))
    ids[::11] = rows - 1
    table = rng.normal(size=(rows, dim)).astype(np.float32)
    op = make_gather(kernels, "float32", table, ids[:, None].tolist(), "plain", combiner)
    np.testing.assert_array_equal(op.forward(), table[ids])

    d_hidden = rng.normal(size=(batch, dim)).astype(np.float32)
    d_table = np.zeros((rows, dim), np.float32)
    np.add.at(d_table, ids, d_hidden)
    met, values = op.backward(d_hidden)
    np.testing.assert_array_equal(met, np.unique(ids))
    np.testing.assert_array_equal(values, d_table[met])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["plain", "padded", "ragged"])
def test_same_bits_for_any_number_of_threads(kernels, form, dtype):
    rng = np.random.default_rng(2)
    table = rng.normal(size=(ROWS, 21)).astype(table_type(dtype))
    bags = random_bags(form, 900, 9, rng)
    d_hidden = rng.normal(size=(900, 21)).astype(accumulator_type(dtype))
    ops = [make_gather(kernels, dtype, table, bags, form, num_threads=n) for n in (1, 2, 3, 8)]
    once = [ops[0].forward(), *ops[0].backward(d_hidden)]
    for op in ops[1:]:
        for first, again in zip(once, [op.forward(), *op.backward(d_hidden)], strict=True):
            assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["plain", "padded", "ragged"])
def test_an_empty_batch(kernels, form, dtype):
    op = make_gather(kernels, dtype, np.zeros((ROWS, 5), table_type(dtype)), [], form)
    assert op.forward().shape == (0, 5)
    rows, values = op.backward(np.zeros((0, 5), accumulator_type(dtype)))
    assert rows.shape == (0,) and values.shape == (0, 5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_reach_only_the_bags_that_hold_them(kernels, special, dtype):
    rng = np.random.default_rng(3)
    table = rng.normal(size=(ROWS, 18)).astype(table_type(dtype))
    bags = random_bags("ragged", 100, 5, rng)
    before = make_gather(kernels, dtype, table, bags).forward()
    row = bags[7][0]
    table[row, 4] = special
    after = make_gather(kernels, dtype, table, bags).forward()
    expected = before.copy()
    expected[[row in bag for bag in bags], 4] = special
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(
    ("ids", "row_splits", "message"),
    [
        ([3, -1], None, r"inputs\[1\] = -1 .*\[0, 90\)"),
        ([3, 90], None, r"inputs\[1\] = 90 .*\[0, 90\)"),
        ([[3, 90], [1, -1]], None, r"inputs\[1\] = 90 .*\[0, 90\)"),
        ([[3, -1], [-1, -1]], None, r"inputs\[1\] is an empty bag"),
        (np.zeros((2, 0)), None, r"inputs\[0\] is an empty bag"),
        ([3, -1], [0, 2], r"inputs\[1\] = -1 .*\[0, 90\)"),
        ([3, 4], [0, 1, 1, 2], r"inputs\[1\] is an empty bag"),
        ([3, 4], [1, 2], "from 1 to 2, not from 0 to .* 2"),
        ([3, 4], [0, 1], "from 0 to 1, not from 0 to .* 2"),
        ([3, 4], [0, 2, 1, 2], r"row_splits\[2\] = 1 is below row_splits\[1\] = 2"),
        ([], [], "row_splits is empty"),
    ],
)
def test_bad_ids_are_named(kernels, ids, row_splits, message):
    table = np.zeros((ROWS, 2), np.float32)
    splits = None if row_splits is None else np.array(row_splits, np.int64)
    with pytest.raises(ValueError, match=message):
        kernels.Gather_float32(table, np.array(ids, np.int64), splits)


def test_an_unknown_combiner_is_named(kernels):
    with pytest.raises(ValueError, match='combiner = "max" .*"mean" or "sum"'):
        make_gather(kernels, "float32", np.zeros((2, 2), np.float32), [[1]], combiner="max")
