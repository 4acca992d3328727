"""Whole training steps: a loss, its gradients and the optimizer's update of the tables.

"fastw2v" is `fastw2v.train_step` or, for a single update, an optimizer of `fastw2v.optimizers`;
"fastw2v, tape" is the loss, a GradientTape and that optimizer; "TensorFlow, Keras" is the loss of
tf.nn with the optimizer of Keras. All in a tf.function, the sampler included. Sampled classes come
from the log-uniform distribution, and labels too, as words of a text would.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import harness
import machine
import numpy as np
import tensorflow as tf
from sampled import log_uniform

import fastw2v

COLUMNS = (
    *("work", "optimizer", "batch", "classes", "sampled", "dim", "contestant"),
    *("rounds", "median_s", "p20_s", "p80_s", "time_ratio"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)
RATE = 0.05


@dataclass(frozen=True)
class Case:
    """What is measured, and the size of its problem.

    Attributes:
        work: "step", a sampled softmax on activations with its update of weights and biases;
            "lazy", that step with our Adam, lazy or not; "size", that step on tables of `classes`
            rows, ten and a hundred times as many; "rows", the update of a table alone by the rows
            that such a step uses.
        optimizer: Name of a class of `fastw2v.optimizers` and of Keras.
        batch, classes, sampled, dim: B, V, S and D.
    """

    work: str
    optimizer: str
    batch: int
    classes: int
    sampled: int
    dim: int

    def __str__(self) -> str:
        return (
            f"{self.work}, {self.optimizer}: B={self.batch:,} V={self.classes:,} "
            f"S={self.sampled:,} D={self.dim:,}"
        )


_BASE = Case("step", "SGD", batch=1024, classes=1_000_000, sampled=1024, dim=128)
BAR = (
    _BASE,
    replace(_BASE, optimizer="Adagrad"),
    replace(_BASE, optimizer="Adam"),
    replace(_BASE, work="lazy", optimizer="Adam"),
    replace(_BASE, work="rows", optimizer="Adagrad"),
    replace(_BASE, work="size", optimizer="Adagrad", classes=100_000, dim=16),
)
QUICK = tuple(replace(case, batch=8, classes=500, sampled=4, dim=20) for case in BAR)


class Problem:
    """Tables and a batch, and a step on them by each contestant."""

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(1)
        self.case = case
        self.hidden = tf.constant(rng.standard_normal((case.batch, case.dim), np.float32))
        self._rng = rng

    def labels(self) -> tf.Tensor:
        """Other labels at every step, as in training."""
        uniform = tf.random.uniform([self.case.batch])
        return log_uniform(uniform, self.case.classes)

    def tables(self) -> list[tf.Variable]:
        shape = [self.case.classes, self.case.dim]
        return [tf.Variable(tf.random.normal(shape)), tf.Variable(tf.zeros(shape[:1]))]

    def arguments(self, tables: list[tf.Variable]) -> dict[str, Any]:
        return {
            "weights": tables[0],
            "biases": tables[1],
            "labels": self.labels()[:, tf.newaxis],
            "inputs": self.hidden,
            "num_sampled": self.case.sampled,
            "num_classes": self.case.classes,
        }

    def fused(self, optimizer: Any) -> Callable[[], Any]:
        tables = self.tables()
        optimizer.build(tables)

        def step() -> tf.Tensor:
            loss = fastw2v.sampled_softmax_loss
            return fastw2v.train_step(optimizer, loss, **self.arguments(tables))

        return tf.function(step)

    def taped(self, loss_of: Callable[..., tf.Tensor], optimizer: Any) -> Callable[[], Any]:
        tables = self.tables()
        optimizer.build(tables)

        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = loss_of(**self.arguments(tables))
            optimizer.apply_gradients(zip(tape.gradient(loss, tables), tables, strict=True))
            return loss

        return tf.function(step)

    def steps(self) -> dict[str, Callable[[], Any]]:
        case = self.case
        ours = getattr(fastw2v.optimizers, case.optimizer)
        if case.work == "lazy":
            return {
                harness.OURS: self.fused(ours(RATE, lazy=True)),
                "fastw2v, lazy=False": self.fused(ours(RATE, lazy=False)),
            }
        if case.work == "size":
            larger = {
                f"fastw2v, {n} x V": replace(case, classes=n * case.classes) for n in (10, 100)
            }
            steps = {name: Problem(other).fused(ours(RATE)) for name, other in larger.items()}
            return {harness.OURS: self.fused(ours(RATE)), **steps}
        if case.work == "rows":
            return self._updates(ours(RATE, lazy=True))
        keras_optimizer = getattr(tf.keras.optimizers, case.optimizer)(RATE)
        return {
            harness.OURS: self.fused(ours(RATE, lazy=True)),
            "fastw2v, tape": self.taped(_fastw2v_mean, ours(RATE, lazy=True)),
            "TensorFlow, Keras": self.taped(_tensorflow_mean, keras_optimizer),
        }

    def _updates(self, optimizer: Any) -> dict[str, Callable[[], Any]]:
        case = self.case
        count = min(case.batch + case.sampled, case.classes)
        rows = tf.constant(np.sort(self._rng.choice(case.classes, count, replace=False)))
        values = tf.constant(self._rng.standard_normal((count, case.dim), np.float32))
        table, other = self.tables()[0], self.tables()[0]
        sums = tf.Variable(tf.ones_like(other))
        optimizer.build([table])
        slices = tf.IndexedSlices(values, rows, tf.constant([case.classes, case.dim]))

        def raw() -> None:
            tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=other.handle,
                accum=sums.handle,
                lr=RATE,
                epsilon=1e-7,
                grad=values,
                indices=rows,
            )

        return {
            harness.OURS: tf.function(lambda: optimizer.apply_gradients([(slices, table)])),
            "ResourceSparseApplyAdagradV2": tf.function(raw),
        }


def _fastw2v_mean(**arguments: Any) -> tf.Tensor:
    return fastw2v.sampled_softmax_loss(**arguments, reduction="mean")


def _tensorflow_mean(**arguments: Any) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sampled_softmax_loss(**arguments))


def measure(case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Times a case, prints its table and returns its rows."""
    steps = Problem(case).steps()
    for step in steps.values():
        step()
    times = harness.measured(steps, options.rounds, options.seconds)
    rows = []
    for name, measurement in times.items():
        row = {
            "work": case.work,
            "optimizer": case.optimizer,
            "batch": case.batch,
            "classes": case.classes,
            "sampled": case.sampled,
            "dim": case.dim,
            "contestant": name,
            "rounds": len(measurement.seconds),
            "median_s": measurement.percentile(50),
            "p20_s": measurement.percentile(20),
            "p80_s": measurement.percentile(80),
            "time_ratio": measurement.ratio(times[harness.OURS]),
        }
        rows.append(row)
        print(
            f"  {name:28} {row['median_s'] * 1e3:10.3f} ms  (p20 {row['p20_s'] * 1e3:.3f}, p80 "
            f"{row['p80_s'] * 1e3:.3f}) {row['time_ratio']:8.2f} x ours",
            flush=True,
        )
    return rows


def main() -> None:
    options = harness.options(__doc__, "training")
    description = machine.description()
    print(", ".join(f"{name} {value}" for name, value in description.items() if value))
    rows = []
    for case in QUICK if options.quick else BAR:
        print(f"\n{case}", flush=True)
        rows += [row | description for row in measure(case, options)]
        if options.output:  # after each case, so that what was measured outlives an interruption
            harness.write(options.output, COLUMNS, rows)
    if options.output:
        print(f"\nwritten: {options.output}")


if __name__ == "__main__":
    main()
