"""Random problems for the core, and how to run them through the compiled module."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
from kernels.definition import LossGradients, LossProblem

DTYPES = ("float32", "float64", "float16", "bfloat16")

# Which classes compete, and the link.
FORMS = {
    "exact": ("exact", "softmax"),
    "shared": ("shared", "softmax"),
    "shared_logistic": ("shared", "logistic"),
    "per_example": ("per_example", "softmax"),
    "per_example_logistic": ("per_example", "logistic"),
}


def table_type(dtype: str) -> type:
    """The NumPy type of a table's entries."""
    return ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype).type


def accumulator_type(dtype: str) -> type:
    """The NumPy type of hidden rows, logits and losses."""
    return np.float64 if dtype == "float64" else np.float32


def to_bits(table: np.ndarray) -> np.ndarray:
    """A table as the compiled module takes it: 16-bit types as bit patterns."""
    return table.view(np.uint16) if table.itemsize == 2 else table


def from_bits(table: np.ndarray, dtype: str) -> np.ndarray:
    """A table that the compiled module returned, in its own type."""
    return table.view(table_type(dtype))


def loss_problem(
    form: str = "exact",
    *,
    dtype: str = "float32",
    batch: int = 40,
    classes: int = 50,
    dim: int = 19,
    num_true: int = 1,
    num_sampled: int = 30,
    biases: bool = True,
    counts: bool = False,
    ignored: float = 0,
    seed: int = 0,
    **options: Any,
) -> tuple[LossProblem, np.ndarray]:
    """A problem and a random d_loss [batch]; `ignored` is the share of ignored labels."""
    rng = np.random.default_rng([seed, batch, classes, dim])
    candidates, link = FORMS[form]
    table, accumulator = table_type(dtype), accumulator_type(dtype)
    labels = rng.integers(classes, size=(batch, num_true))
    if ignored:
        labels[rng.random(labels.shape) < ignored] = options["ignore_label"]
    shape = {"exact": None, "shared": (num_sampled,), "per_example": (batch, num_sampled)}
    sampled = expected = None
    if candidates != "exact":
        sampled = rng.integers(classes, size=shape[candidates])
        if counts:
            expected = (
                rng.uniform(0.01, 3, size=labels.shape).astype(np.float32),
                rng.uniform(0.01, 3, size=sampled.shape).astype(np.float32),
            )
    problem = LossProblem(
        hidden=rng.normal(size=(batch, dim)).astype(accumulator),
        weights=(rng.normal(size=(classes, dim)) / np.sqrt(dim)).astype(table),
        biases=rng.normal(size=classes).astype(table) if biases else None,
        labels=labels,
        sampled=sampled,
        counts=expected,
        options={"link": link} | options,
    )
    return problem, rng.normal(size=batch).astype(accumulator)


@dataclass(frozen=True)
class Computed:
    """What the core computed; gradients of tables are dense, with zeros in rows not returned."""

    loss: np.ndarray
    gradients: LossGradients
    rows: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {"loss": self.loss} | vars(self.gradients)


def make_loss(kernels: ModuleType, problem: LossProblem, dtype: str, num_threads: int = 1) -> Any:
    """The compiled module's object for `problem`."""
    return getattr(kernels, f"Loss_{dtype}")(
        problem.hidden,
        to_bits(problem.weights),
        None if problem.biases is None else to_bits(problem.biases),
        problem.labels,
        problem.sampled,
        problem.counts,
        num_threads=num_threads,
        **problem.options,
    )


def compute_loss(
    kernels: ModuleType,
    problem: LossProblem,
    d_loss: np.ndarray,
    dtype: str,
    num_threads: int = 1,
    one_call: bool = False,
) -> Computed:
    """Losses and gradients by the core, in two calls or in one."""
    loss = make_loss(kernels, problem, dtype, num_threads)
    if one_call:
        (value, _, _), gradients = loss.forward_backward(d_loss)
    else:
        value, largest, log_sum = loss.forward()
        gradients = loss.backward(d_loss, largest, log_sum)
    d_hidden, rows, d_weights, d_biases = gradients
    dense_weights = np.zeros_like(problem.weights)
    dense_biases = np.zeros(len(problem.weights), table_type(dtype))
    dense_weights[rows] = from_bits(d_weights, dtype)
    dense_biases[rows] = from_bits(d_biases, dtype)
    return Computed(value, LossGradients(d_hidden, dense_weights, dense_biases), rows)
