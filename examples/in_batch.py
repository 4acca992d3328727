"""Retrieval with Keras: two towers, trained against the items of the batch, and recall over all.

    python examples/in_batch.py

The items of the other pairs of a batch are the negatives. An item does not compete with another
copy of itself, and the logarithm of how probable an item is in a batch is subtracted from its
logits. `StreamingLogQ` learns that from the batches; the same model of Keras' own parts, which is
trained beside it, is given the counts of all interactions, and stores the logits.

The data are those of two_towers.py. After each epoch the program prints recall@10 on interactions
left out of training: how often the item taken is among the ten that the model proposes, of all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from two_towers import Interactions, SummedAdam, make_interactions, print_epochs

import fastw2v

DIM = 32
BATCH = 512
LEARNING_RATE = 0.003
TEMPERATURE = 0.5


def with_fastw2v(data: Interactions, epochs: int) -> Iterator[float]:
    """Yields recall@10 after each epoch."""
    users, items = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    user_table = fastw2v.keras.Embedding(data.num_users, DIM)
    item_table = fastw2v.keras.Embedding(data.num_items, DIM)
    log_q = fastw2v.keras.StreamingLogQ(data.num_items)(items)
    losses = fastw2v.keras.InBatchSoftmax(temperature=TEMPERATURE)(
        user_table(users), item_table(items), candidate_ids=items, log_q=log_q
    )
    model = keras.Model([users, items], losses)
    model.compile(fastw2v.optimizers.Adam(LEARNING_RATE))
    recall = fastw2v.keras.RecallAtK(10)
    for _ in range(epochs):
        model.fit(list(data.training), batch_size=BATCH, verbose=0)
        recall.reset_state()
        wanted_by, wanted = data.held_out
        catalog = item_table(tf.range(data.num_items))
        for first in range(0, len(wanted), 1024):
            part = slice(first, first + 1024)
            _, best = fastw2v.top_k(user_table(wanted_by[part]), catalog, k=10)
            recall.update_state(wanted[part], best)
        yield float(recall.result())


class StoredInBatchSoftmax(keras.layers.Layer):
    """The same loss of stored logits."""

    def call(self, queries, candidates, ids, log_q):
        logits = tf.matmul(queries, candidates, transpose_b=True) / TEMPERATURE - log_q
        rows = tf.range(tf.shape(ids)[0])
        hits = (ids[:, tf.newaxis] == ids) & (rows[:, tf.newaxis] != rows)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(rows, tf.where(hits, -1e30, logits))
        self.add_loss(tf.reduce_mean(losses))
        return losses


def with_keras(data: Interactions, epochs: int) -> Iterator[float]:
    """The same with Keras' and TensorFlow's own parts."""
    users, items = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    user_table = keras.layers.Embedding(data.num_users, DIM)
    item_table = keras.layers.Embedding(data.num_items, DIM)
    counts = np.bincount(data.training[1], minlength=data.num_items)
    in_batch = keras.layers.Embedding(data.num_items, 1, trainable=False)
    log_q = keras.layers.Flatten()(in_batch(keras.layers.Reshape([1])(items)))
    losses = StoredInBatchSoftmax()(
        user_table(users), item_table(items), items, keras.ops.reshape(log_q, [-1])
    )
    in_batch.set_weights([np.log(np.maximum(counts, 1) / counts.sum() * BATCH)[:, np.newaxis]])
    model = keras.Model([users, items], losses)
    model.compile(SummedAdam(LEARNING_RATE))
    for _ in range(epochs):
        model.fit(list(data.training), batch_size=BATCH, verbose=0)
        wanted_by, wanted = data.held_out
        scores = tf.matmul(user_table(wanted_by), item_table.embeddings, transpose_b=True)
        best = tf.math.top_k(scores, 10).indices.numpy()
        yield float(np.mean(np.any(best == wanted[:, np.newaxis], axis=1)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=10_000, help="how many items there are")
    parser.add_argument("--users", type=int, default=5_000, help="how many users there are")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the interactions")
    parser.add_argument("--quick", action="store_true", help="half of the interactions")
    arguments = parser.parse_args()

    number = 50_000 if arguments.quick else 100_000
    data = make_interactions(arguments.users, arguments.items, number)
    print(f"{data.num_users:,} users, {data.num_items:,} items, {number:,} interactions")
    for name, train in (("fastw2v", with_fastw2v), ("Keras", with_keras)):
        keras.utils.set_random_seed(1)
        print_epochs(name, train(data, arguments.epochs))


if __name__ == "__main__":
    main()
