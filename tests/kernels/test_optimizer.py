"""Row-wise updates of tables against the dense optimizers in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.optimizer_definition import HISTORY_COLUMNS, NUMBERS, initial_slots, step
from kernels.problems import DTYPES, table_type, to_bits

ROWS = 50
RULES = tuple(NUMBERS)
# Of the largest weight.
TOLERANCE = {"float32": 2e-6, "float64": 2e-15, "float16": 4e-3, "bfloat16": 3e-2}


class Table:
    """A table with its optimizer in the core, and arrays that it changes in place."""

    def __init__(
        self,
        kernels,
        rule,
        weights,
        dtype="float32",
        *,
        lazy=True,
        average=False,
        history=0,
        num_threads=1,
    ):
        self.dtype, self.rule = dtype, rule
        self.rows, self.dim = weights.shape
        self.weights = weights.astype(table_type(dtype))
        self.slots = [
            slot.astype(table_type(dtype)) for slot in initial_slots(rule, self.rows, self.dim)
        ]
        self.average = np.zeros_like(self.weights) if average else None
        self.row_updates = np.zeros(self.rows, np.int64) if history else None
        self.history = np.zeros((history + 1, HISTORY_COLUMNS)) if history else None
        self._optimizer = getattr(kernels, f"Optimizer_{dtype}")(
            rule,
            to_bits(self.weights),
            [to_bits(slot) for slot in self.slots],
            average=None if self.average is None else to_bits(self.average),
            row_updates=self.row_updates,
            history=self.history,
            lazy=lazy,
            num_threads=num_threads,
        )

    def update(self, rows, values, numbers):
        values = np.ascontiguousarray(values.astype(table_type(self.dtype)))
        self._optimizer.update(np.asarray(rows, np.int64), to_bits(values), numbers)

    def update_all(self, values, numbers):
        self._optimizer.update_all(to_bits(values.astype(table_type(self.dtype))), numbers)

    def apply_pending(self, rows, numbers):
        rows = None if rows is None else np.asarray(rows, np.int64)
        self._optimizer.apply_pending(rows, numbers)

    def arrays(self):
        average = [] if self.average is None else [self.average]
        return [self.weights, *self.slots, *average]

    def copies(self):
        return [array.copy() for array in self.arrays()]


def distance(values, truth):
    scale = np.max(np.abs(truth), initial=0) or 1
    return np.max(np.abs(values.astype(np.float64) - truth), initial=0) / scale


def zipf_rows(rng, count, rows=ROWS):
    """Some rows at nearly every step, some at hardly any."""
    share = 1 / np.arange(1, rows + 1)
    return rng.choice(rows, size=count, p=share / share.sum())


def random_step(rng, dim, count=12, rows=ROWS):
    ids = zipf_rows(rng, count, rows)
    values = rng.normal(size=(count, dim))
    dense = np.zeros((rows, dim))
    np.add.at(dense, ids, values)
    return ids, values, dense


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dim", [1, 7, 8, 33])
def test_updates_the_rows_met_as_the_dense_optimizer_does(kernels, dim, rule, dtype):
    rng = np.random.default_rng(dim)
    start = rng.normal(size=(ROWS, dim)).astype(table_type(dtype))
    table = Table(kernels, rule, start, dtype)
    truth, slots = start.astype(np.float64), initial_slots(rule, ROWS, dim)
    for t in range(1, 5):
        numbers = {**NUMBERS[rule], "learning_rate": 0.1 / t, "step": t, "weight_decay": 0.2}
        ids, values, _ = random_step(rng, dim)  # rows repeat, in any order
        values = values.astype(table_type(dtype))
        dense = np.zeros((ROWS, dim))
        np.add.at(dense, ids, values.astype(np.float64))
        before = table.copies()
        table.update(ids, values, numbers)
        met = np.unique(ids)
        part, part_slots = truth[met], [slot[met] for slot in slots]
        step(rule, numbers, part, part_slots, dense[met])
        truth[met] = part
        for slot, new in zip(slots, part_slots, strict=True):
            slot[met] = new.astype(table_type(dtype))  # a sign can hang on how it is rounded
        others = np.setdiff1d(np.arange(ROWS), met)
        for array, old in zip(table.arrays(), before, strict=True):
            assert np.array_equal(array[others], old[others])
    assert distance(table.weights, truth) < TOLERANCE[dtype]
    for slot, expected in zip(table.slots, slots, strict=True):
        assert distance(slot, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("rule", RULES)
def test_all_rows_at_once(kernels, rule):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(ROWS, 9))
    table, truth, slots = Table(kernels, rule, start, "float64"), start.copy(), None
    slots = initial_slots(rule, ROWS, 9)
    for t in range(1, 4):
        numbers = {**NUMBERS[rule], "learning_rate": 0.1, "step": t}
        gradient = rng.normal(size=(ROWS, 9))
        table.update_all(gradient, numbers)
        step(rule, numbers, truth, slots, gradient)
    assert distance(table.weights, truth) < TOLERANCE["float64"]


# Name: rule, what differs from NUMBERS. Each moves rows that no gradient meets.
PENDING = {
    "decay": ("sgd", {"weight_decay": 0.1}),
    "decay_adagrad": ("adagrad", {"weight_decay": 0.1}),
    "momentum": ("momentum", {}),
    "momentum_decay": ("momentum", {"weight_decay": 0.1}),
    "slow_momentum": ("momentum", {"momentum": 0.999}),
    "no_momentum": ("momentum", {"momentum": 0.0}),
    "nesterov": ("nesterov", {"weight_decay": 0.1}),
    "adam": ("adam", {}),
    "adamw": ("adam", {"weight_decay": 0.1}),
    "adam_large_epsilon": ("adam", {"epsilon": 1.0}),
    "adam_short_memory": ("adam", {"beta_2": 0.9}),  # the sum has no closed form
    "adam_growing": ("adam", {"beta_2": 0.7}),
    "amsgrad": ("amsgrad", {"weight_decay": 0.1}),
    "ftrl": ("ftrl", {}),
    "ftrl_shrinkage": ("ftrl", {"l2_shrinkage": 0.01}),
    "lion": ("lion", {}),
    "lion_decay": ("lion", {"weight_decay": 0.1}),
    "lion_short_memory": ("lion", {"beta_2": 0.5}),
    "lion_no_memory": ("lion", {"beta_2": 0.0}),
}


@pytest.mark.parametrize("steps, history", [(300, 400), (300, 16), (40, 5)])
@pytest.mark.parametrize("name", PENDING)
def test_with_pending_updates_rows_equal_the_dense_optimizer(kernels, name, steps, history):
    rule, changes = PENDING[name]
    rng = np.random.default_rng(1)
    start = rng.normal(size=(ROWS, 5))
    table = Table(kernels, rule, start, "float64", lazy=False, history=history)
    truth, slots = start.copy(), initial_slots(rule, ROWS, 5)
    for t in range(1, steps + 1):
        rate = 0.1 if t % 7 else 0.05  # a schedule
        numbers = {**NUMBERS[rule], **changes, "learning_rate": rate, "step": t}
        ids, values, dense = random_step(rng, 5)
        table.apply_pending([*ids, -1, ids[0]], numbers)
        assert distance(table.weights[ids], truth[ids]) < 2e-5
        table.update(ids, values, numbers)
        step(rule, numbers, truth, slots, dense)
    table.apply_pending(None, numbers)
    assert distance(table.weights, truth) < 2e-5
    for slot, expected in zip(table.slots, slots, strict=True):
        assert distance(slot, expected) < 1e-9
    assert np.all(table.row_updates == steps)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_moving_averages(kernels, rule, lazy):
    rng = np.random.default_rng(2)
    start = rng.normal(size=(ROWS, 5))
    table = Table(kernels, rule, start, "float64", lazy=lazy, average=True, history=20)
    truth, slots = start.copy(), initial_slots(rule, ROWS, 5)
    average = np.zeros_like(truth)
    for t in range(1, 60):
        numbers = {**NUMBERS[rule], "learning_rate": 0.1, "step": t, "average_momentum": 0.9}
        ids, values, dense = random_step(rng, 5)
        if not lazy:
            table.apply_pending(ids, numbers)
        table.update(ids, values, numbers)
        if lazy:
            met = np.unique(ids)
            part, part_slots = truth[met], [slot[met] for slot in slots]
            step(rule, numbers, part, part_slots, dense[met])
            truth[met] = part
            for slot, new in zip(slots, part_slots, strict=True):
                slot[met] = new
        else:
            step(rule, numbers, truth, slots, dense)
        average = truth.copy() if t == 1 else 0.9 * average + 0.1 * truth
    table.apply_pending(None, numbers)
    assert distance(table.weights, truth) < 1e-12
    assert distance(table.average, average) < 1e-12


@pytest.mark.parametrize("name", ["adam", "momentum", "adamw", "ftrl", "lion"])
def test_float32_stays_near_the_dense_optimizer(kernels, name):
    rule, changes = PENDING[name]
    rng = np.random.default_rng(3)
    start = rng.normal(size=(400, 4)).astype(np.float32)
    table = Table(kernels, rule, start, lazy=False, history=256)
    truth, slots = start.astype(np.float64), initial_slots(rule, 400, 4)
    for t in range(1, 1001):
        numbers = {**NUMBERS[rule], **changes, "learning_rate": 0.01, "step": t}
        ids, values, dense = random_step(rng, 4, rows=400)
        table.apply_pending(ids, numbers)
        table.update(ids, values, numbers)
        step(rule, numbers, truth, slots, dense)
    table.apply_pending(None, numbers)
    assert distance(table.weights, truth) < 1e-4


def test_lions_momentum_underflows(kernels):
    """As the dense optimizer's does in float32; then the row stands still."""
    numbers = {**NUMBERS["lion"], "beta_2": 0.5, "learning_rate": 1.0}
    table = Table(kernels, "lion", np.zeros((600, 2)), lazy=False, history=600)
    table.update([599], np.ones((1, 2)), numbers)
    for t in range(2, 500):
        table.update([], np.zeros((0, 2)), {**numbers, "step": t})
    table.apply_pending(None, numbers)
    # A power of 2 for each step: down to the smallest normal number, or to the smallest of all.
    assert 126 <= -table.weights[599, 0] <= 149
    assert table.slots[0][599, 0] == 0


def test_refuses_rows_that_were_read_too_early(kernels):
    table = Table(kernels, "adam", np.ones((ROWS, 4)), lazy=False, history=8)
    numbers = {**NUMBERS["adam"], "learning_rate": 0.1}
    table.update([3], np.ones((1, 4)), numbers)
    before = table.copies()
    with pytest.raises(ValueError, match=r"row 4 has pending updates, 1 of the 1 of this"):
        table.update([3, 4], np.ones((2, 4)), {**numbers, "step": 2})
    assert all(np.array_equal(a, b) for a, b in zip(table.arrays(), before, strict=True))
    table.apply_pending([4], {**numbers, "step": 2})
    table.update([3, 4], np.ones((2, 4)), {**numbers, "step": 2})


@pytest.mark.parametrize(
    "rows, numbers, message",
    [
        ([ROWS], {}, r"rows\[0\] = 50 is not in \[0, 50\)"),
        ([0, -1], {}, r"rows\[1\] = -1 is not in \[0, 50\)"),
        ([0], {"step": 0}, "step = 0 is not at least 1"),
        ([0], {"weight_decay": -0.5}, "weight_decay = -0.5 is not in"),
        ([0], {"weight_decay": 20.0}, "weight_decay \\* learning_rate = 20 \\* 0.1 is not below 1"),
        ([0], {"beta_1": 1.5}, r"beta_1 = 1.5 is not in \[0, 1\]"),
    ],
)
def test_bad_arguments_change_nothing(kernels, rows, numbers, message):
    table = Table(kernels, "adam", np.ones((ROWS, 4)))
    before = table.copies()
    with pytest.raises(ValueError, match=message):
        values = np.ones((len(rows), 4))
        table.update(rows, values, {**NUMBERS["adam"], "learning_rate": 0.1, **numbers})
    assert all(np.array_equal(a, b) for a, b in zip(table.arrays(), before, strict=True))


def test_pending_updates_leave_out_what_is_no_row(kernels):
    table = Table(kernels, "adam", np.ones((ROWS, 4)), lazy=False, history=8)
    numbers = {**NUMBERS["adam"], "learning_rate": 0.1}
    table.update([3], np.ones((1, 4)), numbers)
    table.apply_pending([5, ROWS, -1, 2**40], {**numbers, "step": 2})
    in_turn = range(7, 14)  # with every update those pending for some rows are applied
    assert np.flatnonzero(table.row_updates).tolist() == [3, 5, *in_turn]


def test_an_unknown_rule_is_refused(kernels):
    with pytest.raises(ValueError, match="rule = adamax is not one of sgd, momentum"):
        kernels.Optimizer_float32("adamax", np.ones((2, 2), np.float32), [])


@pytest.mark.parametrize("rule", RULES)
def test_same_bits_for_any_number_of_threads(kernels, rule):
    results = []
    for num_threads in (1, 2, 5):
        rng = np.random.default_rng(4)
        start = rng.normal(size=(1000, 12)).astype(np.float32)
        table = Table(kernels, rule, start, lazy=False, history=30, num_threads=num_threads)
        for t in range(1, 40):
            numbers = {**NUMBERS[rule], "learning_rate": 0.1, "step": t, "weight_decay": 0.01}
            ids, values, _ = random_step(rng, 12, count=300, rows=1000)
            table.apply_pending(ids, numbers)
            table.update(ids, values, numbers)
        results.append(table.copies())
    for other in results[1:]:
        for array, first in zip(other, results[0], strict=True):
            assert np.array_equal(array, first)


@pytest.mark.parametrize("rule", RULES)
def test_every_instruction_set(kernels, each_instruction_set, rule):
    rng = np.random.default_rng(5)
    start = rng.normal(size=(ROWS, 37)).astype(np.float32)
    ids, values, dense = random_step(rng, 37)
    met = np.unique(ids)
    numbers = {**NUMBERS[rule], "learning_rate": 0.1}
    truth = start[met].astype(np.float64)
    step(rule, numbers, truth, initial_slots(rule, len(met), 37), dense[met])
    for name in each_instruction_set():
        table = Table(kernels, rule, start)
        table.update(ids, values, numbers)
        assert distance(table.weights[met], truth) < 2e-6, name


def test_no_rows(kernels):
    table = Table(kernels, "adam", np.ones((ROWS, 4)))
    table.update([], np.ones((0, 4)), {**NUMBERS["adam"], "learning_rate": 0.1})
    assert np.all(table.weights == 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value, printed", [(np.nan, "nan"), (-np.inf, "-inf")])
def test_numbers_that_are_not_finite_are_refused(kernels, value, printed, dtype):
    table = Table(kernels, "adam", np.ones((ROWS, 4)), dtype)
    before = table.copies()
    values = np.ones((3, 4))
    values[1, 2] = value
    for rows in ([3, 7, 9], [7, 3, 7]):
        with pytest.raises(ValueError, match=rf"values\[1,2\] = -?{printed} is not finite"):
            table.update(rows, values, {**NUMBERS["adam"], "learning_rate": 0.1})
    for array, old in zip(table.arrays(), before, strict=True):
        assert np.array_equal(array, old)
