"""Tables that are cut among replicas, against whole ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from problems import run_processes

import fastw2v
from fastw2v._core.cut import Cut
from fastw2v.distribute import ShardedTable

PROGRAM = Path(__file__).parent / "programs" / "sharded.py"


@pytest.mark.slow
def test_replicas_of_one_process():
    finished = run_processes(1, PROGRAM, "3")
    assert "all checks passed" in finished.stdout, finished.stderr


@pytest.mark.slow
def test_processes():
    finished = run_processes(2, PROGRAM)
    for rank in range(2):
        assert f"[{rank}] all checks passed" in finished.stdout, finished.stderr


@pytest.mark.parametrize(("rows", "parts"), [(10, 3), (9, 3), (2, 5), (1, 1), (7, 7)])
def test_parts_have_consecutive_rows(rows, parts):
    cut = Cut(rows, parts)
    shards = [tf.fill([size], i) for i, size in enumerate(cut.sizes())]
    assert sum(cut.sizes()) == rows
    ids = tf.range(rows, dtype=tf.int64)
    expected = tf.concat(shards, 0)
    np.testing.assert_array_equal(cut.part_of(ids), expected)
    first = [cut.first_row(part) for part in expected.numpy()]
    np.testing.assert_array_equal(cut.first_row(cut.part_of(ids)), first)


def test_one_replica_has_the_whole():
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=[9, 4]), rng.normal(size=[11, 4]), rng.normal(size=[11])
    ids, labels = rng.integers(9, size=6), rng.integers(11, size=6)
    sharded = [ShardedTable(array.shape, array, "float64") for array in arrays]
    whole = [tf.Variable(array) for array in arrays]
    results = []
    for tables in (sharded, whole):
        with tf.GradientTape() as tape:
            loss = fastw2v.softmax_loss(*tables, ids, labels)
        gradients = tape.gradient(loss, tables)
        optimizer = fastw2v.optimizers.Adam(0.1)
        fastw2v.train_step(optimizer, fastw2v.softmax_loss, *tables, ids, labels)
        optimizer.finalize()
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        after = [tf.convert_to_tensor(getattr(table, "variable", table)) for table in tables]
        results.append([loss, *dense, *after])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_initializers():
    def rows(first_row, shape):
        return tf.range(first_row, first_row + shape[0])[:, tf.newaxis] * tf.ones(shape, tf.int32)

    np.testing.assert_array_equal(ShardedTable([3, 2], rows).variable, [[0, 0], [1, 1], [2, 2]])
    assert np.ptp(ShardedTable([30, 2], "uniform").variable) > 0
    table = ShardedTable([30, 2], tf.keras.initializers.RandomNormal(seed=3))
    again = ShardedTable([30, 2], tf.keras.initializers.RandomNormal(seed=3))
    np.testing.assert_array_equal(table.variable, again.variable)
    assert "'table' of shape (30, 2)" in repr(table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([3],), None),
        (([3, 0],), "shape = 0 is not"),
        ((3,), "shape = 3, expected"),
        (([3, 2], np.ones([2, 2])), r"initializer has shape \(2, 2\), expected"),
        (([3, 2], lambda first_row, shape: np.ones([1, 2])), r"returns shape \[1, 2\], expected"),
        (([3, 2], "ones", "int32"), "table has dtype int32, expected one of"),
    ],
)
def test_wrong_arguments(arguments, message):
    if message is None:
        assert ShardedTable(*arguments).shape == [3]
        return
    with pytest.raises(ValueError, match=message):
        ShardedTable(*arguments)
