"""Recall on interactions left out of training, of two towers trained by the softmax over a batch.

The data are those of examples/two_towers.py: each user likes two kinds of items, and few items of a
kind are popular. A setting is trained with `fastw2v.in_batch_softmax_loss` and with
`fastw2v.reference`, which stores the logits, from the same start and with the same batches. Recall
is how often the item taken is among the 10 best of all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import harness
import keras
import machine
import numpy as np
import tensorflow as tf

import fastw2v

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))
from two_towers import Interactions, make_interactions  # noqa: E402

DIM, BATCH, K, LEARNING_RATE, TEMPERATURE = 32, 512, 10, 0.003, 0.5
COLUMNS = ("setting", "contestant", "seed", "epochs", "interactions", "items", "recall_at_10")
COLUMNS += ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python")
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"log_q": False, "ids": False},
    "log Q": {"ids": False},
    "log Q, by id": {},
    "log Q, by id, symmetric": {"symmetric": True},
    "log Q, by id, 100 hard negatives": {"num_hard_negatives": 100},
    "log Q, by id, 512 more negatives": {"more": 512},
}
CONTESTANTS = {
    harness.OURS: fastw2v.in_batch_softmax_loss,
    "reference": fastw2v.reference.in_batch_softmax_loss,
}


def recall(
    data: Interactions,
    loss: Any,
    seed: int,
    epochs: int,
    *,
    log_q: bool = True,
    ids: bool = True,
    more: int = 0,
    **options: Any,
) -> float:
    """Trains a model and returns its recall."""
    users, items = (
        fastw2v.keras.Embedding(
            rows, DIM, keras.initializers.RandomNormal(stddev=0.1, seed=seed + i)
        )
        for i, rows in enumerate((data.num_users, data.num_items))
    )
    in_batch = fastw2v.keras.StreamingLogQ(data.num_items)
    for layer in (users, items, in_batch):
        layer.build([None])
    variables = users.trainable_variables + items.trainable_variables
    optimizer = fastw2v.optimizers.Adam(LEARNING_RATE)
    optimizer.build(variables)

    @tf.function
    def step(user: tf.Tensor, item: tf.Tensor, drawn: tf.Tensor) -> None:
        given = dict(options, temperature=TEMPERATURE)
        if ids:
            given["candidate_ids"] = item
        if log_q:
            given["log_q"] = in_batch(item, training=True)
        with tf.GradientTape() as tape:
            if more:
                given["negatives"] = items(drawn)
                if ids:
                    given["negative_ids"] = drawn
                if log_q:  # expected counts in the step
                    expected = tf.cast(more / data.num_items, tf.float32)
                    given["negative_log_q"] = tf.math.log(expected) * tf.ones([more])
            total = tf.reduce_mean(loss(users(user), items(item), **given))
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))

    rng = np.random.default_rng(seed)
    taken_by, taken = data.training
    for _ in range(epochs):
        for batch in rng.permutation(len(taken) // BATCH * BATCH).reshape(-1, BATCH):
            drawn = rng.integers(data.num_items, size=more)
            step(tf.constant(taken_by[batch]), tf.constant(taken[batch]), tf.constant(drawn))
    metric = fastw2v.keras.RecallAtK(K)
    catalog = items(tf.range(data.num_items))
    taken_by, taken = data.held_out
    for first in range(0, len(taken), 1024):
        part = slice(first, first + 1024)
        metric.update_state(taken[part], fastw2v.top_k(users(taken_by[part]), catalog, k=K)[1])
    return float(metric.result())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="shows that all works")
    parser.add_argument("--seeds", type=int, default=3, help="runs (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="passes (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="CSV", help="file to write")
    options = parser.parse_args()
    number, users, items = (100_000, 5000, 10_000)
    if options.quick:
        number, users, items, options.seeds, options.epochs = 6000, 200, 300, 1, 1
    elif options.output is None:
        options.output = harness.RESULTS / "recall.csv"
    data = make_interactions(users, items, number)
    description, rows = machine.description(), []
    for setting, arguments in SETTINGS.items():
        for name, loss in CONTESTANTS.items():
            found = []
            for seed in range(options.seeds):
                found.append(recall(data, loss, seed, options.epochs, **arguments))
                values = (setting, name, seed, options.epochs, number, items, found[-1])
                rows.append(dict(zip(COLUMNS, values, strict=False)) | description)
            print(f"{setting:<34} {name:<10} {np.mean(found):.4f}", flush=True)
            if options.output:
                harness.write(options.output, COLUMNS, rows)


if __name__ == "__main__":
    main()
