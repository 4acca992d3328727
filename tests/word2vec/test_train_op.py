"""`train_block`: one op that trains on a text and updates two variables in place."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fastw2v.word2vec.train_op import keep_probability, noise_table, train_block

WORDS, DIM = 50, 24
COUNTS = np.arange(WORDS, 0, -1) ** 2


def text(size=4000, seed=0):
    ids = np.random.default_rng(seed).choice(WORDS, size, p=COUNTS / COUNTS.sum())
    ids[::17] = -1
    return ids.astype(np.int32)


def tables():
    embeddings = tf.random.stateless_uniform([WORDS, DIM], [1, 2], -0.1, 0.1)
    return tf.Variable(embeddings), tf.Variable(tf.zeros([WORDS, DIM]))


def options(**others):
    return {"noise": noise_table(COUNTS), "seed": (3, 4), "deterministic": True, **others}


@pytest.mark.parametrize("sg", [True, False])
@pytest.mark.parametrize("function", [False, True])
def test_equals_the_core(sg, function):
    from fastw2v import _kernels

    ids, (embeddings, weights) = text(), tables()
    expected = embeddings.numpy(), weights.numpy()
    keep = keep_probability(COUNTS, 0.005)
    step = tf.function(train_block) if function else train_block
    trained = step(
        *(embeddings, weights, ids),
        **options(keep_probability=keep, sg=sg, window=3, first_rate=0.1, last_rate=0.05),
    )
    noise = noise_table(COUNTS).numpy()
    loss, examples, words = _kernels.train_word2vec(
        *(*expected, ids, keep.numpy(), noise, [3, 4]),
        **{"cbow": not sg, "window": 3, "first_rate": 0.1, "last_rate": 0.05},
    )
    assert trained.loss.dtype == tf.float64
    np.testing.assert_allclose(trained.loss, loss, rtol=1e-12)
    assert (int(trained.examples), int(trained.words)) == (examples, words)
    assert words < np.sum(ids >= 0)
    for table, truth in zip((embeddings, weights), expected, strict=True):
        np.testing.assert_array_equal(table, truth)


def test_who_read_a_table_keeps_what_was_read():
    embeddings, weights = tables()
    before = embeddings.read_value(), weights.value()
    copies = [tensor.numpy().copy() for tensor in before]
    handle = embeddings.handle
    train_block(embeddings, weights, text(), **options())
    for tensor, copy in zip(before, copies, strict=True):
        np.testing.assert_array_equal(tensor, copy)
    assert embeddings.handle is handle and not np.array_equal(embeddings, copies[0])
