"""Tables whose rows are given to ids as they come, against a definition with dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from kernels import id_table_definition
from kernels.problems import DTYPES, from_bits

# Each: rules, from how many ids a step draws, ids in a step, and why the case is there.
CASES = {
    "every_id": ({}, 400, 50),
    "one_id": ({}, 1, 7),
    "no_ids": ({}, 1, 0),
    "many_at_once": ({}, 10**9, 5000),  # several tasks; grows by more than twice
    "full": ({"max_rows": 30}, 100, 20),
    "one_row": ({"max_rows": 1}, 5, 3),
    "third_time": ({"min_count": 3}, 200, 30),
    "expiring": ({"expire_after": 3}, 300, 10),
    "expiring_at_once": ({"expire_after": 1, "max_rows": 12}, 60, 20),
    "all_rules": (
        {"min_count": 2, "max_rows": 40, "expire_after": 2, "zero_is_padding": True},
        120,
        25,
    ),
}


def random_ids(rng, distinct, count):
    """Frequent and rare ones, negative ones, and multiples of a power of 2."""
    ids = rng.integers(distinct, size=count) * rng.integers(2, size=count)
    return np.where(ids % 3 == 1, -ids, ids * 2**32 * (ids % 3 == 2) + ids).astype(np.int64)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_rows_are_those_of_the_definition(kernels, case, num_threads):
    rules, distinct, count = CASES[case]
    table, definition = kernels.IdTable(**rules), id_table_definition.IdTable(**rules)
    rng = np.random.default_rng(0)
    for _ in range(60 if count < 1000 else 5):
        ids = random_ids(rng, distinct, count)
        births = table.births
        rows, born = table.give(ids, num_threads=num_threads)
        assert rows.tolist() == definition.give(ids.tolist())
        assert table.births - births == len(born) and set(born) <= set(rows.tolist())
        others = random_ids(rng, distinct, count + 1)
        assert table.find(others, num_threads=num_threads).tolist() == definition.find(
            others.tolist()
        )
    assert table.rows == len(definition.id_of) + 1 and table.births == definition.births


def test_extreme_ids(kernels):
    ids = np.array([-(2**63), 2**63 - 1, 0, -1, 1])
    table = kernels.IdTable()
    assert table.give(ids)[0].tolist() == [1, 2, 3, 4, 5]
    assert table.find(ids[::-1]).tolist() == [5, 4, 3, 2, 1]


def test_of_ids_without_a_row_the_latest_are_counted(kernels):
    """So many that their counts have no room: an id that occurs again at once has it."""
    table = kernels.IdTable(min_count=2)
    table.give(np.array([7]))
    table.give(np.arange(10**8, 10**8 + 3 * 2**20))
    assert table.give(np.array([7]))[0].tolist() == [0]  # forgotten, and counted anew
    assert table.give(np.array([7]))[0].tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 4, 7, 64])
def test_first_values_of_a_row(kernels, dtype, dim):
    drawn = [
        from_bits(getattr(kernels, f"draw_row_{dtype}")(seed, id, -0.5, 2.0, dim), dtype)
        for seed, id in [(1, 5), (1, 6), (2, 5), (-3, -(2**63))]
    ]
    expected = [
        id_table_definition.draw_row(kernels, seed, id, -0.5, 2.0, dim)
        for seed, id in [(1, 5), (1, 6), (2, 5), (-3, -(2**63))]
    ]
    precision = {"float64": 1e-15, "float32": 1e-7, "float16": 1e-3, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(np.array(drawn, float), expected, rtol=precision, atol=precision)
    assert len({tuple(row) for row in np.array(expected)}) == 4


@pytest.mark.parametrize(
    "rules", [{"min_count": 0}, {"max_rows": 0}, {"max_rows": 2**31}, {"expire_after": -1}]
)
def test_rules_out_of_range(kernels, rules):
    with pytest.raises(ValueError, match="out of range"):
        kernels.IdTable(**rules)
