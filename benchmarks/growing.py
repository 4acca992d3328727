"""Tables that grow, beside tables of fixed size: time, memory, and quality on clicks held out.

* "lookup" reads rows of ids that have one; "sgd", "adagrad" and "adam" are a lookup in training,
  its gradient and the update. All on one thread, in a `tf.function`, in processor time;
  contestants take turns. Ids are drawn with a skew, the rows of a fixed table are those that the
  growing one gives. Keras' layer and optimizer are the third contestant of a step.
* "new ids" gives rows to ids that have none, each in a process of its own: seconds per id, and the
  peak of memory beside what the process had before.
* "clicks" trains the models of `examples/undeclared_ids.py`: the area under the ROC curve on clicks
  held out, for some seeds, Keras' ids hashed to several numbers of rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import keras
import machine
import numpy as np
import process
import tensorflow as tf
from harness import OURS

import fastw2v

FIXED, KERAS = f"{OURS}, fixed", "Keras, fixed"
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "undeclared_ids.py"
COLUMNS = (
    *("work", "ids", "batch", "dim", "contestant", "rounds", "median_s", "p20_s", "p80_s"),
    *("times_fixed", "peak_bytes", "auc"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)


@dataclass(frozen=True)
class Case:
    """A work, and the sizes of its table and its batches."""

    work: str
    ids: int
    batch: int
    dim: int = 32

    def __str__(self) -> str:
        return f"{self.work}: {self.ids:,} ids x {self.dim}, {self.batch:,} in a batch"


CASES = tuple(
    Case(work, ids, batch)
    for ids, batch in ((100_000, 4096), (1_000_000, 4096), (1_000_000, 65_536))
    for work in ("lookup", "sgd", "adagrad", "adam")
)
QUICK = tuple(Case(work, 500, 64, 4) for work in ("lookup", "adam"))
# How many ids, in batches of how many, how wide, and at most how many rows.
NEW_IDS = ((10_000_000, 65_536, 16, None), (10_000_000, 65_536, 16, 1_000_000))
QUICK_NEW_IDS = ((2000, 100, 4, None), (2000, 100, 4, 500))
HASHED_ROWS = (2**11, 2**13, 2**15)


# ---- Time ----------------------------------------------------------------------------------------


def step_of(case: Case, layer: Any, optimizer: Any, batches: list[tf.Tensor]) -> Callable:
    """A step on the next batch."""
    following = itertools.cycle(batches)
    if case.work == "lookup":
        look_up = tf.function(lambda ids: layer(ids))
        return lambda: look_up(next(following))
    variables = layer.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(ids: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(ids, training=True) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return lambda: step(next(following))


def steps_of(case: Case) -> dict[str, Callable]:
    rng = np.random.default_rng(1)
    ids = rng.integers(2**62, size=case.ids)
    rows = [(case.ids * rng.random(case.batch) ** 3).astype(np.int64) for _ in range(16)]
    growing = fastw2v.keras.GrowingEmbedding(case.dim)
    growing(tf.constant(ids), training=True)
    fixed = fastw2v.keras.Embedding(case.ids + 1, case.dim)
    stock = keras.layers.Embedding(case.ids + 1, case.dim)
    fixed.build()
    stock.build()
    by_id = [tf.constant(ids[each]) for each in rows]
    by_row = [tf.constant(each + 1) for each in rows]
    name = {"sgd": "SGD", "adagrad": "Adagrad", "adam": "Adam"}.get(case.work, "SGD")
    ours, theirs = getattr(fastw2v.optimizers, name), getattr(keras.optimizers, name)
    return {
        OURS: step_of(case, growing, ours(0.01), by_id),
        FIXED: step_of(case, fixed, ours(0.01), by_row),
        KERAS: step_of(case, stock, theirs(0.01), by_row),
    }


def speed(case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    steps = steps_of(case)
    for step in steps.values():
        step()
    measured = harness.measured(steps, options.rounds, options.seconds, time.process_time)
    return [
        {
            "work": case.work,
            "ids": case.ids,
            "batch": case.batch,
            "dim": case.dim,
            "contestant": name,
            "rounds": len(measurement.seconds),
            "median_s": measurement.percentile(50),
            "p20_s": measurement.percentile(20),
            "p80_s": measurement.percentile(80),
            "times_fixed": measurement.ratio(measured[FIXED]),
        }
        for name, measurement in measured.items()
    ]


# ---- Memory --------------------------------------------------------------------------------------


def give_rows(ids: int, batch: int, dim: int, max_rows: int | None) -> tuple[float, int, int]:
    """Seconds, bytes and rows in the end."""
    layer = fastw2v.keras.GrowingEmbedding(dim, max_rows=max_rows)
    give = tf.function(lambda ids: tf.shape(layer(ids, training=True)))
    rng = np.random.default_rng(1)
    give(tf.constant(rng.integers(2**62, size=batch)))
    process.trim()
    before = process.resident("VmRSS:")
    process.forget_peak()
    start = time.process_time()
    for _ in range(ids // batch):
        give(tf.constant(rng.integers(2**62, size=batch)))
    elapsed = time.process_time() - start
    return elapsed, process.resident("VmHWM:") - before, layer.num_ids


def memory(ids: int, batch: int, dim: int, max_rows: int | None) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, peak, rows = pool.submit(give_rows, ids, batch, dim, max_rows).result()
    expected = ids // batch * batch + batch if max_rows is None else max_rows
    if rows != expected:
        raise AssertionError(f"{rows} ids have a row, expected {expected}")
    return {
        "work": "new ids",
        "ids": ids,
        "batch": batch,
        "dim": dim,
        "contestant": OURS if max_rows is None else f"{OURS}, max_rows={max_rows}",
        "rounds": 1,
        "median_s": seconds / ids,
        "peak_bytes": peak,
    }


# ---- Quality -------------------------------------------------------------------------------------


def quality(quick: bool) -> list[dict[str, Any]]:
    specification = importlib.util.spec_from_file_location("undeclared_ids", EXAMPLE)
    example: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    clicks, held_out = example.split(example.make_clicks(12_000 if quick else 200_000))
    result = []
    for rows, seed in itertools.product((None, *HASHED_ROWS), range(1, 2 if quick else 4)):
        keras.utils.set_random_seed(seed)
        if rows is None:
            name, model = OURS, example.fastw2v_model()
        else:
            example.ROWS = rows
            name, model = f"Keras, hashed to {rows:,} rows", example.keras_model()
        epochs = 1 if quick else 4
        model.fit(clicks.batches(), epochs=epochs, shuffle=False, verbose=0)
        _, auc = model.evaluate(held_out.batches(), verbose=0)
        result.append(
            {
                "work": "clicks",
                "ids": len(np.unique(clicks.users)) + len(np.unique(clicks.articles)),
                "batch": example.BATCH,
                "dim": example.DIM,
                "contestant": name,
                "rounds": 1,
                "auc": auc,
            }
        )
    return result


def main() -> None:
    options = harness.options(__doc__, "growing")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    description = machine.description()
    print(", ".join(f"{name} {value}" for name, value in description.items() if value))
    written: list[dict[str, Any]] = []

    def add(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            numbers = (
                f"{name} {row[name]:.4g}"
                for name in ("median_s", "times_fixed", "peak_bytes", "auc")
                if name in row
            )
            print(f"  {row['contestant']:32}", *numbers, flush=True)
        written.extend(row | description for row in rows)
        if options.output:  # at once, so that what was measured outlives an interruption
            harness.write(options.output, COLUMNS, written)

    for case in QUICK if options.quick else CASES:
        print(f"\n{case}", flush=True)
        add(speed(case, options))
    for new in QUICK_NEW_IDS if options.quick else NEW_IDS:
        print(f"\nnew ids: {new[0]:,} x {new[2]}", flush=True)
        add([memory(*new)])
    print("\nclicks held out", flush=True)
    add(quality(options.quick))
    if options.output:
        print(f"\nwritten: {options.output}")


if __name__ == "__main__":
    main()
