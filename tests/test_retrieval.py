"""The Keras layers and metrics of models with two towers."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import run_processes

import fastw2v
from fastw2v import reference
from fastw2v.keras import (
    NDCG,
    Embedding,
    InBatchSoftmax,
    LinearCrossEntropy,
    MeanReciprocalRank,
    RecallAtK,
    StreamingLogQ,
    TopK,
)

PROGRAM = Path(__file__).parent / "distribute" / "programs" / "in_batch.py"
USERS, ITEMS, DIM = 60, 40, 8


# ---- The loss ------------------------------------------------------------------------------------


def vectors(seed, n=20):
    return tf.constant(np.random.default_rng(seed).normal(size=[n, DIM]), tf.float32)


@pytest.mark.parametrize(
    "options", [{}, {"num_hard_negatives": 3, "temperature": 0.5}, {"symmetric": True}]
)
def test_the_layer_is_the_function(options):
    layer = InBatchSoftmax(**options)
    ids, log_q = tf.range(20) % 6, tf.linspace(-3.0, 0.0, 20)
    weights = tf.linspace(0.0, 1.0, 20)
    losses = layer(vectors(0), vectors(1), candidate_ids=ids, log_q=log_q, sample_weight=weights)
    expected = weights * tf.cast(
        reference.in_batch_softmax_loss(
            vectors(0), vectors(1), candidate_ids=ids, log_q=log_q, **options
        ),
        tf.float32,
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        layer.losses, [tf.reduce_sum(expected) / tf.reduce_sum(weights)], rtol=1e-5
    )
    again = InBatchSoftmax.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def towers(**options):
    users, items = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    queries, candidates = Embedding(USERS, DIM)(users), Embedding(ITEMS, DIM)(items)
    log_q = StreamingLogQ(ITEMS)(items)
    head = InBatchSoftmax(**options)
    losses = head(queries, candidates, candidate_ids=items, log_q=log_q)
    return keras.Model([users, items], losses)


def interactions(n=2000):
    """Of users, each of whom likes items of one of four kinds."""
    rng = np.random.default_rng(0)
    users = rng.integers(USERS, size=n)
    return users, (users % 4 + 4 * rng.integers(ITEMS // 4, size=n)) % ITEMS


@pytest.mark.parametrize("options", [{"temperature": 0.3}, {"num_hard_negatives": 10}])
def test_a_model_learns_and_is_saved(options, tmp_path):
    keras.utils.set_random_seed(1)
    model = towers(**options)
    model.compile(fastw2v.optimizers.Adam(0.02))
    data = list(interactions())
    losses = model.fit(data, batch_size=50, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.2

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    batch = [part[:50] for part in data]
    np.testing.assert_allclose(
        loaded.predict(batch, verbose=0), model.predict(batch, verbose=0), rtol=1e-5
    )


def test_steps_in_one_function():
    keras.utils.set_random_seed(1)
    model = towers()
    model.compile("adam", steps_per_execution=4)
    model.fit(list(interactions(400)), batch_size=50, epochs=1, verbose=0)
    frequencies = next(each for each in model.layers if isinstance(each, StreamingLogQ))
    assert int(frequencies.step.numpy()) == 8


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: InBatchSoftmax(temperature=0.0), r"temperature = 0.0 is not in \(0, inf\)"),
        (lambda: InBatchSoftmax(num_hard_negatives=0), "num_hard_negatives = 0 is not a Python"),
        (lambda: InBatchSoftmax(compute_dtype="int8"), "compute_dtype"),
        (lambda: InBatchSoftmax()(vectors(0), vectors(1, 3)), r"but queries has shape \(20, 8\)"),
        (lambda: StreamingLogQ(0), r"num_buckets = 0 is not a Python integer in \[1"),
        (lambda: StreamingLogQ(9, num_hashes=17), r"num_hashes = 17 .* in \[1, 16\]"),
        (lambda: StreamingLogQ(9, learning_rate=0.0), r"learning_rate = 0.0 is not in \(0, 1\)"),
        (lambda: StreamingLogQ(9, learning_rate=1.0), "learning_rate = 1.0 is not a Python number"),
        (lambda: StreamingLogQ(9)(tf.constant([0.5])), "ids has dtype float32"),
        (
            lambda: StreamingLogQ(9)(tf.constant([[1]])),
            r"ids has shape \(1, 1\), expected \[batch\]",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- Frequencies ---------------------------------------------------------------------------------


def test_probabilities_follow_the_definition():
    """Algorithm 2 of Yi et al., in Python, with the first interval as the first average."""
    rng = np.random.default_rng(0)
    rate, last, average = 0.1, {}, {}
    layer = StreamingLogQ(50, learning_rate=rate)
    for step in range(1, 200):
        batch = rng.choice(50, 12, p=np.arange(1, 51) / 1275)
        log_q = layer(batch, training=True)
        for item in set(batch.tolist()):
            gap = step - last.get(item, 0)
            known = item in average
            average[item] = (1 - rate) * average[item] + rate * gap if known else gap
            last[item] = step
        np.testing.assert_allclose(log_q, [-math.log(average[item]) for item in batch], rtol=1e-5)
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(np.arange(12)), layer(np.arange(12), training=False))
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_probabilities_are_right():
    """Of items that are met with known probabilities, on the average over many."""
    rng = np.random.default_rng(1)
    probabilities = np.repeat([0.02, 0.1, 0.5], 100)
    layer = StreamingLogQ(300, learning_rate=0.05)
    count = tf.function(lambda ids: layer(ids, training=True), reduce_retracing=True)
    for _ in range(600):
        count(tf.constant(np.flatnonzero(rng.random(300) < probabilities)))
    intervals = np.exp(-layer(np.arange(300)).numpy()).reshape(3, 100).mean(axis=1)
    np.testing.assert_allclose(intervals, [50, 10, 2], rtol=0.1)


def test_several_hashes_part_what_one_confuses():
    """By number, the rare items share the bucket of one that is in each batch."""
    rare = 64 * np.arange(1, 31)
    found = []
    for num_hashes in (1, 4):
        layer = StreamingLogQ(64, num_hashes=num_hashes, learning_rate=0.1)
        for step in range(120):
            layer(np.array([0, rare[step % 30]]), training=True)
        found.append(np.exp(layer(rare).numpy()))
    np.testing.assert_array_equal(found[0], np.ones(30))
    assert np.median(found[1]) < 0.1  # in truth 1 / 30


def test_ids_may_be_strings_and_large():
    layer = StreamingLogQ(1000, num_hashes=2)
    for ids in (tf.constant(["a", "b"]), tf.constant([2**62, 5], tf.int64)):
        for step in range(10):
            layer(ids if step % 2 else ids[:1], training=True)
        assert layer(ids[:1]).numpy() > layer(ids[1:]).numpy()


def test_an_item_that_was_not_met():
    layer = StreamingLogQ(10)
    assert layer(tf.constant([3])).numpy() == 0
    for _ in range(8):
        layer(tf.constant([1]), training=True)
    np.testing.assert_allclose(layer(tf.constant([3])), [-math.log(8)], rtol=1e-6)


# ---- Metrics -------------------------------------------------------------------------------------


def definition(kind, relevant, ranked, k):
    relevant = {item for item in np.atleast_1d(relevant).tolist() if item >= 0}
    hits = [item in relevant for item in list(ranked)[:k]]
    if kind is RecallAtK:
        return sum(hits) / len(relevant)
    if kind is MeanReciprocalRank:
        return max([0, *(1 / (i + 1) for i, hit in enumerate(hits) if hit)])
    gains = [1 / math.log2(i + 2) for i in range(len(hits))]
    return sum(g for g, hit in zip(gains, hits, strict=True) if hit) / sum(gains[: len(relevant)])


@pytest.mark.parametrize("kind", [RecallAtK, MeanReciprocalRank, NDCG])
@pytest.mark.parametrize("k", [1, 3, None])
@pytest.mark.parametrize("num_relevant", [None, 1, 4])
def test_metrics_equal_their_definitions(kind, k, num_relevant):
    """In several batches, with weights, padding and relevant items that stand twice."""
    rng = np.random.default_rng(0)
    metric = kind(k)
    update = tf.function(metric.update_state)
    total, weight = 0.0, 0.0
    for batch in (7, 12, 7):
        ranked = np.stack([rng.permutation(12)[:6] for _ in range(batch)])
        shape = [batch] if num_relevant is None else [batch, num_relevant]
        relevant = rng.integers(0 if num_relevant is None else -6, 12, size=shape)
        weights = rng.integers(0, 3, size=batch) / 2
        update(tf.constant(relevant), tf.constant(ranked), tf.constant(weights))
        for b in range(batch):
            if np.max(relevant[b]) >= 0:
                total += weights[b] * definition(kind, relevant[b], ranked[b], k)
                weight += weights[b]
    assert float(metric.result()) == pytest.approx(total / weight, rel=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0
    again = kind.from_config(metric.get_config())
    assert again.k == k and again.name == metric.name


def test_a_model_is_evaluated_over_a_whole_catalog():
    keras.utils.set_random_seed(1)
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = Embedding(USERS, DIM)(ids)
    head = LinearCrossEntropy(ITEMS)
    outputs = {"losses": head(hidden, labels), "items": TopK(head, 10)(hidden)[1]}
    model = keras.Model([ids, labels], outputs)
    metrics = [RecallAtK(10), MeanReciprocalRank(), NDCG(5)]
    model.compile(fastw2v.optimizers.Adam(0.05), metrics={"items": metrics})
    users, items = interactions()
    targets = {"losses": items, "items": items}
    model.fit([users, items], targets, epochs=3, verbose=0)
    found = model.evaluate([users, items], targets, batch_size=256, return_dict=True, verbose=0)
    ranked = model.predict([users, items], verbose=0)["items"]
    for kind, k, name in (
        (RecallAtK, 10, "recall_at_10"),
        (MeanReciprocalRank, None, "mrr"),
        (NDCG, 5, "ndcg_at_5"),
    ):
        each = [definition(kind, item, row, k) for item, row in zip(items, ranked, strict=True)]
        assert found[f"items_{name}"] == pytest.approx(np.mean(each), rel=1e-5)
    assert found["items_recall_at_10"] > 0.9


@pytest.mark.parametrize(
    "k, y_true, y_pred, weight, message",
    [
        (0, None, None, None, "k = 0 is not a Python integer"),
        (2, [1.0], [[1, 2]], None, "y_true has dtype float32"),
        (2, [1], [[0.5, 2.0]], None, "y_pred has dtype float32"),
        (2, [1], [1, 2], None, r"y_pred has shape \(2,\), expected \[batch, m\]"),
        (2, [1, 2], [[1, 2]], None, r"y_true has shape \(2,\), expected \[1\]"),
        (3, [1], [[1, 2]], None, "with m of at least k = 3"),
        (2, [1], [[1, 2]], [1.0, 2.0], r"sample_weight has shape \(2,\)"),
    ],
)
def test_bad_rankings(k, y_true, y_pred, weight, message):
    with pytest.raises(ValueError, match=message):
        RecallAtK(k).update_state(y_true, y_pred, weight)


# ---- Several replicas ----------------------------------------------------------------------------


@pytest.mark.slow
def test_candidates_of_all_replicas():
    finished = run_processes(1, PROGRAM)
    assert "all checks passed" in finished.stdout, finished.stderr
