"""What the programs of several replicas train, and the same without a strategy."""

from __future__ import annotations

import contextlib
import hashlib

import keras
import numpy as np
import tensorflow as tf

import fastw2v
from fastw2v import optimizers

ROWS, CLASSES, DIM, BATCH, STEPS = 53, 47, 8, 16, 6
rng = np.random.default_rng(3)
TABLES = [
    rng.normal(0, 0.5, shape).astype(np.float32)
    for shape in ([ROWS, DIM], [CLASSES, DIM], [CLASSES])
]
IDS, LABELS = rng.integers(0, ROWS, [STEPS, BATCH]), rng.integers(0, CLASSES, [STEPS, BATCH])
CANDIDATES = np.arange(12, dtype=np.int64) * 7 % CLASSES
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.1),
    "SGD, momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Adagrad": lambda: optimizers.Adagrad(0.1),
    "Adagrad, weight decay": lambda: optimizers.Adagrad(0.1, weight_decay=0.01),
    "RowwiseAdagrad": lambda: optimizers.RowwiseAdagrad(0.1),
    "Adam": lambda: optimizers.Adam(0.01),
    "Adam, lazy": lambda: optimizers.Adam(0.01, lazy=True),
    "Adam, use_ema": lambda: optimizers.Adam(0.01, use_ema=True),
    "AdamW": lambda: optimizers.AdamW(0.01),
    "Lion": lambda: optimizers.Lion(0.01),
    "Ftrl": lambda: optimizers.Ftrl(0.1),
}


def sampled(labels):
    counts = tf.fill([tf.shape(labels)[0], 1], 0.5), tf.fill([CANDIDATES.size], 0.5)
    return {"sampled_values": (CANDIDATES, *counts)}


def train(make_optimizer, strategy=None, exact=False, by_tape=False):
    """Steps on batches of which each replica has an equal part, and what came of them: the losses,
    the tables, whether all copies in this process have the same bits, the variables."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        tables = [tf.Variable(table) for table in TABLES]
        optimizer = make_optimizer()
        optimizer.build(tables)

    def step(ids, labels):
        options = {} if exact else sampled(labels)
        if not by_tape:
            return fastw2v.train_step(
                optimizer, fastw2v.softmax_loss, *tables, ids, labels, **options
            )
        with tf.GradientTape() as tape:
            loss = fastw2v.softmax_loss(*tables, ids, labels, reduction="mean", **options)
        optimizer.apply_gradients(zip(tape.gradient(loss, tables), tables, strict=True))
        return loss

    if strategy is None:
        losses = [float(step(*batch)) for batch in zip(IDS, LABELS, strict=True)]
    else:
        run = tf.function(lambda *batch: strategy.run(step, batch), autograph=False)
        losses = []
        for batch in zip(IDS, LABELS, strict=True):
            shares = [shares_of(strategy, part) for part in batch]
            losses.append(float(strategy.reduce("SUM", run(*shares), axis=None)))
    # Pending updates are applied outside of replicas, within the scope and without.
    read = fastw2v.softmax_loss(*tables, IDS[0], LABELS[0], reduction="mean")
    optimizer.finalize()
    copies = [[copy.numpy() for copy in getattr(table, "values", [table])] for table in tables]
    equal = all((one == copy[0]).all() for copy in copies for one in copy)
    return [np.append(losses, read), *(copy[0] for copy in copies)], equal


def shares_of(strategy, batch):
    size = len(batch) // strategy.num_replicas_in_sync

    def share(context):
        first = context.replica_id_in_sync_group * size
        return tf.constant(batch[first : first + size])

    return strategy.experimental_distribute_values_from_function(share)


def assert_same(got, expected, name, tolerance=1e-6):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max(), err_msg=name)


def model(make_optimizer, **options):
    keras.utils.set_random_seed(1)
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = fastw2v.keras.Embedding(ROWS, DIM)(ids)
    made = keras.Model([ids, labels], fastw2v.keras.LinearCrossEntropy(CLASSES)(hidden, labels))
    made.compile(make_optimizer(), **options)
    return made


def batches():
    pairs = ((IDS.ravel(), LABELS.ravel()),)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return tf.data.Dataset.from_tensor_slices(pairs).batch(BATCH).with_options(options)


def weights_of(made):
    return [variable.numpy() for variable in made.trainable_variables]


def digest(arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
