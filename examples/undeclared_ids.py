"""Clicks of users on articles whose ids nobody has listed: tables that grow as the ids come.

    python examples/undeclared_ids.py

Users are 64-bit numbers and articles are strings, as a log has them. `GrowingEmbedding` gives each
id a row of its own when it occurs the second time, and grows within `fit`. The same model of Keras'
own parts is trained beside it: there ids are hashed to a number of rows that has to be chosen
before, and ids that share a row share its vector.

The clicks are made here: each user likes articles of some kinds. After each epoch the program
prints the area under the ROC curve, on clicks left out of training: how often an article that was
clicked on gets a higher score than one that was not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

import fastw2v

KINDS = 6
DIM = 8
BATCH = 512
LEARNING_RATE = 0.01
START = 0.3  # first values of vectors are in [-START, START)
ROWS = 2**11  # of the hashed tables


# ---- The data ------------------------------------------------------------------------------------


@dataclass
class Clicks:
    """Who saw which article, [number] each, and whether he clicked on it."""

    users: np.ndarray
    articles: np.ndarray
    clicked: np.ndarray

    def batches(self) -> tf.data.Dataset:
        inputs = {"user": self.users, "article": self.articles}
        return tf.data.Dataset.from_tensor_slices((inputs, self.clicked)).batch(BATCH)


def make_clicks(number: int, num_users: int = 2_000, num_articles: int = 2_000) -> Clicks:
    """Few articles are seen often; each user clicks on those of two kinds, mostly."""
    rng = np.random.default_rng(1)
    user_ids = rng.integers(2**62, size=num_users)
    article_ids = np.array([f"article-{n:x}" for n in rng.integers(2**40, size=num_articles)])
    kinds = rng.integers(KINDS, size=num_articles)
    likes = rng.random((num_users, KINDS)) < 2 / KINDS
    users = rng.integers(num_users, size=number)
    articles = (num_articles * rng.random(number) ** 2).astype(int)
    probability = np.where(likes[users, kinds[articles]], 0.8, 0.1)
    return Clicks(
        users=user_ids[users],
        articles=article_ids[articles],
        clicked=(rng.random(number) < probability).astype(np.float32),
    )


def split(clicks: Clicks, held_out: int = 8_192) -> tuple[Clicks, Clicks]:
    """Those to train on, and those left out."""
    parts = [(part[:-held_out], part[-held_out:]) for part in vars(clicks).values()]
    first, second = zip(*parts, strict=True)
    return Clicks(*first), Clicks(*second)


# ---- The model -----------------------------------------------------------------------------------


def make_model(vectors: Callable, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    """The product of two vectors; ``vectors(name, width)`` makes what has one for each id."""
    user = keras.Input([], dtype="int64", name="user")
    article = keras.Input([], dtype="string", name="article")
    product = keras.layers.Dot(1)([vectors("users", DIM)(user), vectors("articles", DIM)(article)])
    # How often an article is clicked on, and how often a user clicks, whatever the other is.
    biases = vectors("user_biases", 1)(user) + vectors("article_biases", 1)(article)
    model = keras.Model({"user": user, "article": article}, product + biases)
    model.compile(
        optimizer,
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    )
    return model


def start() -> keras.initializers.Initializer:
    return keras.initializers.RandomUniform(-START, START)


def fastw2v_model() -> keras.Model:
    def vectors(name: str, width: int) -> Callable:
        return fastw2v.keras.GrowingEmbedding(width, start(), min_count=2, name=name)

    return make_model(vectors, fastw2v.optimizers.Adam(LEARNING_RATE))


def keras_model() -> keras.Model:
    def vectors(name: str, width: int) -> Callable:
        table = keras.layers.Embedding(ROWS, width, start(), name=name)
        return lambda ids: table(keras.layers.Hashing(ROWS)(ids))

    return make_model(vectors, keras.optimizers.Adam(LEARNING_RATE))


# ---- The program ---------------------------------------------------------------------------------


def train(name: str, model: keras.Model, clicks: Clicks, held_out: Clicks, epochs: int) -> None:
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        model.fit(clicks.batches(), shuffle=False, verbose=0)
        _, auc = model.evaluate(held_out.batches(), verbose=0)
        print(f"{name:<10}  epoch {epoch}  auc {auc:.3f}")
    # To stderr: what goes to stdout is the same at every run.
    print(f"{name:<10}  {time.perf_counter() - start:.2f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=4, help="passes over the clicks")
    parser.add_argument("--no-stock", action="store_true", help="leave out Keras' own parts")
    parser.add_argument("--quick", action="store_true", help="half of the clicks")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(1)
    clicks, held_out = split(make_clicks(100_000 if arguments.quick else 200_000))
    print(f"{len(clicks.users):,} clicks to train on, {len(held_out.users):,} held out")
    model = fastw2v_model()
    train("fastw2v", model, clicks, held_out, arguments.epochs)
    for name, ids in (("users", clicks.users), ("articles", clicks.articles)):
        layer = model.get_layer(name)
        print(f"{layer.num_ids:,} of {len(np.unique(ids)):,} {name} have a row")
    if not arguments.no_stock:
        train("Keras", keras_model(), clicks, held_out, arguments.epochs)


if __name__ == "__main__":
    main()
