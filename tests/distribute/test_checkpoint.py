"""Checkpoints of sharded tables. Two processes write, and other numbers of replicas read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from problems import run_processes

import fastw2v
from fastw2v.distribute import Checkpoint, ShardedTable

PROGRAM = Path(__file__).parent / "programs" / "checkpoints.py"
VALUES = "/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    finished = run_processes(2, PROGRAM, directory)
    for rank in range(2):
        assert f"[{rank}] all checks passed" in finished.stdout, finished.stderr
    return directory


@pytest.mark.slow
def test_more_replicas_read(written):
    finished = run_processes(1, PROGRAM, written, 3, 4)
    assert "all checks passed" in finished.stdout, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sharded", "plain"])
def test_one_process_reads(written, kind):
    shapes = {"embeddings": [23, 5], "weights": [31, 5], "biases": [31]}
    reader = tf.train.load_checkpoint(str(written / "applied"))
    make = ShardedTable if kind == "sharded" else lambda shape: tf.Variable(tf.zeros(shape))
    tables = {name: make(shape) for name, shape in shapes.items()}
    optimizer = fastw2v.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True)
    optimizer.build(list(tables.values()))
    of = Checkpoint if kind == "sharded" else tf.train.Checkpoint
    status = of(**tables, optimizer=optimizer).read(str(written / "two"))
    status.assert_existing_objects_matched()
    optimizer.finalize()
    assert int(optimizer.iterations) == 3
    averages = optimizer._kept_averages
    kept = [f"optimizer/_model_variables_moving_average/{i}" for i in range(3)]
    for name, table in zip([*tables, *kept], [*tables.values(), *averages], strict=True):
        values = table.variable if kind == "sharded" else tf.convert_to_tensor(table)
        np.testing.assert_array_equal(values, reader.get_tensor(name + VALUES))


def test_names_with_dots_and_slashes(tmp_path):
    """As TensorFlow writes them, since several processes have to find the same names."""
    outer = tf.train.Checkpoint(inner=tf.Module())
    outer.inner.tables = {"a/b.c": ShardedTable([3, 2], "ones")}
    checkpoint = Checkpoint(outer=outer)
    checkpoint.read(checkpoint.save(tmp_path / "model")).assert_consumed()


def test_what_cannot_be_read(tmp_path):
    table = ShardedTable([5, 2], "ones", name="embeddings")
    path = Checkpoint(embeddings=table).write(str(tmp_path / "model"))

    def refused(words, *, error=ValueError, path=path, **objects):
        with pytest.raises(error, match=words):
            Checkpoint(**objects).read(path)

    shape = r"embeddings has shape \[5, 2\] in the checkpoint .*, expected \[6, 2\]"
    refused(shape, embeddings=ShardedTable([6, 2]))
    dtype = "embeddings has dtype float32 in the checkpoint .*, expected float64"
    refused(dtype, embeddings=ShardedTable([5, 2], dtype="float64"))
    refused(f"has no weights{VALUES}, from which", weights=ShardedTable([5, 2]))
    optimizer = fastw2v.optimizers.Adam(0.1)
    refused("optimizer is not built", embeddings=table, optimizer=optimizer)
    missing = str(tmp_path / "other")
    refused("no file .*other.index", error=tf.errors.NotFoundError, path=missing, table=table)
    with pytest.raises(ValueError, match="root is given"):
        Checkpoint(root=table)
    with pytest.raises(RuntimeError, match="write is called in a tf.function"):
        tf.function(lambda: Checkpoint(table=table).write(missing), autograph=False)()


def test_others_refuse_sharded_tables(tmp_path):
    table = ShardedTable([5, 2], "ones", name="embeddings")
    optimizer = fastw2v.optimizers.Adam(0.1)
    optimizer.build([table])
    words = "embeddings.* is sharded over 1 replicas .* make a fastw2v.distribute.Checkpoint"
    for objects in ({"table": table}, {"optimizer": optimizer}):
        with pytest.raises(ValueError, match=words):
            tf.train.Checkpoint(**objects).write(str(tmp_path / "model"))
    module = tf.Module()
    module.table = table
    with pytest.raises(ValueError, match=words):
        tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(ValueError, match="Keras does not save what Adam keeps of embeddings"):
        optimizer.save_own_variables({})
