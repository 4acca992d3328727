"""The exact loss of a GPU against its definition in float64.

Three sides, as for the CPU: an error may be as large as that of plain NumPy in the type of the sums,
plus a few units of rounding. 16-bit tables multiply by gradients of logits that are rounded to their
type, which NumPy with 16-bit logits does too.
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
        # What forward leaves for backward is the normaliser: scratch may be another one.
        call.scratch = device.scratch(call.loss.scratch_bytes())
    gradients = call.gradients(d_loss, one_call=one_call)
    return Computed(device.to_host(call.value), LossGradients(*gradients))


def check(cuda, device, problem, d_loss, dtype, tolerance=None, **arguments):
    """Compares with definition and plain NumPy; returns what the device computed."""
    computed = compute(cuda, device, problem, d_loss, dtype, **arguments)
    truth = named(*define_loss(problem, d_loss))
    plain = named(*define_loss(problem, d_loss, accumulator_type(dtype)))
    for name, values in computed.arrays().items():
        assert values.shape == truth[name].shape, name
        expected = plain[name].astype(values.dtype)  # a table's gradient is rounded to its type
        allowed = largest_error(expected, truth[name]) + (tolerance or TOLERANCE[dtype])
        if name != "loss":
            allowed += ROUNDING[dtype]
        assert largest_error(values, truth[name]) <= allowed, name
    return computed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", EXACT_OPTIONS)
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
    "several tiles, rows of 200 bytes": (260, 300, 100),
    "two panels": (40, 140, 128),
    "rows of 600 bytes": (20, 30, 300),
    "hidden rows that do not stay": (10, 20, 1100),
    "rows of 1040 bytes": (30, 140, 520),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_the_definition(cuda, device, size, dtype):
    batch, classes, dim = SIZES[size]
    problem, d_loss = exact_problem(
        dtype=dtype, batch=batch, classes=classes, dim=dim, num_true=2, label_smoothing=0.1
    )
    check(cuda, device, problem, d_loss, dtype, one_call=True)
