"""The exact loss of a GPU against its definition in float64.

Three sides, as for the CPU: an error may be as large as that of plain NumPy in the type of the
sums, plus a few units of rounding. 16-bit tables multiply by gradients of logits that are rounded
to their type, which NumPy with 16-bit logits does too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from kernels.definition import LossGradients, LossProblem, define_loss
from kernels.problems import DTYPES, accumulator_type, loss_problem, table_type
from kernels.test_loss import OPTIONS, TOLERANCE, largest_error, named, takes

IGNORED = -100
EXACT_OPTIONS = [name for name, options in OPTIONS.items() if takes("exact", options)]

# What the rounding of the gradients of logits adds to the error of gradients.
ROUNDING = {"float32": 0, "float64": 0, "float16": 2**-10, "bfloat16": 1.5 * 2**-8}


@dataclass(frozen=True)
class Computed:
    """What the device computed."""

    loss: np.ndarray
    gradients: LossGradients

    def arrays(self) -> dict[str, np.ndarray]:
        return {"loss": self.loss} | vars(self.gradients)


def exact_problem(**arguments) -> tuple[LossProblem, np.ndarray]:
    """A random problem whose hidden rows are numbers of the table's type."""
    problem, d_loss = loss_problem("exact", **arguments)
    table = table_type(arguments.get("dtype", "float32"))
    hidden = problem.hidden.astype(table).astype(problem.hidden.dtype)
    return replace(problem, hidden=hidden), d_loss


class Call:
    """A problem on the device, and its results there."""

    def __init__(self, cuda, device, problem, dtype, ids=None, **arguments):
        put = device.to_device
        table, self.sums = table_type(dtype), accumulator_type(dtype)
        self.device, self.problem, self.table = device, problem, table
        self.loss = getattr(cuda, f"ExactLoss_{dtype}")(
            put(problem.hidden.astype(table)),
            put(problem.weights),
            None if problem.biases is None else put(problem.biases),
            put(problem.labels),
            ids=None if ids is None else put(ids),
            **problem.options,
            **arguments,
        )
        self.scratch = device.scratch(self.loss.scratch_bytes())
        self.batch = len(problem.labels)
        self.value, self.max, self.log_sum = (device.empty(self.batch, self.sums) for _ in range(3))

    def forward(self):
        self.loss.forward(self.value, self.max, self.log_sum, self.scratch)

    def gradients(self, d_loss, *, one_call=False, wanted=("hidden", "weights", "biases")):
        """d_hidden, d_weights and d_biases; None where not wanted."""
        classes, dim = self.problem.weights.shape
        shapes = {
            "hidden": ((self.batch, dim), self.sums),
            "weights": ((classes, dim), self.table),
            "biases": ((classes,), self.table),
        }
        arrays = [
            self.device.empty(*shape) if name in wanted else None for name, shape in shapes.items()
        ]
        d_loss = self.device.to_device(d_loss)
        results = (self.value, self.max, self.log_sum)
        if one_call:
            self.loss.forward_backward(d_loss, *results, *arrays, self.scratch)
        else:
            self.loss.backward(d_loss, self.max, self.log_sum, *arrays, self.scratch)
        return [None if array is None else self.device.to_host(array) for array in arrays]


def compute(cuda, device, problem, d_loss, dtype, *, one_call=False, ids=None, **arguments):
    """Losses and gradients by the device, in two calls or in one."""
    call = Call(cuda, device, problem, dtype, ids, **arguments)
    if not one_call:
        call.forward()
        # What forward leaves for backward is the normalizer: scratch may be another one.
        call.scratch = device.scratch(call.loss.scratch_bytes())
    gradients = call.gradients(d_loss, one_call=one_call)
    return Computed(device.to_host(call.value), LossGradients(*gradients))


def check(cuda, device, problem, d_loss, dtype, tolerance=None, **arguments):
    """Compares with definition and plain NumPy; returns what the device computed."""
    computed = compute(cuda, device, problem, d_loss, dtype, **arguments)
    compare(computed, problem, d_loss, dtype, tolerance)
    return computed


def compare(computed, problem, d_loss, dtype, tolerance=None):
    """With definition and plain NumPy."""
    truth = named(*define_loss(problem, d_loss))
    plain = named(*define_loss(problem, d_loss, accumulator_type(dtype)))
    for name, values in computed.arrays().items():
        assert values.shape == truth[name].shape, name
        expected = plain[name].astype(values.dtype)  # a table's gradient is rounded to its type
        allowed = largest_error(expected, truth[name]) + (tolerance or TOLERANCE[dtype])
        if name != "loss":
            allowed += ROUNDING[dtype]
        assert largest_error(values, truth[name]) <= allowed, name


# All options in the two types whose kernels differ most, what they share in the others too.
OPTION_CASES = [
    (options, dtype)
    for options in EXACT_OPTIONS
    for dtype in DTYPES
    if dtype in ("float64", "bfloat16") or options in ("no biases", "softmax, all at once")
]


@pytest.mark.parametrize(("options", "dtype"), OPTION_CASES)
def test_every_option_equals_the_definition(cuda, device, options, dtype):
    problem, d_loss = exact_problem(dtype=dtype, **OPTIONS[options])
    check(cuda, device, problem, d_loss, dtype)


# (batch, classes, dim) and why. Tiles have 128 rows, classes and columns; panels have 64 columns of
# 16 bits, 32 of 32 and 16 of 64.
SIZES = {
    "one of all": (1, 1, 1),
    "below a tile, odd width": (127, 127, 7),
    "a tile": (128, 128, 64),
    "above a tile": (129, 129, 65),
    "runs of classes": (3, 1000, 12),
    "several tiles, rows of 200 bytes": (260, 140, 100),
    "two panels": (40, 140, 128),
    "rows of 600 bytes": (20, 30, 300),
    "rows of 1040 bytes": (30, 40, 520),
    "hidden rows that do not stay": (10, 20, 900),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_the_definition(cuda, device, size, dtype):
    batch, classes, dim = SIZES[size]
    problem, d_loss = exact_problem(
        dtype=dtype, batch=batch, classes=classes, dim=dim, num_true=2, label_smoothing=0.1
    )
    check(cuda, device, problem, d_loss, dtype, one_call=True)


@pytest.mark.parametrize("dim", [24, 300])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_are_no_worse_than_numpy_with_16_bits(cuda, device, dtype, dim):
    """Logits and their gradients of the table's type, everything else in float32."""
    problem, d_loss = exact_problem(dtype=dtype, batch=70, classes=200, dim=dim)
    table = table_type(dtype)
    hidden, weights = problem.hidden, problem.weights.astype(np.float32)
    logits = hidden @ weights.T + problem.biases.astype(np.float32)
    logits = logits.astype(table).astype(np.float32)
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    rows = np.arange(len(hidden))
    loss = -np.log(softmax[rows, problem.labels[:, 0]])
    d_logits = softmax
    d_logits[rows, problem.labels[:, 0]] -= 1
    d_logits = (d_logits * d_loss[:, np.newaxis]).astype(table).astype(np.float32)
    naive = LossGradients(
        d_logits @ weights, (d_logits.T @ hidden).astype(table), d_logits.sum(axis=0).astype(table)
    )
    truth = named(*define_loss(problem, d_loss))
    computed = compute(cuda, device, problem, d_loss, dtype).arrays()
    for name, values in named(loss, naive).items():
        assert largest_error(computed[name], truth[name]) <= 1.01 * largest_error(
            values, truth[name]
        ), name


@pytest.mark.parametrize("dim", [40, 300])
def test_small_gradients_of_float16_do_not_vanish(cuda, device, dim):
    """A mean over many examples: gradients of logits lie below the smallest number of float16."""
    problem, d_loss = exact_problem(dtype="float16", batch=60, classes=700, dim=dim)
    d_loss = 1e-7 * d_loss
    _, truth = define_loss(problem, d_loss)
    computed = compute(cuda, device, problem, d_loss, "float16").gradients
    error = np.max(np.abs(computed.d_hidden - truth.d_hidden))
    assert error < 2**-9 * np.max(np.abs(truth.d_hidden))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_operands_rounded_to_bfloat16(cuda, device, dtype):
    problem, d_loss = exact_problem(
        dtype=dtype, batch=150, dim=33, num_true=2, logit_scale=1.3, compute_dtype="bfloat16"
    )
    exact, gradients = define_loss(problem, d_loss)
    computed = compute(cuda, device, problem, d_loss, dtype)
    assert largest_error(computed.loss, exact) < TOLERANCE[dtype]
    for part, values in vars(computed.gradients).items():
        assert largest_error(values, vars(gradients)[part]) < 2**-7, part


def test_float32_in_one_product_of_tf32(cuda, device):
    problem, d_loss = exact_problem(batch=50, classes=70, dim=40)
    exact, gradients = define_loss(problem, d_loss)
    computed = compute(cuda, device, problem, d_loss, "float32", allow_tf32=True)
    assert TOLERANCE["float32"] < largest_error(computed.loss, exact) < 1e-3
    for part, values in vars(computed.gradients).items():
        assert largest_error(values, vars(gradients)[part]) < 2e-3, part


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_batch(cuda, device, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=0)
    for one_call in (False, True):
        computed = compute(cuda, device, problem, d_loss, dtype, one_call=one_call)
        assert computed.gradients.d_hidden.shape == (0, 19)
        assert not computed.gradients.d_weights.any() and not computed.gradients.d_biases.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_single_class_has_loss_exactly_zero(cuda, device, dtype):
    problem, d_loss = exact_problem(dtype=dtype, classes=1)
    for name, values in compute(cuda, device, problem, d_loss, dtype).arrays().items():
        assert not values.any(), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_what_is_not_wanted_changes_nothing(cuda, device, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=20, classes=150, dim=20)
    call = Call(cuda, device, problem, dtype)
    call.forward()
    names = ("hidden", "weights", "biases")
    all_three = call.gradients(d_loss)
    for name, expected in zip(names, all_three, strict=True):
        alone = call.gradients(d_loss, wanted=(name,))
        for other, values in zip(names, alone, strict=True):
            assert (values is not None) == (other == name)
        np.testing.assert_array_equal(alone[names.index(name)], expected)
    assert call.gradients(d_loss, wanted=()) == [None, None, None]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bits_every_time(cuda, device, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=140, classes=140, dim=20, num_true=2)
    once = compute(cuda, device, problem, d_loss, dtype)
    for one_call in (False, True):
        again = compute(cuda, device, problem, d_loss, dtype, one_call=one_call).arrays()
        for name, values in once.arrays().items():
            assert values.tobytes() == again[name].tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_hidden_rows_picked_by_ids(cuda, device, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=30, dim=20)
    ids = np.random.default_rng(3).integers(30, size=30)
    picked = replace(problem, hidden=problem.hidden[ids])
    computed = compute(cuda, device, problem, d_loss, dtype, ids=ids).arrays()
    for name, values in compute(cuda, device, picked, d_loss, dtype).arrays().items():
        np.testing.assert_array_equal(computed[name], values, name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrong", [-1, 50, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
@pytest.mark.parametrize("place", ["label", "id"])
def test_out_of_range_is_nan_and_has_no_gradient(cuda, device, place, wrong, dtype):
    """And reads nothing outside of a table, which the sanitizers watch."""
    problem, d_loss = exact_problem(dtype=dtype, num_true=2)
    ids = np.arange(40)
    labels = problem.labels.copy()
    if place == "label":
        labels[[0, 7], [1, 0]] = wrong
    else:
        ids[[0, 7]] = wrong
    computed = compute(cuda, device, replace(problem, labels=labels), d_loss, dtype, ids=ids)
    others = ~np.isin(np.arange(40), [0, 7])
    assert np.isnan(computed.loss[~others]).all()
    assert not computed.gradients.d_hidden[~others].any()
    without = replace(problem, hidden=problem.hidden[others], labels=problem.labels[others])
    expected = compute(cuda, device, without, d_loss[others], dtype)
    np.testing.assert_array_equal(computed.loss[others], expected.loss)
    for name, values in vars(computed.gradients).items():
        values = values[others] if name == "d_hidden" else values
        error = largest_error(values, vars(expected.gradients)[name].astype(np.float64))
        assert error < 1e-6 + ROUNDING[dtype], name


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_of_ten_thousand(cuda, device, dtype):
    """Logits are multiples of 1/16, which all types hold: only what follows them rounds."""
    problem, d_loss = exact_problem(dtype=dtype, batch=60, dim=8)
    table = table_type(dtype)
    weights = (100 * np.sign(problem.weights.astype(np.float32))).astype(table)
    biases = np.round(problem.biases.astype(np.float32) * 16) / 16
    problem = replace(
        problem, hidden=12.5 * np.sign(problem.hidden), weights=weights, biases=biases.astype(table)
    )
    computed = check(cuda, device, problem, d_loss, dtype)
    assert all(np.isfinite(values).all() for values in computed.arrays().values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_a_large_offset_of_all_logits_cancels(cuda, device, offset, dtype):
    """Logits are multiples of 1/16, which float32 holds beside the offset: the loss is the same."""
    problem, d_loss = exact_problem(dtype=dtype, batch=60, dim=7, num_true=2)
    near = replace(
        problem,
        hidden=np.round(problem.hidden * 4) / 4,
        weights=np.round(problem.weights * 4) / 4,
        biases=np.round(problem.biases * 16) / 16,
    )
    far = replace(near, biases=near.biases + accumulator_type(dtype)(offset))
    truth = named(*define_loss(near, d_loss))
    for name, values in compute(cuda, device, far, d_loss, dtype).arrays().items():
        assert largest_error(values, truth[name]) < 2 * TOLERANCE[dtype] + 1e-15, name


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("options", [{}, {"logit_softcap": 2.0}], ids=["plain", "softcap"])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["hidden", "weights", "biases"])
def test_nan_and_inf_spread_as_in_stored_logits(cuda, device, place, special, options, dtype):
    """Row 5 of `hidden`, or class 7, which no example but 3 has as label."""
    problem, d_loss = exact_problem(dtype=dtype, batch=12, classes=30, dim=5, **options)
    labels = np.where(problem.labels == 7, 8, problem.labels)
    labels[3] = 7
    problem = replace(problem, labels=labels, **{place: getattr(problem, place).copy()})
    getattr(problem, place)[5 if place == "hidden" else 7] = special
    truth = named(*define_loss(problem, d_loss))
    for name, values in compute(cuda, device, problem, d_loss, dtype).arrays().items():
        values = values.astype(np.float64)
        finite = np.isfinite(truth[name])
        np.testing.assert_array_equal(np.isnan(values), np.isnan(truth[name]), name)
        np.testing.assert_array_equal(values[~finite], truth[name][~finite])
        error = largest_error(values[finite], truth[name][finite])
        assert error < 1e-5 + 2 * ROUNDING[dtype], name


@pytest.mark.parametrize("dtype", DTYPES)
def test_biases_of_minus_infinity_mask_classes(cuda, device, dtype):
    """As if those classes were not there; whole tiles of them too."""
    problem, d_loss = exact_problem(dtype=dtype, batch=20, classes=300, dim=12)
    masked = np.arange(300) < 200
    problem.biases[masked] = -np.inf
    labels = np.where(problem.labels < 200, problem.labels % 100 + 200, problem.labels)
    problem = replace(problem, labels=labels)
    computed = check(cuda, device, problem, d_loss, dtype)
    assert not computed.gradients.d_weights[masked].any()
    assert not computed.gradients.d_biases[masked].any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_logits_minus_infinity(cuda, device, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=9)
    problem = replace(problem, biases=np.full_like(problem.biases, -np.inf))
    computed = compute(cuda, device, problem, d_loss, dtype)
    assert np.isnan(computed.loss).all() and np.isnan(computed.gradients.d_hidden).all()


def test_rows_without_columns_are_refused(cuda, device):
    problem, d_loss = exact_problem(batch=3, dim=0)
    with pytest.raises(ValueError, match="^hidden rows have 0 columns; on a GPU they need at"):
        compute(cuda, device, problem, d_loss, "float32")
