"""Row-wise updates of tables on a GPU, against the dense optimizers in float64 and the CPU core."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.optimizer_definition import HISTORY_COLUMNS, NUMBERS, initial_slots, step
from kernels.problems import DTYPES, table_type
from kernels.test_optimizer import PENDING, ROWS, RULES, TOLERANCE, distance, random_step
from kernels.test_optimizer import Table as CoreTable


class Table:
    """A table with its optimizer on the device."""

    def __init__(
        self,
        cuda,
        device,
        rule,
        weights,
        dtype="float32",
        *,
        average=False,
        lazy=True,
        history=0,
    ):
        rows, dim = weights.shape
        self.device, self.dtype = device, table_type(dtype)
        self.dim = dim
        self.weights = device.to_device(weights.astype(self.dtype))
        slots = initial_slots(rule, rows, dim)
        self.slots = [device.to_device(slot.astype(self.dtype)) for slot in slots]
        self.average = device.to_device(np.zeros((rows, dim), self.dtype)) if average else None
        self.row_updates = device.to_device(np.zeros(rows, np.int64)) if history else None
        self.history = (
            device.to_device(np.zeros((history + 1, HISTORY_COLUMNS))) if history else None
        )
        self._optimizer = getattr(cuda, f"Optimizer_{dtype}")(
            rule,
            self.weights,
            self.slots,
            average=self.average,
            row_updates=self.row_updates,
            history=self.history,
            lazy=lazy,
        )

    def _arguments(self, rows, values):
        put = self.device.to_device
        return put(np.asarray(rows, np.int64)), put(np.asarray(values, self.dtype))

    def update(self, rows, values, numbers):
        scratch = self.device.scratch(self._optimizer.scratch_bytes(len(rows)))
        self._optimizer.update(*self._arguments(rows, values), numbers, scratch)

    def update_rows(self, rows, values, numbers):
        self._optimizer.update_rows(*self._arguments(rows, values), numbers)

    def update_all(self, values, numbers):
        self._optimizer.update_all(self._arguments([], values)[1], numbers)

    def apply_pending(self, rows, numbers):
        rows = None if rows is None else self.device.to_device(np.asarray(rows, np.int64))
        self._optimizer.apply_pending(rows, numbers)

    def update_history(self):
        return [self.device.to_host(array) for array in (self.row_updates, self.history)]

    def arrays(self):
        average = [] if self.average is None else [self.average]
        return [self.device.to_host(array) for array in (self.weights, *self.slots, *average)]


@pytest.mark.parametrize("dim", [1, 7, 12, 132])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_met_rows_take_the_dense_step(cuda, device, rule, dtype, dim):
    rng = np.random.default_rng(dim)
    weights = rng.normal(size=(ROWS, dim))
    table = Table(cuda, device, rule, weights, dtype)
    truth = [array.astype(np.float64) for array in table.arrays()]
    for t in range(1, 4):
        numbers = NUMBERS[rule] | {"learning_rate": 0.1, "step": t, "weight_decay": 0.1}
        ids, values, _ = random_step(rng, dim)
        values = values.astype(table_type(dtype)).astype(np.float64)
        dense = np.zeros((ROWS, dim))
        np.add.at(dense, ids, values)
        before = [array.copy() for array in truth]
        step(rule, numbers, truth[0], truth[1:], dense)
        others = np.setdiff1d(np.arange(ROWS), ids)
        for array, old in zip(truth, before, strict=True):
            array[others] = old[others]
        table.update(ids, values, numbers)
        for array, expected in zip(table.arrays(), truth, strict=True):
            assert distance(array, expected) <= TOLERANCE[dtype]
        for slot in truth[1:]:
            slot[...] = slot.astype(table.dtype)  # a sign can hang on how it is rounded


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rule", RULES)
def test_ways_to_say_the_rows_are_one(cuda, device, rule, dtype):
    """Sorted and padded, in any order, or all of them."""
    rng = np.random.default_rng(1)
    weights, dim = rng.normal(size=(ROWS, 8)), 8
    rows = np.sort(rng.permutation(ROWS)[:20])
    values = rng.normal(size=(20, dim)).astype(table_type(dtype))
    numbers = NUMBERS[rule] | {"learning_rate": 0.1, "step": 2, "average_momentum": 0.9}
    any_order, padded = (Table(cuda, device, rule, weights, dtype, average=True) for _ in range(2))
    order = rng.permutation(20)
    any_order.update(rows[order], values[order], numbers)
    padding = np.full(5, rows[-1])
    zeros = np.zeros((5, dim), values.dtype)
    padded.update_rows(np.append(rows, padding), np.append(values, zeros, axis=0), numbers)
    for first, second in zip(any_order.arrays(), padded.arrays(), strict=True):
        assert first.tobytes() == second.tobytes()

    everywhere, listed = (Table(cuda, device, rule, weights, dtype, average=True) for _ in range(2))
    values = rng.normal(size=(ROWS, dim)).astype(table_type(dtype))
    everywhere.update_all(values, numbers)
    listed.update_rows(np.arange(ROWS), values, numbers)
    for first, second in zip(everywhere.arrays(), listed.arrays(), strict=True):
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("rule", RULES)
def test_the_core_makes_the_same_steps(kernels, cuda, device, rule):
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(ROWS, 6))
    core = CoreTable(kernels, rule, weights, average=True)
    table = Table(cuda, device, rule, weights, average=True)
    for t in range(1, 4):
        numbers = NUMBERS[rule] | {"learning_rate": 0.1, "step": t, "average_momentum": 0.8}
        ids, values, _ = random_step(rng, 6, count=200)
        core.update(ids, values, numbers)
        table.update(ids, values.astype(np.float32), numbers)
    for first, second in zip(table.arrays(), core.arrays(), strict=True):
        assert distance(first, second) <= 2e-6


def test_rows_out_of_range_are_left_out(cuda, device):
    weights = np.ones((4, 3))
    numbers = NUMBERS["momentum"] | {"learning_rate": 0.5}
    expected = Table(cuda, device, "momentum", weights)
    expected.update([2], np.ones((1, 3)), numbers)
    table = Table(cuda, device, "momentum", weights)
    table.update([4, 2, -1, 1 << 40], np.ones((4, 3)), numbers)
    np.testing.assert_array_equal(table.arrays()[0], expected.arrays()[0])
    table = Table(cuda, device, "momentum", weights)
    table.update([4, -1], np.ones((2, 3)), numbers | {"weight_decay": 0.1})
    np.testing.assert_array_equal(table.arrays()[0], weights)
    table.update_rows([-1, 4], np.ones((2, 3)), numbers)
    np.testing.assert_array_equal(table.arrays()[0], weights)


def test_nothing_met_nothing_moves(cuda, device):
    table = Table(cuda, device, "adam", np.ones((4, 3)))
    table.update([], np.zeros((0, 3)), NUMBERS["adam"] | {"learning_rate": 0.5})
    np.testing.assert_array_equal(table.arrays()[0], np.ones((4, 3)))


def test_what_cannot_be_is_refused(cuda, device):
    table = Table(cuda, device, "sgd", np.ones((4, 3)))
    with pytest.raises(ValueError, match="step = 0 is not at least 1"):
        table.update([1], np.ones((1, 3)), {"learning_rate": 1, "step": 0})


def both_apply_pending(tables, rng, dim, steps, numbers, dtype="float64"):
    """The same steps by the device and by the core; each reads rows before it updates them."""
    for t in range(1, steps + 1):
        rate = 0.1 if t % 7 else 0.05  # a schedule
        now = {"average_momentum": 0.9} | numbers | {"learning_rate": rate, "step": t}
        ids, values, _ = random_step(rng, dim)
        values = values.astype(table_type(dtype))
        for table in tables:
            table.apply_pending([*ids, -1, ids[0], ROWS], now)
            table.update(ids, values, now)
    for table in tables:
        table.apply_pending(None, now)


def agree(table, core, tolerance):
    for mine, other in zip(table.arrays(), core.arrays(), strict=True):
        assert distance(mine, other.astype(np.float64)) <= tolerance
    row_updates, history = table.update_history()
    np.testing.assert_array_equal(row_updates, core.row_updates)
    np.testing.assert_allclose(history, core.history, rtol=1e-14)


# Width: one number at a time, and four, with more than one piece for a lane.
@pytest.mark.parametrize("dim, history, steps", [(5, 64, 40), (132, 16, 24)])
@pytest.mark.parametrize("name", [*PENDING, "decay_by_row"])
def test_pending_updates_are_applied_as_in_the_core(
    kernels, cuda, device, name, dim, history, steps
):
    rule, changes = PENDING.get(name) or ("rowwise_adagrad", {"weight_decay": 0.1})
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(ROWS, dim))
    options = {"lazy": False, "history": history}
    table = Table(cuda, device, rule, weights, "float64", **options)
    core = CoreTable(kernels, rule, weights, "float64", **options)
    both_apply_pending((table, core), rng, dim, steps, NUMBERS[rule] | changes)
    agree(table, core, 1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("rule", ["adam", "nesterov"])
def test_pending_updates_of_other_types_are_applied(kernels, cuda, device, rule, dtype):
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(ROWS, 8))
    options = {"lazy": False, "history": 64}
    table = Table(cuda, device, rule, weights, dtype, **options)
    core = CoreTable(kernels, rule, weights, dtype, **options)
    numbers = NUMBERS[rule] | {"weight_decay": 0.01}
    both_apply_pending((table, core), rng, 8, 20, numbers, dtype)
    agree(table, core, TOLERANCE[dtype])


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("rule", ["sgd", "adam", "rowwise_adagrad"])
def test_pending_updates_of_averages_are_applied(kernels, cuda, device, rule, lazy):
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(ROWS, 8))
    options = {"lazy": lazy, "history": 20, "average": True}
    table = Table(cuda, device, rule, weights, "float64", **options)
    core = CoreTable(kernels, rule, weights, "float64", **options)
    both_apply_pending((table, core), rng, 8, 30, NUMBERS[rule] | {"weight_decay": 0.1})
    agree(table, core, 1e-11)


def test_pending_updates_of_a_row_that_was_read_too_early_come_before_its_own(cuda, device):
    """On a GPU nobody can refuse it."""
    rng = np.random.default_rng(4)
    weights, numbers = rng.normal(size=(ROWS, 4)), NUMBERS["adam"] | {"learning_rate": 0.1}
    early, late = (Table(cuda, device, "adam", weights, lazy=False, history=64) for _ in range(2))
    for t in range(1, 30):
        ids, values, _ = random_step(rng, 4)
        late.apply_pending(ids, numbers | {"step": t})
        for table in (early, late):
            table.update(ids, values, numbers | {"step": t})
    for first, second in zip(early.arrays(), late.arrays(), strict=True):
        assert first.tobytes() == second.tobytes()


def test_padded_and_all_rows_keep_the_history(cuda, device):
    numbers = NUMBERS["momentum"] | {"learning_rate": 0.1}
    table = Table(cuda, device, "momentum", np.ones((4, 3)), lazy=False, history=64)
    table.update_rows([1, 3, 3], np.array([[1] * 3, [1] * 3, [0] * 3]), numbers)
    table.update_all(np.ones((4, 3)), numbers | {"step": 2})
    table.update_rows([], np.ones((0, 3)), numbers | {"step": 3})
    row_updates, history = table.update_history()
    # With update t those pending for row t % 64 are applied in its turn.
    assert row_updates.tolist() == [2, 2, 2, 3]
    assert history[0, 0] == 3
    table.apply_pending([], numbers)
    table.apply_pending([0, 1], numbers)
    assert table.update_history()[0].tolist() == [3, 3, 2, 3]


def test_without_a_history_no_updates_are_pending(cuda, device):
    table = Table(cuda, device, "adam", np.ones((4, 3)))
    table.apply_pending(None, NUMBERS["adam"])
    np.testing.assert_array_equal(table.arrays()[0], np.ones((4, 3)))
