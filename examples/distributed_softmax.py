"""A softmax over classes that no process holds whole, on several processes of this machine.

    fastw2v distribute -n 2 examples/distributed_softmax.py

Each process has one part of the two tables, and trains on its share of each batch. The chief trains
the same model alone beside it, on whole tables and the whole batch, and prints both losses: they
are equal up to rounding.
"""

from __future__ import annotations

import argparse

import numpy as np
import tensorflow as tf

import fastw2v

IDS, CLASSES, DIM = 20_000, 50_000, 64
BATCH = 512  # of all processes together


def make_tables() -> list[np.ndarray]:
    """Embeddings, weights and biases; a program with large tables gives an initializer instead."""
    rng = np.random.default_rng(1)
    return [
        rng.uniform(-0.1, 0.1, [IDS, DIM]).astype(np.float32),
        rng.uniform(-0.1, 0.1, [CLASSES, DIM]).astype(np.float32),
        np.zeros(CLASSES, np.float32),
    ]


def make_batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids, of which few are frequent, and classes that follow from them."""
    rng = np.random.default_rng([2, step])
    ids = rng.zipf(1.3, BATCH) % IDS
    return ids, ids * 7 % CLASSES


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="three steps")
    options = parser.parse_args()
    steps = 3 if options.quick else options.steps

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    if BATCH % replicas:
        parser.error(f"a batch of {BATCH} is not the same for each of {replicas} processes")
    whole = make_tables()
    with strategy.scope():
        tables = [fastw2v.distribute.ShardedTable(table.shape, table) for table in whole]
        optimizer = fastw2v.optimizers.Adagrad(0.2)
        optimizer.build(tables)

    @tf.function
    def step(ids: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        def in_replica(ids: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            return fastw2v.train_step(
                optimizer, fastw2v.softmax_loss, *tables, inputs=ids, labels=labels
            )

        shares = strategy.run(in_replica, args=(ids, labels))
        return strategy.reduce("SUM", shares, axis=None)

    rank = strategy.cluster_resolver.task_id or 0
    alone = [tf.Variable(table) for table in whole] if rank == 0 else []
    optimizer_alone = fastw2v.optimizers.Adagrad(0.2)
    mine = slice(rank * BATCH // replicas, (rank + 1) * BATCH // replicas)
    print(f"this process has {tables[1].variables[0].shape[0]:,} of {CLASSES:,} classes")
    for number in range(1, steps + 1):
        ids, labels = make_batch(number)
        loss = float(step(tf.constant(ids[mine]), tf.constant(labels[mine])))
        if rank > 0:
            continue
        expected = float(
            fastw2v.train_step(
                optimizer_alone, fastw2v.softmax_loss, *alone, inputs=ids, labels=labels
            )
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        if number in (1, steps):
            print(f"step {number}: loss {loss:.5f} on {replicas} processes, {expected:.5f} on one")


if __name__ == "__main__":
    main()
