"""Models with two towers: the softmax over the candidates of a batch, and recall over all items.

The loss, forward and backward, is that of tfrs.tasks.Retrieval: "in-batch softmax" with log Q, "by
id" with accidental hits removed, "hard" against the 100 negatives of the largest logits. TensorFlow
is tf.matmul, masks and tf.nn.sparse_softmax_cross_entropy_with_logits in a tf.function, XLA the
same with jit_compile=True, TFRS the task itself, where tensorflow-recommenders is installed.

"recall" is how often the wanted item is among the 100 best of all V, for B queries: fastw2v.top_k,
tf.math.top_k of tf.matmul, and tfrs.metrics.FactorizedTopK with an index of TFRS' BruteForce.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from typing import Any

HAS_TFRS = all(map(importlib.util.find_spec, ("tensorflow_recommenders", "tf_keras")))
if HAS_TFRS:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # which it needs, before TensorFlow is imported

import harness  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from harness import Case, Step  # noqa: E402

import fastw2v  # noqa: E402

K = HARD = 100
_BASE = Case("in-batch softmax", batch=8192, classes=8192, dim=64)
BAR = (
    _BASE,
    replace(_BASE, dim=128),
    replace(_BASE, loss="in-batch softmax by id"),
    replace(_BASE, loss="in-batch softmax, hard"),
    replace(_BASE, loss="in-batch softmax by id", batch=1024, classes=1024),
    Case("recall", batch=256, classes=1_000_000, dim=64, reduction=""),
    Case("recall", batch=1024, classes=1_000_000, dim=64, reduction=""),
)
_SMALL = replace(_BASE, batch=40, classes=40, dim=8)
QUICK = (
    replace(_SMALL, loss="in-batch softmax by id"),
    replace(_SMALL, loss="in-batch softmax, hard"),
    Case("recall", batch=20, classes=300, dim=8, reduction=""),
)


def steps(case: Case) -> dict[str, Step]:
    return _recall_steps(case) if case.loss == "recall" else _loss_steps(case)


def _loss_steps(case: Case) -> dict[str, Step]:
    rng = np.random.default_rng(1)
    shape = (2, case.batch, case.dim)
    scale = case.dim**-0.5  # logits of about 1
    queries, candidates = (
        tf.Variable(part) for part in scale * rng.standard_normal(shape, np.float32)
    )
    # Popular items stand several times in a batch.
    shares = 1 / np.arange(1, 10 * case.batch + 1)
    ids = rng.choice(len(shares), case.batch, p=shares / shares.sum())
    probabilities = (shares / shares.sum())[ids].astype(np.float32)
    by_id, hard = case.loss.endswith("by id"), case.loss.endswith("hard")
    hard = min(HARD, max(1, case.batch - 2)) if hard else None
    ids = tf.constant(ids) if by_id else None
    log_q = tf.math.log(probabilities)
    sources = [queries, candidates]

    def gradients(make: Any) -> tuple[tf.Tensor, list]:
        with tf.GradientTape() as tape:
            loss = make()
        return loss, tape.gradient(loss, sources)

    def ours() -> tuple[tf.Tensor, list]:
        return gradients(
            lambda: fastw2v.in_batch_softmax_loss(
                queries,
                candidates,
                candidate_ids=ids,
                log_q=log_q,
                num_hard_negatives=hard,
                reduction="mean",
            )
        )

    def stored() -> tf.Tensor:
        logits = tf.matmul(queries, candidates, transpose_b=True) - log_q
        rows = tf.range(case.batch)
        if by_id:
            hits = (ids[:, tf.newaxis] == ids) & (rows[:, tf.newaxis] != rows)
            logits = tf.where(hits, -1e30, logits)
        if hard is not None:
            own = tf.linalg.diag_part(logits)[:, tf.newaxis]
            others = tf.linalg.set_diag(logits, tf.fill([case.batch], -np.inf))
            logits = tf.concat([own, tf.math.top_k(others, hard).values], axis=1)
            rows = tf.zeros_like(rows)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(rows, logits))

    made = {
        harness.OURS: tf.function(ours),
        "TensorFlow": tf.function(lambda: gradients(stored)),
        "XLA": tf.function(lambda: gradients(stored), jit_compile=True),
    }
    if HAS_TFRS:
        import tensorflow_recommenders as tfrs

        task = tfrs.tasks.Retrieval(num_hard_negatives=hard, remove_accidental_hits=by_id)

        def theirs() -> tf.Tensor:
            return (
                task(
                    queries,
                    candidates,
                    candidate_sampling_probability=probabilities,
                    candidate_ids=ids,
                )
                / case.batch
            )

        made["TFRS"] = tf.function(lambda: gradients(theirs))
    return made


def _recall_steps(case: Case) -> dict[str, Step]:
    """Each contestant finds the share of queries whose item is among the best."""
    rng = np.random.default_rng(1)
    k = min(K, case.classes)
    items = tf.constant(rng.standard_normal((case.classes, case.dim), np.float32))
    wanted = tf.constant(rng.integers(case.classes, size=case.batch).astype(np.int32))
    noise = rng.standard_normal((case.batch, case.dim), np.float32)
    queries = tf.gather(items, wanted) + 2 * noise

    def share(best: tf.Tensor) -> tf.Tensor:
        hits = tf.reduce_any(tf.cast(best, tf.int32) == wanted[:, tf.newaxis], axis=1)
        return tf.reduce_mean(tf.cast(hits, tf.float32))

    def ours() -> tuple[tf.Tensor, list]:
        return share(fastw2v.top_k(queries, items, k=k)[1]), []

    def tensorflow() -> tuple[tf.Tensor, list]:
        return share(tf.math.top_k(tf.matmul(queries, items, transpose_b=True), k)[1]), []

    made = {
        harness.OURS: tf.function(ours),
        "TensorFlow": tf.function(tensorflow),
        "XLA": tf.function(tensorflow, jit_compile=True),
    }
    if HAS_TFRS:
        import tensorflow_recommenders as tfrs

        index = tfrs.layers.factorized_top_k.BruteForce(k=k).index(items)
        metric = tfrs.metrics.FactorizedTopK(index, ks=(k,))
        true_items = tf.gather(items, wanted)

        def theirs() -> tuple[tf.Tensor, list]:
            metric.reset_states()
            metric.update_state(queries, true_items, true_candidate_ids=wanted)
            return metric.result()[0], []

        made["TFRS"] = theirs
    return made


def main() -> None:
    options = harness.options(__doc__, "retrieval")
    harness.run(QUICK if options.quick else BAR, steps, options)


if __name__ == "__main__":
    main()
