"""Retrieval with two towers: vectors of users and items, trained against items of the batch.

    python examples/two_towers.py

A softmax says which item a user takes. Its classes are the items of the batch, whose vectors the
step computes anyway, and some that are drawn from all items. Popular items come into the batch more
often than others and would be pushed down, so the logarithm of how often an item is expected among
the classes, log Q, is subtracted from its logit (Yi et al., "Sampling-bias-corrected neural
modeling for large corpus item recommendations", RecSys 2019, section 3).

The interactions are made here: each user likes items of two kinds. After each epoch the program
prints recall@10, on interactions left out of training: how often the item taken is among the ten
that the model proposes. The same model of TensorFlow's and Keras' own parts is trained beside it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

import fastw2v

KINDS = 40
DIM = 32
BATCH = 512
DRAWN = 512  # items drawn at each step, beside those of the batch
LEARNING_RATE = 0.005


# ---- The data ------------------------------------------------------------------------------------


@dataclass
class Interactions:
    """Who took what: users and items, [number] each."""

    num_users: int
    num_items: int
    item_kinds: np.ndarray
    training: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]


def make_interactions(num_users: int, num_items: int, number: int) -> Interactions:
    """Each user likes two kinds of items; of each kind, few items are taken often."""
    rng = np.random.default_rng(1)
    item_kinds = rng.integers(0, KINDS, num_items)
    tastes = rng.integers(0, KINDS, (num_users, 2))
    users = rng.integers(0, num_users, number)
    kinds = tastes[users, rng.integers(0, 2, number)]
    items = np.empty(number, np.int64)
    for kind in range(KINDS):
        of_kind = np.flatnonzero(item_kinds == kind)
        popularity = 1 / np.arange(1, len(of_kind) + 1)
        takers = kinds == kind
        items[takers] = rng.choice(of_kind, takers.sum(), p=popularity / popularity.sum())
    split = number - 4096
    return Interactions(
        num_users=num_users,
        num_items=num_items,
        item_kinds=item_kinds,
        training=(users[:split], items[:split]),
        held_out=(users[split:], items[split:]),
    )


# ---- The model -----------------------------------------------------------------------------------


class Towers(keras.Model):
    """Vectors of users, and of items from their number and their kind."""

    def __init__(self, data: Interactions, embedding: type[keras.layers.Layer]) -> None:
        super().__init__()
        start = [keras.initializers.RandomNormal(stddev=0.1, seed=seed) for seed in (1, 2, 3)]
        self.users = embedding(data.num_users, DIM, start[0])
        self.items = embedding(data.num_items, DIM, start[1])
        self.kinds = embedding(KINDS, DIM, start[2])
        self.kind_of_item = tf.constant(data.item_kinds)
        for layer in (self.users, self.items, self.kinds):
            layer.build([None])

    def user_vectors(self, users: tf.Tensor) -> tf.Tensor:
        return self.users(users)

    def item_vectors(self, items: tf.Tensor) -> tf.Tensor:
        return self.items(items) + self.kinds(tf.gather(self.kind_of_item, items))


@dataclass
class Parts:
    """What the two programs differ in."""

    embedding: type[keras.layers.Layer]
    optimizer: keras.optimizers.Optimizer
    sample: Callable  # items [batch, 1] -> items drawn, expected counts of both
    loss: Callable
    top_k: Callable


def train(data: Interactions, parts: Parts, epochs: int) -> Iterator[float]:
    """Yields recall@10 after each epoch."""
    model = Towers(data, parts.embedding)
    variables = model.trainable_variables
    parts.optimizer.build(variables)
    counts = np.bincount(data.training[1], minlength=data.num_items)
    share = tf.constant(counts / counts.sum(), tf.float32)

    @tf.function
    def step(users: tf.Tensor, items: tf.Tensor) -> None:
        drawn, expected_items, expected_drawn = parts.sample(tf.expand_dims(items, 1))
        classes = tf.concat([items, drawn], axis=0)
        # Q: how often an item is expected in the batch and among those drawn.
        expected = tf.concat([expected_items[:, 0], expected_drawn], axis=0)
        expected += BATCH * tf.gather(share, classes)
        # Each item gets its vector once, however often it occurs. `places` says where.
        met, places = tf.unique(classes)
        with tf.GradientTape() as tape:
            loss = parts.loss(
                model.user_vectors(users),
                model.item_vectors(met),
                places,
                tf.stop_gradient(expected),
            )
        parts.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    @tf.function
    def hits(users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        all_items = model.item_vectors(tf.range(data.num_items))
        proposed = parts.top_k(model.user_vectors(users), all_items)
        return tf.reduce_any(proposed == tf.expand_dims(items, 1), axis=1)

    rng = np.random.default_rng(2)
    users, items = data.training
    for _ in range(epochs):
        for batch in rng.permutation(len(users) // BATCH * BATCH).reshape(-1, BATCH):
            step(tf.constant(users[batch]), tf.constant(items[batch]))
        yield float(np.mean(hits(*map(tf.constant, data.held_out))))


# ---- With fastw2v --------------------------------------------------------------------------------


def fastw2v_parts(counts: np.ndarray) -> Parts:
    sampler = fastw2v.samplers.Unigram(counts, power=0.75, unique=False)

    def loss(users, items, places, expected):
        # Places are classes here: the first ones are labels, all are candidates. One that is the
        # label of an example does not compete with it, as it would otherwise in its own batch.
        return fastw2v.softmax_loss(
            users,
            items,
            None,
            inputs=tf.range(BATCH),
            labels=places[:BATCH],
            sampled_values=(places, tf.expand_dims(expected[:BATCH], 1), expected),
            remove_accidental_hits=True,
            reduction="mean",
        )

    return Parts(
        embedding=fastw2v.keras.Embedding,
        # Rows without a gradient are updated when they are next read, which gives what Adam of
        # Keras gives; with lazy=True they would not be.
        optimizer=fastw2v.optimizers.Adam(LEARNING_RATE),
        sample=lambda items: sampler.sample(items, DRAWN),
        loss=loss,
        top_k=lambda users, items: fastw2v.top_k(users, items, k=10)[1],
    )


# ---- With TensorFlow's own parts -----------------------------------------------------------------


class SummedAdam(keras.optimizers.Adam):
    """Adam of Keras for gradients in which a row may stand several times: it does not sum them."""

    def apply(self, grads, trainable_variables=None):
        super().apply([tf.convert_to_tensor(gradient) for gradient in grads], trainable_variables)


def tensorflow_parts(counts: np.ndarray) -> Parts:
    def sample(items):
        return tf.random.fixed_unigram_candidate_sampler(
            items,
            num_true=1,
            num_sampled=DRAWN,
            unique=False,
            range_max=len(counts),
            distortion=0.75,
            unigrams=counts.tolist(),
        )

    def loss(users, items, places, expected):
        true = tf.reduce_sum(users * tf.gather(items, places[:BATCH]), axis=1, keepdims=True)
        true -= tf.math.log(tf.expand_dims(expected[:BATCH], 1))
        logits = tf.matmul(users, tf.gather(items, places), transpose_b=True) - tf.math.log(
            expected
        )
        hit = tf.expand_dims(places[:BATCH], 1) == tf.expand_dims(places, 0)
        logits = tf.concat([true, tf.where(hit, -1e30, logits)], axis=1)
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(tf.zeros([BATCH], tf.int32), logits)
        )

    def top_k(users, items):
        return tf.cast(tf.math.top_k(tf.matmul(users, items, transpose_b=True), 10)[1], tf.int64)

    return Parts(
        embedding=keras.layers.Embedding,
        optimizer=SummedAdam(LEARNING_RATE),
        sample=sample,
        loss=loss,
        top_k=top_k,
    )


# ---- The program ---------------------------------------------------------------------------------


def print_epochs(name: str, recalls: Iterator[float]) -> None:
    start = time.perf_counter()
    for epoch, recall in enumerate(recalls, 1):
        print(f"{name:<10}  epoch {epoch}  recall@10 {recall:.3f}")
    # To stderr: what goes to stdout is the same at every run.
    print(f"{name:<10}  {time.perf_counter() - start:.2f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=10_000, help="how many items there are")
    parser.add_argument("--users", type=int, default=5_000, help="how many users there are")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the interactions")
    parser.add_argument("--no-stock", action="store_true", help="leave out TensorFlow's own parts")
    parser.add_argument("--quick", action="store_true", help="two thirds of the interactions")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(1)
    number = 40_000 if arguments.quick else 60_000
    data = make_interactions(arguments.users, arguments.items, number)
    counts = np.bincount(data.training[1], minlength=data.num_items)
    print(f"{data.num_users:,} users, {data.num_items:,} items, {number:,} interactions")
    print_epochs("fastw2v", train(data, fastw2v_parts(counts), arguments.epochs))
    if not arguments.no_stock:
        print_epochs("TensorFlow", train(data, tensorflow_parts(counts), arguments.epochs))


if __name__ == "__main__":
    main()
