"""How long the doctor takes to explain a model of 10,000 ops, beside the model alone.

Every variable is cut off by one tf.stop_gradient at the end, so that each path is walked in full.
"alone" computes the loss and asks for gradients; "explained" does the same under the doctor;
"diagnosis" is the part that comes after the gradients, when the cause is looked for.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable

import machine
import tensorflow as tf

from fastw2v.doctor import explain
from fastw2v.doctor.findings.missing import diagnose
from fastw2v.doctor.observe.recording import Recorder

COLUMNS = ("model", "ops", "variables", "alone_s", "explained_s", "diagnosis_s")


def chain(ops: int, variables: list[tf.Variable]) -> tf.Tensor:
    """A loss of so many ops, which uses the variables in turn."""
    value = tf.zeros([4])
    for index in range(ops // 2):
        value = value * 0.999 + variables[index % len(variables)]
    return tf.reduce_sum(tf.stop_gradient(value))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(ops: int, count: int, compiled: bool) -> tuple[object, ...]:
    """One row of the table."""
    variables = [tf.Variable(tf.ones([4])) for _ in range(count)]

    def loss() -> tf.Tensor:
        return chain(ops, variables)

    def fresh() -> Callable[[], tf.Tensor]:
        return tf.function(loss, autograph=False) if compiled else loss

    def alone() -> None:
        function = fresh()
        with tf.GradientTape() as tape:
            value = function()
        tape.gradient(value, variables)

    alone()  # what is made once for all
    function = fresh()
    with Recorder() as recorder:
        with tf.GradientTape() as tape:
            value = function()
        gradients = tape.gradient(value, variables)
        diagnosis = seconds(lambda: diagnose(value, variables, gradients, recorder, tape))
    explained = seconds(lambda: explain(fresh(), variables))
    model = "tf.function" if compiled else "eager"
    times = (seconds(alone), explained, diagnosis)
    return model, ops, count, *(round(t, 3) for t in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=10_000, help="ops of the model")
    options = parser.parse_args()
    print(", ".join(f"{name}: {value}" for name, value in machine.description().items()))
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    for compiled in (False, True):
        for count in (1, 200):
            table.writerow(measure(options.ops, count, compiled))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
