"""`train_block`: one op that trains on a text and updates two variables in place."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fastw2v.word2vec.corpus.subwords import Subwords
from fastw2v.word2vec.training.train_op import (
    WordBags,
    huffman_tree,
    infer_documents,
    keep_probability,
    noise_table,
    train_block,
    word_bags,
)

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
    classes = {} if "tree" in others else {"noise": noise_table(COUNTS)}
    return {**classes, "seed": (3, 4), "deterministic": True, **others}


@pytest.mark.parametrize("hs", [False, True])
@pytest.mark.parametrize("sg", [True, False])
@pytest.mark.parametrize("function", [False, True])
def test_equals_the_core(sg, function, hs):
    from fastw2v import _kernels

    ids, (embeddings, weights) = text(), tables()
    expected = embeddings.numpy(), weights.numpy()
    keep = keep_probability(COUNTS, 0.005)
    tree = {"tree": huffman_tree(COUNTS)} if hs else {}
    step = tf.function(train_block) if function else train_block
    trained = step(
        *(embeddings, weights, ids),
        **options(keep_probability=keep, sg=sg, window=3, start_alpha=0.1, end_alpha=0.05, **tree),
    )
    noise = None if hs else noise_table(COUNTS).numpy()
    loss, examples, words = _kernels.train_word2vec(
        *(*expected, ids, keep.numpy(), noise, [3, 4]),
        tree=_kernels.huffman_tree(COUNTS.astype(np.float64)) if hs else None,
        **{"cbow": not sg, "window": 3, "start_alpha": 0.1, "end_alpha": 0.05},
        deterministic=True,
    )
    assert trained.loss.dtype == tf.float64
    np.testing.assert_allclose(trained.loss, loss, rtol=1e-12)
    assert (int(trained.examples), int(trained.words)) == (examples, words)
    assert words < np.sum(ids >= 0)
    for table, truth in zip((embeddings, weights), expected, strict=True):
        np.testing.assert_array_equal(table, truth)


def documents():
    return tf.Variable(tf.random.stateless_uniform([3, DIM], [5, 6], -0.1, 0.1))


def text_of_documents():
    ids = text()
    ids[1::17] = -2 - np.arange(len(ids[1::17])) % 3
    return ids


@pytest.mark.parametrize("sg", [True, False])
@pytest.mark.parametrize("function", [False, True])
def test_documents_equal_the_core(sg, function):
    from fastw2v import _kernels

    ids, (embeddings, weights), vectors = text_of_documents(), tables(), documents()
    expected = embeddings.numpy(), weights.numpy(), vectors.numpy()
    step = tf.function(train_block) if function else train_block
    trained = step(*(embeddings, weights, ids), documents=vectors, **options(sg=sg, window=3))
    loss, examples, words = _kernels.train_word2vec(
        *(*expected[:2], ids, None, noise_table(COUNTS).numpy(), [3, 4]),
        **{"cbow": not sg, "window": 3, "deterministic": True, "documents": expected[2]},
    )
    np.testing.assert_allclose(trained.loss, loss, rtol=1e-12)
    assert (int(trained.examples), int(trained.words)) == (examples, words)
    for table, truth in zip((embeddings, weights, vectors), expected, strict=True):
        np.testing.assert_array_equal(table, truth)
    assert not np.array_equal(vectors, documents())


@pytest.mark.parametrize("function", [False, True])
def test_inference_equals_the_core_and_reads_only(function):
    from fastw2v import _kernels

    ids, (embeddings, weights), vectors = text_of_documents(), tables(), documents()
    train_block(*(embeddings, weights, ids), documents=vectors, **options())
    before = embeddings.numpy(), weights.numpy()
    new = np.array([3, 4, 5, -1, 7, -1], np.int32)
    infer = tf.function(infer_documents) if function else infer_documents
    inferred = infer(
        *(embeddings, weights, new, tf.zeros([2, DIM])),
        **{"epochs": 4, "noise": noise_table(COUNTS), "seed": (3, 4), "start_alpha": 0.1},
    )
    truth = np.zeros((2, DIM), np.float32)
    _kernels.train_word2vec(
        *(*before, new, None, noise_table(COUNTS).numpy(), [3, 4]),
        **{"documents": truth, "infer_epochs": 4, "start_alpha": 0.1, "end_alpha": 0.1},
    )
    np.testing.assert_array_equal(inferred, truth)
    assert np.linalg.norm(truth, axis=1).min() > 0
    for table, unchanged in zip((embeddings, weights), before, strict=True):
        np.testing.assert_array_equal(table, unchanged)


def test_bad_documents_change_nothing():
    (embeddings, weights), vectors = tables(), documents()
    for bad, message in (
        (
            tf.Variable(tf.zeros([3, 5])),
            r"documents has shape \[3,5\]; expected \[num_documents, 24",
        ),
        (tf.Variable(tf.zeros([3])), r"documents has dtype float32 and shape \(3,\), expected"),
        (embeddings, "documents is the variable of another table"),
        (tf.Variable(tf.zeros([2, DIM])), "is document 2, which is not below 2"),
        (
            tf.Variable(tf.zeros([0, DIM])),
            r"documents has shape \[0,24\]; expected at least one row",
        ),
        (np.zeros((3, DIM)), "documents is a ndarray, expected a tf.Variable"),
    ):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
            train_block(*(embeddings, weights, text_of_documents()), documents=bad, **options())
    for first, ids, message in (
        (tf.zeros([2, 5]), [1, -1, 2, -1], r"first_vectors has shape \[2,5\]; expected"),
        (tf.zeros([3, DIM]), [1, -1, 2, -1], "ids has 2 texts, each ended by -1, expected 3"),
        (tf.zeros([1, DIM]), [1, 2], "ids has 0 texts"),
        (tf.zeros([1, DIM]), [-2, 2, -1], r"ids\[0\] = -2 is below -1"),
        (tf.zeros([1, DIM]), [WORDS, -1], r"ids\[0\] = 50 is not below 50"),
    ):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
            infer_documents(
                *(embeddings, weights, ids, first),
                **{"epochs": 1, "noise": noise_table(COUNTS), "seed": (1, 2)},
            )
    for table, fresh in zip((embeddings, weights, vectors), (*tables(), documents()), strict=True):
        np.testing.assert_array_equal(table, fresh)


def test_rates_may_be_tensors():
    results = []
    for rate in (0.125, tf.constant(0.125), tf.constant(0.125, tf.float64)):
        embeddings, weights = tables()
        train_block(embeddings, weights, text(), **options(start_alpha=rate, end_alpha=rate * 0.5))
        results.append(embeddings.numpy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_without_locks_it_learns_as_much():
    losses = []
    for deterministic in (True, False):
        embeddings, weights = tables()
        for epoch in range(3):
            trained = train_block(
                *(embeddings, weights, text(50_000)),
                **options(deterministic=deterministic, seed=(3, epoch), window=2),
            )
        losses.append(float(trained.loss) / int(trained.examples))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    embeddings, weights = tables()
    train_block(embeddings, weights, text(), **options())
    path = tf.train.Checkpoint(e=embeddings, w=weights).write(str(tmp_path / "state"))
    train_block(embeddings, weights, text(seed=1), **options())
    again = tables()
    tf.train.Checkpoint(e=again[0], w=again[1]).read(path).assert_consumed()
    train_block(*again, text(seed=1), **options())
    np.testing.assert_array_equal(embeddings, again[0])
    np.testing.assert_array_equal(weights, again[1])


def test_who_read_a_table_keeps_what_was_read():
    embeddings, weights = tables()
    before = embeddings.read_value(), weights.value()
    copies = [tensor.numpy().copy() for tensor in before]
    handle = embeddings.handle
    train_block(embeddings, weights, text(), **options())
    for tensor, copy in zip(before, copies, strict=True):
        np.testing.assert_array_equal(tensor, copy)
    assert embeddings.handle is handle and not np.array_equal(embeddings, copies[0])


BAD = {
    "an id above": (lambda: {"ids": [0, WORDS]}, r"ids\[1\] = 50 is not below 50"),
    "int64 ids": (lambda: {"ids": np.array([1, 2])}, "ids has dtype int64"),
    "ids of rank 2": (lambda: {"ids": [[1, 2]]}, "ids has dtype int32 and shape"),
    "another width": (lambda: {"weights": tf.Variable(tf.zeros([WORDS, 3]))}, "weights has shape"),
    "a tensor": (lambda: {"weights": tf.zeros([WORDS, DIM])}, "expected a tf.Variable"),
    "float64": (
        lambda: {"weights": tf.Variable(tf.zeros([WORDS, DIM], tf.float64))},
        "weights has dtype float64",
    ),
    "no classes": (lambda: {"noise": None}, "either noise or tree"),
    "both": (lambda: {"tree": huffman_tree(COUNTS)}, "either noise or tree"),
    "a noise table of others": (lambda: {"noise": noise_table([1, 2])}, "noise has shape"),
    "a tree of others": (
        lambda: {"noise": None, "tree": huffman_tree([1, 2])},
        "tree_splits has shape",
    ),
    "other keep probabilities": (
        lambda: {"keep_probability": tf.ones([3])},
        "keep_probability has shape",
    ),
    "no window": (lambda: {"window": 0}, "window = 0 is not a Python integer in"),
    "no noise": (lambda: {"negative": 0}, "negative = 0 is not a Python integer in"),
    "a large group": (
        lambda: {"group": 5000},
        r"group = 5000 is not a Python integer in \[1, 4096",
    ),
    "one seed": (lambda: {"seed": 3}, r"seed has shape \(\), expected integers of shape"),
    "a rate": (lambda: {"start_alpha": float("nan")}, "start_alpha = nan is not finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_change_nothing(name):
    make, message = BAD[name]
    embeddings, weights = tables()
    arguments = {"embeddings": embeddings, "weights": weights, "ids": text(100)}
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        train_block(**{**arguments, "noise": noise_table(COUNTS), "seed": (1, 2), **make()})
    for table, fresh in zip((embeddings, weights), tables(), strict=True):
        np.testing.assert_array_equal(table, fresh)


def ngrams():
    """Bags of words, and a table of their rows and those of 30 n-grams."""
    bags = word_bags([f"word{k}" for k in range(WORDS)], Subwords(2, 3, 30))
    return bags, tf.Variable(tf.random.stateless_uniform([WORDS + 30, DIM], [1, 2], -0.1, 0.1))


@pytest.mark.parametrize("function", [False, True])
def test_bags_equal_the_core(function):
    from fastw2v import _kernels

    (bags, embeddings), (_, weights) = ngrams(), tables()
    expected = embeddings.numpy(), weights.numpy()
    step = tf.function(train_block) if function else train_block
    trained = step(embeddings, weights, text(), **options(bags=bags, start_alpha=0.1))
    result = _kernels.train_word2vec(
        *(*expected, text(), None, noise_table(COUNTS).numpy(), [3, 4]),
        bags=tuple(each.numpy() for each in bags),
        **{"start_alpha": 0.1, "end_alpha": 0.1, "deterministic": True},
    )
    assert [float(value) for value in trained] == list(result)
    np.testing.assert_array_equal(embeddings, expected[0])
    np.testing.assert_array_equal(weights, expected[1])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda splits, rows: (splits[:-1], rows), r"bag_splits .*\[51\]"),
        (lambda splits, rows: (splits, rows[:-1]), "expected 0 to"),
        (lambda splits, rows: (splits, rows + 60), "the rows of the embeddings"),
        (lambda splits, rows: (splits[None], rows), "bag_splits|rank"),
    ],
)
def test_bags_that_are_none_are_refused(change, message):
    (bags, embeddings), (_, weights) = ngrams(), tables()
    before = embeddings.numpy()
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        train_block(embeddings, weights, text(), **options(bags=WordBags(*change(*bags))))
    np.testing.assert_array_equal(embeddings, before)


def test_tables_of_bags_are_as_wide_as_the_weights():
    (bags, embeddings), _ = ngrams(), tables()
    with pytest.raises(tf.errors.InvalidArgumentError, match="weights has shape"):
        train_block(embeddings, tf.Variable(tf.zeros([WORDS, 7])), text(), **options(bags=bags))


def test_one_variable_as_both_tables_is_refused():
    table, _ = tables()
    with pytest.raises(tf.errors.InvalidArgumentError, match="are the same variable"):
        train_block(table, table, text(), **options())


def test_no_text_trains_nothing():
    embeddings, weights = tables()
    trained = train_block(embeddings, weights, np.zeros(0, np.int32), **options())
    assert [float(value) for value in trained] == [0, 0, 0]
    np.testing.assert_array_equal(embeddings, tables()[0])
