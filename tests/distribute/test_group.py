"""Collectives of the replicas of one process and of several."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import tensorflow as tf
from problems import run_processes

from fastw2v.distribute import Group

PROGRAMS = Path(__file__).parent / "programs"
UNEQUAL = "replicas came with batches of different sizes: batch(..., drop_remainder=True)"


@pytest.mark.slow
def test_replicas_of_one_process():
    finished = run_processes(1, PROGRAMS / "collectives.py", "4")
    assert finished.returncode == 0, finished.stderr
    assert "all checks passed" in finished.stdout and "shapes differ" in finished.stdout


@pytest.mark.slow
def test_processes():
    finished = run_processes(2, PROGRAMS / "collectives.py")
    for rank in range(2):
        assert f"[{rank}] all checks passed" in finished.stdout, finished.stderr
    # The end of the program: tensors of different shapes.
    assert finished.returncode == 1
    assert finished.stderr.count(UNEQUAL) == 1 and finished.stderr.endswith("ignore_label\n")


@pytest.mark.slow
def test_a_killed_worker_ends_all():
    finished = run_processes(2, PROGRAMS / "dies.py")
    assert finished.stdout.count("[2.0, 2.0]") == 2, finished.stderr
    assert time.time() - float(finished.stdout.split("dies at")[1].split()[0]) < 20
    assert finished.returncode == 128 + 9
    assert "process 1 was ended by SIGKILL; the others are ended" in finished.stderr


def test_one_replica_is_alone():
    for strategy in (None, tf.distribute.get_strategy(), tf.distribute.OneDeviceStrategy("CPU:0")):
        group = Group(strategy, 1)
        assert (group.size, group.num_replicas, group.rank) == (1, 1, 0)
        assert group.across.size == 1 and "1 of the 1 replicas" in repr(group)
        x = tf.constant([[1.0, 2.0]])
        with tf.GradientTape() as tape:
            tape.watch(x)
            results = [
                group.all_reduce(x),
                group.all_gather(x),
                group.all_to_all(x),
                group.across.reduce_scatter(x),
            ]
            maximum = group.all_reduce(x, "max")
            loss = tf.add_n([*results, maximum])
        for result in (*results, maximum):
            assert result.numpy().tolist() == [[1, 2]]
        assert tape.gradient(loss, x).numpy().tolist() == [[4, 4]]  # none through the maximum


@pytest.mark.parametrize(
    "strategy",
    [
        object(),
        object.__new__(tf.distribute.ParameterServerStrategy),
        object.__new__(tf.distribute.TPUStrategy),
        tf.distribute.experimental.CentralStorageStrategy(["CPU:0"]),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_other_strategies_are_refused(strategy):
    with pytest.raises(ValueError, match="^strategy = .* is not a tf.distribute.MirroredStrategy"):
        Group(strategy)


@pytest.mark.parametrize("size", [0, 2, 1.5, "1"])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match=r"^size = .* is not a Python integer in \[1, 1\]"):
        Group(size=size)


def test_bad_tensors():
    group = Group()
    for call, words in (
        (lambda: group.all_reduce([True]), "x has dtype bool, expected one of float32"),
        (lambda: group.all_reduce(1.0, "mean"), 'op = \'mean\' is not one of "sum", "max"'),
        (lambda: group.all_gather(1.0), r"x has shape \(\), expected \[n, ...\]"),
        (lambda: group.all_to_all([1.0, 2.0]), r"x has shape \(2,\), expected \[1, ...\]"),
        (lambda: group.all_reduce(tf.ragged.constant([[1]])), "x is a RaggedTensor, expected"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
