"""The numbers of TensorFlow Recommenders and of keras_rs, where these packages are installed."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import tensorflow as tf
from problems import run_python

import fastw2v

BATCH, NEGATIVES, DIM = 48, 20, 8

needs_tfrs = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tensorflow_recommenders", "tf_keras"))),
    reason="tensorflow-recommenders and tf-keras are not installed",
)


def problem():
    rng = np.random.default_rng(0)

    def vectors(n):
        return tf.constant(rng.normal(size=[n, DIM]), tf.float32)

    queries, candidates, negatives = vectors(BATCH), vectors(BATCH), vectors(NEGATIVES)
    ids = rng.integers(15, size=BATCH + NEGATIVES)
    probabilities = rng.uniform(1e-3, 1, size=BATCH + NEGATIVES).astype("float32")
    return queries, candidates, negatives, ids, probabilities, rng.uniform(size=BATCH)


def ours(ids=False, log_q=False, extra=False, weighted=False, **options):
    """The sum of the losses, and the gradients of the queries and of all candidates."""
    queries, candidates, negatives, all_ids, probabilities, weights = problem()
    given = {"candidate_ids": all_ids[:BATCH]} if ids else {}
    if log_q:
        given["log_q"] = np.log(probabilities[:BATCH])
    if extra:
        given["negatives"] = negatives
        if ids:
            given["negative_ids"] = all_ids[BATCH:]
        if log_q:
            given["negative_log_q"] = np.log(probabilities[BATCH:])
    if weighted:
        given["sample_weight"] = weights
    sources = [queries, candidates, negatives] if extra else [queries, candidates]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = fastw2v.in_batch_softmax_loss(
            queries, candidates, reduction="sum", **given, **options
        )
    return loss, tape.gradient(loss, sources)


CALLS = [
    {},
    {"temperature": 0.3},
    {"ids": True},
    {"log_q": True},
    {"extra": True, "ids": True, "log_q": True},
    {"num_hard_negatives": 5},
    {"num_hard_negatives": 5, "ids": True, "log_q": True, "extra": True, "temperature": 2.0},
    {"num_hard_negatives": 500, "ids": True},
    {"weighted": True, "ids": True},
]

# In a process of its own: it needs Keras 2.
TFRS = """
import json, os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tensorflow as tf
import tensorflow_recommenders as tfrs
from test_retrieval_peers import BATCH, CALLS, problem

queries, candidates, negatives, ids, probabilities, weights = problem()
found = []
for call in CALLS:
    n = None if call.get("extra") else BATCH
    task = tfrs.tasks.Retrieval(
        temperature=call.get("temperature"),
        num_hard_negatives=call.get("num_hard_negatives"),
        remove_accidental_hits=call.get("ids", False),
    )
    sources = [queries, candidates] + ([negatives] if call.get("extra") else [])
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = task(
            queries,
            tf.concat(sources[1:], 0),
            candidate_ids=tf.constant(ids[:n]) if call.get("ids") else None,
            candidate_sampling_probability=probabilities[:n] if call.get("log_q") else None,
            sample_weight=tf.constant(weights, tf.float32) if call.get("weighted") else None,
        )
    gradients = tape.gradient(loss, sources)
    found.append([float(loss), [tf.convert_to_tensor(g).numpy().tolist() for g in gradients]])
print(json.dumps(found))
"""


@needs_tfrs
def test_retrieval_task_of_tfrs():
    found = json.loads(run_python(TFRS).splitlines()[-1])
    for call, (loss, gradients) in zip(CALLS, found, strict=True):
        our_loss, our_gradients = ours(**call)
        np.testing.assert_allclose(our_loss, loss, rtol=1e-5, err_msg=str(call))
        for got, right in zip(our_gradients, gradients, strict=True):
            np.testing.assert_allclose(
                tf.convert_to_tensor(got), right, rtol=1e-4, atol=2e-6, err_msg=str(call)
            )


FACTORIZED_TOP_K = """
import json, os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tensorflow as tf
import tensorflow_recommenders as tfrs
from test_retrieval_peers import catalog

queries, items, wanted = catalog()
metric = tfrs.metrics.FactorizedTopK(
    tf.data.Dataset.from_tensor_slices((tf.range(len(items)), items)).batch(64), ks=(1, 5, 20)
)
for first in range(0, len(queries), 40):
    part = slice(first, first + 40)
    metric.update_state(
        queries[part], tf.gather(items, wanted[part]), true_candidate_ids=wanted[part]
    )
print(json.dumps([float(x) for x in metric.result()]))
"""


def catalog():
    rng = np.random.default_rng(1)
    items = rng.normal(size=[300, DIM]).astype("float32")
    wanted = rng.integers(300, size=100).astype("int32")
    return items[wanted] + rng.normal(size=[100, DIM]).astype("float32"), items, wanted


@needs_tfrs
def test_factorized_top_k_of_tfrs():
    expected = json.loads(run_python(FACTORIZED_TOP_K).splitlines()[-1])
    queries, items, wanted = catalog()
    for k, right in zip((1, 5, 20), expected, strict=True):
        metric = fastw2v.keras.RecallAtK(k)
        for first in range(0, len(queries), 40):
            part = slice(first, first + 40)
            metric.update_state(wanted[part], fastw2v.top_k(queries[part], items, k=k)[1])
        assert float(metric.result()) == pytest.approx(right, abs=1e-6)


@pytest.fixture
def keras_rs():
    return pytest.importorskip("keras_rs", reason="keras-rs is not installed")


@pytest.mark.parametrize(
    "call", [{}, {"log_q": True}, {"num_hard_negatives": 5, "log_q": True}, {"ids": True}]
)
def test_layers_of_keras_rs(keras_rs, call):
    queries, candidates, _, ids, probabilities, _ = problem()
    layers = keras_rs.layers
    with tf.GradientTape() as tape:
        tape.watch([queries, candidates])
        logits = tf.matmul(queries, candidates, transpose_b=True)
        labels = tf.eye(BATCH)
        if call.get("log_q"):
            logits = layers.SamplingProbabilityCorrection()(logits, probabilities[:BATCH])
        if call.get("ids"):
            removed = layers.RemoveAccidentalHits()(logits, labels, ids[:BATCH])
            # keras_rs 0.4.0 adds the smallest float in place of the most negative one, so that
            # hits stay where they are; by its documentation their logits are extremely small.
            hits = (ids[:BATCH, None] == ids[:BATCH]) & ~np.eye(BATCH, dtype=bool)
            if not np.array_equal(removed, logits):
                assert np.all(removed.numpy()[hits] < -1e30)
            logits = tf.where(hits, -1e30, logits)
        if "num_hard_negatives" in call:
            logits, labels = layers.HardNegativeMining(call["num_hard_negatives"])(logits, labels)
        loss = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
    expected = tape.gradient(loss, [queries, candidates])
    our_loss, gradients = ours(**call)
    np.testing.assert_allclose(our_loss, loss, rtol=1e-5)
    for got, right in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(got), right, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["RecallAtK", "MeanReciprocalRank", "NDCG"])
@pytest.mark.parametrize("k", [1, 5])
def test_metrics_of_keras_rs(keras_rs, name, k):
    """Which take the scores and labels of all items."""
    queries, items, wanted = catalog()
    also = np.where(np.arange(100) % 3 == 0, (wanted + 7) % 300, -1)
    relevant = np.stack([wanted, also], axis=1)
    labels = np.zeros([100, 300], "float32")
    for row, found in zip(labels, relevant, strict=True):
        row[found[found >= 0]] = 1
    theirs, metric = getattr(keras_rs.metrics, name)(k), getattr(fastw2v.keras, name)(k)
    for part in (slice(0, 40), slice(40, 100)):
        theirs.update_state(labels[part], queries[part] @ items.T)
        metric.update_state(relevant[part], fastw2v.top_k(queries[part], items, k=k)[1])
    assert float(metric.result()) == pytest.approx(float(theirs.result()), rel=1e-5)
