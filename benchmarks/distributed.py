"""Steps on 1, 2 and 4 processes of this machine: time, bytes on the wire, and collectives.

    python benchmarks/distributed.py            # writes benchmarks/results/distributed.csv
    python benchmarks/distributed.py --quick    # shows that all works, measures nothing

Each process runs one replica with one thread, on its share of a batch of all processes together.
Bytes are those that the loopback interface counts, of all processes, divided by their number; so
they hold the headers and the heartbeats, too. The processes share the processors of the machine, so
times show what a step costs here, and nothing about several machines. "model" are the bytes of
distributed_model.py. Contestants: tables in shards, tables on every replica (both with
`fastw2v.train_step`), and TensorFlow's own losses with Keras' optimizer, on every replica.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import distributed_model as model
import harness
import keras
import machine
import numpy as np
import tensorflow as tf

import fastw2v
from fastw2v.distribute import Group, ShardedTable

OUTPUT = harness.RESULTS / "distributed.csv"
COLUMNS = (
    *("case", "contestant", "processes", "batch", "classes", "sampled", "dim"),
    *("median_s", "wire_bytes", "model_bytes", "collectives"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "python"),
)
SIZES = {"batch": 1024, "classes": 50_000, "dim": 128, "sampled": 1024}
QUICK = {"batch": 8, "classes": 60, "dim": 4, "sampled": 8}
STEPS = 10
_MARK = "row: "

Step = Callable[[], tf.Tensor]


class Contestants:
    """The steps of a replica, by case and name; what each sends on paper."""

    def __init__(self, strategy: tf.distribute.Strategy, sizes: dict[str, int]) -> None:
        self._strategy, self._sizes = strategy, sizes
        self._replicas = strategy.num_replicas_in_sync
        batch = sizes["batch"] // self._replicas
        rank = (strategy.cluster_resolver.task_id or 0) if self._replicas > 1 else 0
        rng = np.random.default_rng([1, rank])
        self._hidden = tf.constant(rng.normal(size=[batch, sizes["dim"]]), tf.float32)
        self._labels = tf.constant(rng.integers(sizes["classes"], size=batch))
        self._problem = model.Problem(
            self._replicas, batch, sizes["classes"], sizes["dim"], sampled=sizes["sampled"]
        )

    def all(self) -> dict[tuple[str, str], tuple[Step, float]]:
        exact, sampled = {}, {"num_sampled": self._sizes["sampled"], "seed": (1, 2)}
        p = self._problem
        met = model.Problem(p.replicas, p.batch, p.classes, p.dim, distinct=p.batch + p.sampled)
        return {
            ("exact", "fastw2v, sharded"): (self._ours(True, exact), model.sharded_exact(p)),
            ("exact", "fastw2v, mirrored"): (self._ours(False, exact), model.mirrored_exact(p)),
            ("exact", "TensorFlow, mirrored"): (self._stock(None), model.mirrored_exact(p)),
            ("sampled", "fastw2v, sharded"): (self._ours(True, sampled), model.sharded_sampled(p)),
            ("sampled", "fastw2v, mirrored"): (
                self._ours(False, sampled),
                model.mirrored_rows(met),
            ),
            ("sampled", "TensorFlow, mirrored"): (
                self._stock(self._sizes["sampled"]),
                model.mirrored_rows(met),
            ),
        }

    def _ours(self, sharded: bool, options: dict) -> Step:
        classes, dim = self._sizes["classes"], self._sizes["dim"]
        with self._strategy.scope():
            if sharded:
                weights, biases = ShardedTable([classes, dim]), ShardedTable([classes], "zeros")
            else:
                weights = tf.Variable(tf.random.uniform([classes, dim], -0.05, 0.05))
                biases = tf.Variable(tf.zeros([classes]))
            optimizer = fastw2v.optimizers.SGD(0.1)
            optimizer.build([weights, biases])

        def step() -> tf.Tensor:
            if not options:
                return fastw2v.train_step(
                    optimizer,
                    fastw2v.linear_cross_entropy,
                    self._labels,
                    self._hidden,
                    weights,
                    biases,
                )
            with tf.GradientTape() as tape:
                losses = fastw2v.sampled_softmax_loss(
                    weights,
                    biases,
                    self._labels[:, tf.newaxis],
                    self._hidden,
                    options["num_sampled"],
                    classes,
                    seed=options["seed"],
                )
                loss = tf.reduce_mean(losses) / self._replicas
            tables = [weights, biases]
            optimizer.apply_gradients(zip(tape.gradient(loss, tables), tables, strict=True))
            return loss

        return step

    def _stock(self, num_sampled: int | None) -> Step:
        classes, dim = self._sizes["classes"], self._sizes["dim"]
        with self._strategy.scope():
            weights = tf.Variable(tf.random.uniform([classes, dim], -0.05, 0.05))
            biases = tf.Variable(tf.zeros([classes]))
            optimizer = keras.optimizers.SGD(0.1)
            optimizer.build([weights, biases])

        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                if num_sampled is None:
                    logits = tf.matmul(self._hidden, weights, transpose_b=True) + biases
                    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(self._labels, logits)
                else:
                    losses = tf.nn.sampled_softmax_loss(
                        weights, biases, self._labels[:, None], self._hidden, num_sampled, classes
                    )
                loss = tf.reduce_mean(losses) / self._replicas
            tables = [weights, biases]
            optimizer.apply_gradients(zip(tape.gradient(loss, tables), tables, strict=True))
            return loss

        return step


def work(quick: bool) -> None:
    """What each process does; the first prints a row for each contestant."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    alone = "TF_CONFIG" not in os.environ
    strategy = (
        tf.distribute.get_strategy() if alone else tf.distribute.MultiWorkerMirroredStrategy()
    )
    is_first = alone or strategy.cluster_resolver.task_id == 0
    sizes = QUICK if quick else SIZES
    barrier = _barrier(Group(strategy))
    for (case, contestant), (step, sent) in Contestants(strategy, sizes).all().items():
        function = tf.function(lambda step=step: strategy.run(step))
        collectives = _collectives(function.get_concrete_function().graph.as_graph_def())
        for _ in range(2):
            function()
        seconds = []
        strategy.run(barrier)
        before = loopback_bytes()
        for _ in range(STEPS):
            begin = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - begin)
        strategy.run(barrier)
        wire = (loopback_bytes() - before) / STEPS / strategy.num_replicas_in_sync
        if is_first:
            row = {
                "case": case,
                "contestant": contestant,
                "processes": strategy.num_replicas_in_sync,
                **sizes,
                "sampled": sizes["sampled"] if case == "sampled" else 0,
                "median_s": f"{np.median(seconds):.6f}",
                "wire_bytes": round(wire),
                "model_bytes": round(sent),
                "collectives": collectives,
            }
            print_row(row)
        strategy.run(barrier)


def _barrier(group: Group) -> Callable[[], tf.Tensor]:
    return lambda: group.all_reduce(tf.constant([1.0]))


def loopback_bytes() -> int:
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip()[:3] == "lo:")


def _collectives(graph: tf.compat.v1.GraphDef) -> int:
    """Collective ops that a call runs, those in functions included."""
    functions = {each.signature.name: each.node_def for each in graph.library.function}

    def count(nodes: list) -> int:
        total = 0
        for node in nodes:
            total += node.op.startswith("Collective")
            called = node.attr["f"].func.name if "f" in node.attr else node.op
            if called in functions:
                total += count(functions[called])
        return total

    return count(graph.node)


def print_row(row: dict[str, Any]) -> None:
    """Prints a row for `printed_rows` of another process."""
    print(_MARK + json.dumps(row), flush=True)


def printed_rows(processes: int, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Runs a program in several processes, and yields the rows that these print."""
    launcher = ["-m", "fastw2v.distribute", "-n", str(processes)] if processes > 1 else []
    finished = subprocess.run(
        [sys.executable, *launcher, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    for line in finished.stdout.splitlines():
        _, mark, row = line.partition(_MARK)
        if mark:
            yield json.loads(row)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny problems on two processes")
    parser.add_argument("--output", type=Path, metavar="CSV", help=f"default: {OUTPUT}")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.quick)
        return
    arguments = [__file__, "--work", *(["--quick"] if options.quick else [])]
    description, rows = machine.description(), []
    for processes in (2,) if options.quick else (1, 2, 4):
        for row in printed_rows(processes, arguments):
            rows.append(row | description)
            print({name: rows[-1][name] for name in COLUMNS[:11]}, flush=True)
    path = options.output or (None if options.quick else OUTPUT)
    if path is not None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
