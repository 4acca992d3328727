"""Checkpoints of sharded tables. Arguments: a directory, and

- nothing else: as one of the workers of TF_CONFIG, writes tables and optimizers in training there;
- the numbers of replicas: reads them under a MirroredStrategy of each.
"""

import sys

import numpy as np
import tensorflow as tf

DIRECTORY, COUNTS = sys.argv[1], [int(each) for each in sys.argv[2:]]
if COUNTS:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * max(COUNTS)
    )

from distribute.programs.refusing import raises  # noqa: E402

import fastw2v  # noqa: E402
from fastw2v.distribute import Checkpoint, Group, ShardedTable  # noqa: E402

ROWS, CLASSES, DIM = 23, 31, 5


def objects(strategy, size=None):
    """What the checkpoint has: tables before they are trained, an optimizer and a variable."""
    rng = np.random.default_rng(0)
    with strategy.scope():
        group = Group(strategy, size)
        tables = {
            "embeddings": ShardedTable([ROWS, DIM], rng.normal(size=[ROWS, DIM]), group=group),
            "weights": ShardedTable([CLASSES, DIM], rng.normal(size=[CLASSES, DIM]), group=group),
            "biases": ShardedTable([CLASSES], "zeros", group=group),
        }
        optimizer = fastw2v.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True)
        optimizer.build(list(tables.values()))
        return {**tables, "optimizer": optimizer, "step": tf.Variable(0)}


def trainer(strategy, made):
    """A function that trains on the batches of these numbers."""
    *tables, optimizer, step = made.values()

    @tf.function
    def run(ids, labels):
        def in_replica(ids, labels):
            rank = tables[0].group.rank
            fastw2v.train_step(optimizer, fastw2v.softmax_loss, *tables, ids + rank, labels + rank)
            step.assign_add(1)

        strategy.run(in_replica, args=(ids, labels))

    def train(numbers):
        for k in numbers:
            run(tf.constant([k, 2 * k]), tf.constant([k, 3 * k]))

    return train


def parts(made):
    """What this process has, with all that the optimizer keeps."""
    state = made["optimizer"]
    kept = [
        *made.values(),
        *(state._momentums + state._velocities + state._kept_averages),
        *(each for history in state._histories for each in history),
    ]
    tables = [each for each in kept if hasattr(each, "variables") and each is not state]
    return [part.numpy() for table in tables for part in table.variables]


def assert_equal(found, expected):
    assert len(found) == len(expected) > 12
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def write():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    made = objects(strategy)
    checkpoint, train = Checkpoint(**made), trainer(strategy, made)
    train(range(3))
    assert checkpoint.write(f"{DIRECTORY}/two") == f"{DIRECTORY}/two"
    assert not tf.io.gfile.exists(f"{DIRECTORY}/two_parts")
    written = parts(made)
    train(range(3, 6))

    again = objects(strategy)
    Checkpoint(**again).read(f"{DIRECTORY}/two").assert_consumed()
    assert_equal(parts(again), written)
    trainer(strategy, again)(range(3, 6))
    assert_equal(parts(again), parts(made))  # as though there had been no break
    assert int(again["step"].numpy()) == 6

    Checkpoint(**again).read(f"{DIRECTORY}/two")
    again["optimizer"].finalize()
    assert any((one != other).any() for one, other in zip(parts(again), written, strict=True))
    Checkpoint(**again).write(f"{DIRECTORY}/applied")

    manager = tf.train.CheckpointManager(checkpoint, f"{DIRECTORY}/managed", max_to_keep=None)
    assert manager.save() == tf.train.latest_checkpoint(f"{DIRECTORY}/managed")
    checkpoint.restore(manager.latest_checkpoint).assert_consumed()

    copies = objects(strategy, size=1)  # each process has a whole one
    train = trainer(strategy, copies)
    train(range(2))
    Checkpoint(**copies).write(f"{DIRECTORY}/copies")
    trained = parts(copies)
    train(range(2))
    Checkpoint(**copies).read(f"{DIRECTORY}/copies")
    if 0 in [copy for copy, _ in copies["weights"].group.across.members_here()]:
        assert_equal(parts(copies), trained)

    words = "call it outside, in all processes"
    raises(RuntimeError, words, lambda: strategy.run(lambda: checkpoint.write(DIRECTORY)))
    raises(
        ValueError,
        "make a fastw2v.distribute.Checkpoint",
        lambda: tf.train.Checkpoint(optimizer=made["optimizer"]).write(f"{DIRECTORY}/not"),
    )
    is_first = strategy.cluster_resolver.task_id == 0
    if not is_first:

        def no_space(*arguments):
            raise OSError("no space")

        checkpoint._write_part = no_space
    words = "is not written: the process of replica 1 failed" if is_first else "no space"
    raises((RuntimeError, OSError), words, lambda: checkpoint.write(f"{DIRECTORY}/not"))


def whole(made):
    """The tables, of the first group that has them."""
    return {
        name: np.concatenate([part.numpy() for part in table.variables[: table.group.size]])
        for name, table in made.items()
        if hasattr(table, "cut")
    }


def read(strategy):
    count = strategy.num_replicas_in_sync
    applied = tf.train.load_checkpoint(f"{DIRECTORY}/applied")
    for size in (None, 2) if count == 4 else (None,):
        made = objects(strategy, size)
        Checkpoint(**made).read(f"{DIRECTORY}/two").assert_consumed()
        if size == 2:  # as many as have written
            made["optimizer"].finalize()
        for name, values in whole(made).items():
            right = applied.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")
            np.testing.assert_array_equal(values, right)
        for table in made.values():
            if hasattr(table, "cut"):
                groups = np.split(np.arange(count), count // table.group.size)
                for group in groups:
                    for part, first in zip(group, groups[0], strict=True):
                        np.testing.assert_array_equal(table.variables[part], table.variables[first])
        assert int(made["step"].numpy()) == 3


def write_and_read(strategy):
    """As one process that has all parts."""
    made = objects(strategy)
    checkpoint, train = Checkpoint(**made), trainer(strategy, made)
    train(range(2))
    checkpoint.write(f"{DIRECTORY}/mirrored")
    expected = parts(made)
    train(range(2))
    checkpoint.read(f"{DIRECTORY}/mirrored")
    assert_equal(parts(made), expected)


if COUNTS:
    strategies = [
        tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)]) for count in COUNTS
    ]
    for each in strategies:
        read(each)
    write_and_read(strategies[0])
else:
    write()
print("all checks passed")
