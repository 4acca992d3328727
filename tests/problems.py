"""The cases as calls of the library and of its reference, and what to compare them by."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v import _build_info

# The kernels of a GPU run on the processor, in place of its own.
EMULATED = _build_info.CUDA == "emulated"

FUNCTIONS = {
    "exact": "softmax_loss",
    "sampled": "softmax_loss",
    "sampled_own": "softmax_loss",
    "negatives": "negative_sampling_loss",
    "negatives_own": "negative_sampling_loss",
    "linear": "linear_cross_entropy",
    "tf_nn_softmax": "sampled_softmax_loss",
    "tf_nn_nce": "nce_loss",
}
FORMS = ("variable", "keras", "tensor", "shards", "tensor shards")


class Problem:
    """One case in one dtype.

    ``tables`` are the float arguments by name, in ``dtype``; what is not a table is fixed.
    """

    def __init__(self, case: cases.Case | str, loss: str, dtype: str) -> None:
        self.case = cases.BY_NAME[case] if isinstance(case, str) else case
        self.loss = loss
        self.dtype = tf.as_dtype(dtype)
        numbers = cases.draw(self.case, loss)
        names = ("embeddings", "activations", "weights", "biases")
        self.tables: dict[str, tf.Tensor] = {}
        for name in names:
            value = getattr(numbers, name)
            if value is None:
                continue
            if self.dtype == tf.float16:
                value = np.clip(value, -(2**15), 2**15)
            self.tables[name] = tf.cast(value, self.dtype)
        self.inputs: Any = numbers.inputs
        if isinstance(numbers.inputs, list):
            self.inputs = tf.RaggedTensor.from_row_lengths(
                tf.constant(sum(numbers.inputs, []), tf.int64),
                [len(bag) for bag in numbers.inputs],
            )
        self.labels = numbers.labels
        self.sampled_values = None
        if numbers.sampled is not None:
            self.sampled_values = tuple(
                tf.constant(value)
                for value in (
                    numbers.sampled,
                    numbers.true_expected_count,
                    numbers.sampled_expected_count,
                )
            )
        self.upstream = numbers.upstream

    def fused(self, tables: Mapping[str, Any], **changes: Any) -> tf.Tensor:
        """The loss by the library."""
        arguments = dict(self.case.options)
        if self.loss.startswith("tf_nn"):
            arguments["num_sampled"] = self.case.num_sampled
            arguments["num_classes"] = self.case.classes
            arguments["num_true"] = self.case.num_true
        arguments.update(inputs=self.inputs, labels=self.labels)
        return self._call(fastw2v, tables, {**arguments, **changes})

    def reference(self, tables: Mapping[str, Any]) -> tf.Tensor:
        """The loss by its definition."""
        arguments = dict(self.case.options, inputs=self.inputs, labels=self.labels)
        if self.case.inputs == "scalar":
            arguments["inputs"] = np.reshape(self.inputs, [1])
            arguments["labels"] = np.reshape(self.labels, [1, -1])
            return self._call(fastw2v.reference, tables, arguments)[0]
        return self._call(fastw2v.reference, tables, arguments)

    def _call(self, module: Any, tables: Mapping[str, Any], arguments: dict) -> tf.Tensor:
        arguments["weights"] = tables["weights"]
        if self.loss in cases.IDS:
            arguments["embeddings"] = tables["embeddings"]
        else:
            arguments["inputs"] = tables["activations"]
            arguments.pop("combiner", None)
        if not self.loss.startswith("negatives"):
            arguments["biases"] = tables.get("biases")
        if self.sampled_values is not None:
            arguments.setdefault("sampled_values", self.sampled_values)
        return getattr(module, FUNCTIONS[self.loss])(**arguments)

    def in_float64(self) -> dict[str, tf.Tensor]:
        """The same tables for the truth: rounded to ``dtype``, computed with in float64."""
        return {name: tf.cast(table, tf.float64) for name, table in self.tables.items()}


def selected(
    *,
    losses: Sequence[str] = cases.LOSSES,
    dtypes: Sequence[str] = cases.DTYPES,
    names: Sequence[str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrizes by every ``case``, ``loss`` and ``dtype`` of the table that is asked for."""
    return pytest.mark.parametrize(
        ("case", "loss", "dtype"),
        [
            pytest.param(case, loss, dtype, id=f"{case.name}-{loss}-{dtype}")
            for case in cases.CASES
            if names is None or case.name in names
            for loss in case.losses
            if loss in losses
            for dtype in case.dtypes
            if dtype in dtypes
        ],
    )


def run_python(script: str, *arguments: str) -> str:
    """Runs a script in a Python of its own, which finds the modules that this one finds (but not
    the package in the checkout, if another one is installed), and returns what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


_LAUNCHER = """\
import sys
from fastw2v.distribute import launcher
launcher._SECONDS_TO_FAIL = launcher._SECONDS_TO_END = float(sys.argv[1])
sys.exit(launcher.main(sys.argv[2:]))
"""


def launcher(patience: float | None = None) -> list[str]:
    """The command of the launcher; ``patience`` are the seconds that it gives the others where one
    fails, in place of its own."""
    if patience is None:
        return [sys.executable, "-m", "fastw2v.distribute"]
    return [sys.executable, "-c", _LAUNCHER, str(patience)]


def run_processes(
    number: int, *arguments: str | Path, patience: float | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program, with its arguments, in several processes by the launcher. They find modules
    as `run_python` has it."""
    return subprocess.run(
        [*launcher(patience), "-n", str(number), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        timeout=300,
    )


class Given:
    """A table in one of the forms a caller may give it, and the way back from its gradient."""

    def __init__(self, table: tf.Tensor, form: str) -> None:
        self._shape = table.shape
        if form == "variable":
            self.argument: Any = tf.Variable(table)
            self.sources = [self.argument]
        elif form == "keras":
            self.argument = keras.Variable(table, dtype=table.dtype.name)
            self.sources = [self.argument.value]
        elif form == "tensor":
            self.argument = tf.identity(table)
            self.sources = [self.argument]
        else:
            pieces = np.array_split(np.arange(table.shape[0]), 3)  # as the strategy "div" cuts
            self.argument = [tf.gather(table, piece) for piece in pieces]
            if form == "shards":
                self.argument = [tf.Variable(piece) for piece in self.argument]
            self.sources = self.argument

    def dense(self, gradients: list[Any]) -> np.ndarray:
        """The gradients of ``sources`` as one array of the table's shape, in float64."""
        pieces = [
            to_dense(gradient, source.shape)
            for gradient, source in zip(gradients, self.sources, strict=True)
        ]
        return np.concatenate(pieces)


def given(tables: Mapping[str, tf.Tensor], form: str) -> dict[str, Given]:
    """All tables in one form; activations are always a tensor."""
    return {
        name: Given(table, "tensor" if name == "activations" else form)
        for name, table in tables.items()
    }


def to_dense(gradient: Any, shape: tf.TensorShape) -> np.ndarray:
    """Sums an IndexedSlices, after checking that its rows are unique, ascending and in range.

    Those of a GPU's kernels, which an emulated build runs, are padded: the last row is repeated
    with values of 0.
    """
    assert gradient is not None
    if not isinstance(gradient, tf.IndexedSlices):
        assert gradient.shape == shape
        return tf.cast(gradient, tf.float64).numpy()
    rows, values = gradient.indices.numpy(), tf.cast(gradient.values, tf.float64).numpy()
    assert values.shape == (rows.size, *shape[1:])
    if EMULATED and rows.size > 0:
        unique = np.unique(rows).size
        assert np.all(rows[unique:] == rows[-1]), rows
        assert not values[unique:].any(), values
        rows, values = rows[:unique], values[:unique]
    assert np.all(np.diff(rows) > 0), rows
    assert rows.size == 0 or (rows[0] >= 0 and rows[-1] < shape[0]), rows
    np.testing.assert_array_equal(gradient.dense_shape, shape)
    total = np.zeros(shape)
    total[rows] = values
    return total


def gradients_of(loss: Callable, tables: Mapping[str, tf.Tensor], upstream: Any) -> dict:
    """Dense gradients in float64 of sum(upstream * loss(tables)), a function of plain tensors."""
    with tf.GradientTape() as tape:
        tape.watch(list(tables.values()))
        value = loss(tables)
    gradients = tape.gradient(
        value,
        list(tables.values()),
        output_gradients=tf.cast(upstream, value.dtype),
        unconnected_gradients="zero",
    )
    return {
        name: tf.cast(tf.convert_to_tensor(gradient), tf.float64).numpy()
        for name, gradient in zip(tables, gradients, strict=True)
    }


def assert_as_accurate(op: Any, naive: Any, truth: Any, dtype: Any, output_dtype: Any) -> None:
    """The three-way comparison: the op may be off the truth by what the naive computation in the
    same dtype is off at its worst, plus the rounding of the result and of a few sums of terms of
    about 1.

    ``dtype`` is that of the sums, ``output_dtype`` that in which the result is kept.
    """
    op, naive, truth = (np.asarray(value, np.float64) for value in (op, naive, truth))
    assert op.shape == truth.shape
    assert np.all(np.isfinite(truth))
    if op.size == 0:
        return
    kept, summed = tf.as_dtype(output_dtype), tf.as_dtype(dtype)
    kept_eps = np.finfo(kept.as_numpy_dtype).eps if kept != tf.bfloat16 else 2.0**-7
    tiny = 2.0**-24 if kept == tf.float16 else 0.0  # its smallest number
    allowed = (
        2 * np.abs(naive - truth).max()
        + 8 * np.finfo(summed.as_numpy_dtype).eps * max(1.0, np.abs(truth).max())
        + kept_eps / 2 * np.abs(truth)
        + tiny
    )
    error = np.abs(op - truth)
    worst = np.unravel_index(np.argmax(error - allowed), error.shape)
    assert np.all(error <= allowed), (
        f"at {worst}: op {op[worst]}, truth {truth[worst]}, naive {naive[worst]}, "
        f"error {error[worst]} above {allowed[worst]}"
    )
