"""Training of word vectors on text against its definition, group after group, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.word2vec_definition import (
    WORDS,
    only_noise,
    tables,
    train,
    with_noise,
    with_tree,
)

TEXTS = {
    "one sentence": np.arange(25) % 11,
    "sentences": np.array([3, 4, -1, -1, 5, -1, 7, 7, 8, 9, 10, 11, -1, 2, 3, 2]),
    "one word": np.array([5]),
    "no pairs": np.array([5, -1, 6, -1]),
    "nothing": np.array([], np.int64),
    "the word of the noise": np.array([7, 1, 7, 2, 7, 7, 3]),
}


@pytest.mark.parametrize("form", ["skip-gram", "cbow", "cbow sums"])
@pytest.mark.parametrize("group, shared", [(1, 1), (3, 2), (16, 16), (40, 5)])
@pytest.mark.parametrize("name", TEXTS)
def test_equals_the_definition(kernels, name, group, shared, form):
    ids = TEXTS[name].astype(np.int32)
    embeddings, weights = tables()
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    options = {"cbow": form != "skip-gram", "mean": form != "cbow sums"}
    got = kernels.train_word2vec(
        embeddings,
        weights,
        ids,
        None,
        only_noise(kernels),
        [1, 2],
        window=3,
        shrink_windows=False,
        negative=4,
        group=group,
        shared=shared,
        start_alpha=0.2,
        end_alpha=0.1,
        **options,
    )
    loss, examples, _ = train(ids, *truth, 3, with_noise(4), group, 0.2, 0.1, **options)
    assert got[0] == pytest.approx(loss, rel=1e-5)
    assert got[1] == examples and got[2] == np.sum(ids >= 0)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["skip-gram", "cbow", "cbow sums"])
@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_steps_that_would_overshoot_are_shortened(kernels, rate, form):
    """Few words, long windows, a high rate: hardly a step is made whole, and groups are short."""
    ids = np.random.default_rng(3).integers(5, size=60).astype(np.int32)
    embeddings, weights = tables()
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    options = {"cbow": form != "skip-gram", "mean": form != "cbow sums"}
    got = kernels.train_word2vec(
        *(embeddings, weights, ids, None, only_noise(kernels), [1, 2]),
        **{"window": 4, "shrink_windows": False, "negative": 4, "group": 16, "shared": 3},
        **{"start_alpha": rate, "end_alpha": rate},
        **options,
    )
    loss, _, lengths = train(ids, *truth, 4, with_noise(4), 16, rate, rate, **options)
    assert lengths[0] == 16 and min(lengths) < 8
    assert got[0] == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", ["skip-gram", "cbow", "tree"])
@pytest.mark.parametrize("threads, deterministic", [(1, False), (4, False), (4, True)])
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_no_rate_leads_to_infinity(kernels, form, threads, deterministic, rate):
    rng = np.random.default_rng(4)
    ids = np.minimum(rng.geometric(0.3, size=4_000), WORDS - 1).astype(np.int32)
    ids[::9] = -1
    embeddings, weights = tables()
    counts = np.bincount(ids[ids >= 0], minlength=WORDS).astype(np.float64)
    noise = {"noise": kernels.noise_table(counts, 0.75), "tree": None}
    if form == "tree":
        noise = {"noise": None, "tree": kernels.huffman_tree(counts)}
    for epoch in range(2):
        loss, *_ = kernels.train_word2vec(
            *(embeddings, weights, ids, None),
            seed=[1, epoch],
            **{"window": 20, "negative": 20, "group": 24, "shared": 24, "cbow": form == "cbow"},
            **{"start_alpha": rate, "end_alpha": rate, "deterministic": deterministic},
            **{"num_threads": threads, **noise},
        )
        assert np.isfinite(loss)
    longest = np.linalg.norm(np.concatenate([embeddings, weights]), axis=1).max()
    assert longest < 100


@pytest.mark.parametrize("dim", [1, 15, 16, 17, 100])
def test_widths(kernels, dim):
    ids = np.random.default_rng(1).integers(WORDS, size=60, dtype=np.int32)
    embeddings, weights = tables(dim=dim)
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    kernels.train_word2vec(
        embeddings, weights, ids, None, only_noise(kernels), [1, 2], shrink_windows=False
    )
    train(ids, *truth, 5, with_noise(5), 16, 0.025, 0.025)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["skip-gram", "cbow", "cbow sums"])
@pytest.mark.parametrize("group, centers", [(1, 1), (3, 3), (16, 4)])
@pytest.mark.parametrize("name", TEXTS)
def test_hierarchical_softmax_equals_the_definition(kernels, name, group, centers, form):
    ids = TEXTS[name].astype(np.int32)
    embeddings, weights = tables()
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    options = {"cbow": form != "skip-gram", "mean": form != "cbow sums"}
    tree = kernels.huffman_tree(np.arange(1.0, WORDS + 1) ** 2)
    got = kernels.train_word2vec(
        *(embeddings, weights, ids, None, None, [1, 2]),
        tree=tree,
        **{"window": 3, "shrink_windows": False, "start_alpha": 0.2, "end_alpha": 0.1},
        **{"group": group, **options},
    )
    loss, examples, _ = train(
        ids, *truth, 3, with_tree(tree), centers, 0.2, 0.1, words_are_classes=False, **options
    )
    assert got == (pytest.approx(loss, rel=1e-5), examples, np.sum(ids >= 0))
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-5, atol=1e-5)


def way(tree, word):
    splits, steps, _ = tree
    return [(step >> 1, step & 1) for step in steps[splits[word] : splits[word + 1]]]


@pytest.mark.parametrize(
    "counts",
    [[5.0], [3.0, 1.0], [1.0] * 8, [0, 0, 1, 0.5], [2.0**k for k in range(12)], [3, 9, 4, 4, 1, 7]],
    ids=["one word", "two", "all alike", "zeros", "a chain", "mixed"],
)
def test_huffman_tree(kernels, counts):
    counts = np.array(counts, np.float64)
    tree = kernels.huffman_tree(counts)
    ways = [way(tree, word) for word in range(len(counts))]
    assert tree[2] == max(map(len, ways))
    # Ways are those of one binary tree whose leaves are the words.
    children = {}
    for word, steps in enumerate(ways):
        places = [node for node, _ in steps[1:]] + [f"word {word}"]
        for step, child in zip(steps, places, strict=len(counts) > 1):
            assert children.setdefault(step, child) == child
    assert len(children) == 2 * (len(counts) - 1)
    assert len(set(children.values())) == len(children)
    heap, cost = sorted(counts), 0.0
    while len(heap) > 1:
        pair, heap = heap[:2], heap[2:]
        cost += sum(pair)
        heap = sorted([*heap, sum(pair)])
    assert cost == sum(count * len(steps) for count, steps in zip(counts, ways, strict=True))


def test_huffman_tree_refuses(kernels):
    for counts, message in (([], "counts has 0 numbers"), ([1, np.nan], r"counts\[1\] = nan")):
        with pytest.raises(ValueError, match=message):
            kernels.huffman_tree(np.array(counts, np.float64))


# One part of the text at a time, three side by side, and sixteen, the most.
@pytest.mark.parametrize("words", [WORDS, 200, 1100])
@pytest.mark.parametrize("hs", [False, True])
@pytest.mark.parametrize("cbow", [False, True])
def test_deterministic_for_any_number_of_threads(kernels, cbow, hs, words):
    rng = np.random.default_rng(4)
    ids = rng.integers(words, size=36_000, dtype=np.int32)
    ids[rng.random(ids.size) < 0.1] = -1
    counts = np.arange(1.0, words + 1)

    def trained(**options):
        found = tables(words=words)
        return *found, kernels.train_word2vec(
            *(*found, ids, kernels.keep_probabilities(counts, 1e-2)),
            *(None if hs else kernels.noise_table(counts, 0.75), [1, 2]),
            **{"cbow": cbow, "start_alpha": 0.01, "end_alpha": 0.001, **options},
            tree=kernels.huffman_tree(counts) if hs else None,
        )

    first, again = (trained(deterministic=True, num_threads=threads) for threads in (1, 3))
    assert again[2] == first[2]
    for table, same in zip(again[:2], first[:2], strict=True):
        np.testing.assert_array_equal(table, same)
    # And nearly what one group after the other gives.
    got = trained()
    assert first[2][1:] == got[2][1:]
    assert first[2][0] == pytest.approx(got[2][0], rel=0.02)


def test_meets_the_pairs_of_skip_grams(kernels):
    ids = np.random.default_rng(5).integers(WORDS, size=9_000)
    ids[::23] = -1
    keep = kernels.keep_probabilities(np.bincount(ids[ids >= 0], minlength=WORDS) * 1.0, 1e-2)
    pairs = kernels.skip_grams(ids, 4, seed=[8, 9], keep_probability=keep)[0]
    noise = only_noise(kernels)
    arguments = *tables(), ids.astype(np.int32), keep, noise, [8, 9]
    assert kernels.train_word2vec(*arguments, window=4)[1] == len(pairs)


def test_nan_in_a_table_shows_in_the_loss(kernels):
    embeddings, weights = tables()
    embeddings[3, 1] = np.nan
    ids = np.arange(20, dtype=np.int32)
    loss, examples, _ = kernels.train_word2vec(
        *(embeddings, weights, ids, None, only_noise(kernels), [1, 2])
    )
    assert np.isnan(loss) and examples > 0


def test_large_logits(kernels):
    embeddings, weights = (1000 * table for table in tables())
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    ids = np.arange(20, dtype=np.int32)
    loss, _, _ = kernels.train_word2vec(
        *(embeddings, weights, ids, None, only_noise(kernels), [1, 2]), shrink_windows=False
    )
    expected, _, _ = train(ids, *truth, 5, with_noise(5), 16, 0.025, 0.025)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-4)


@pytest.mark.parametrize("cbow", [False, True])
def test_every_instruction_set(kernels, each_instruction_set, cbow):
    ids = np.random.default_rng(2).integers(WORDS, size=300, dtype=np.int32)
    noise = kernels.noise_table(np.arange(1.0, WORDS + 1), 0.75)
    results = []
    for _ in each_instruction_set():
        results.append(tables())
        kernels.train_word2vec(*results[-1], ids, None, noise, [1, 2], cbow=cbow)
    for result in results[1:]:
        for table, first in zip(result, results[0], strict=True):
            np.testing.assert_allclose(table, first, rtol=1e-4, atol=1e-5)


# Two threads write the rows of thirty words at once: what one writes another may undo.
@pytest.mark.parametrize(("num_threads", "share"), [(1, 0.95), (2, 0.98)])
def test_learns_which_words_stand_together(kernels, num_threads, share):
    rng = np.random.default_rng(3)
    # Sentences of words of one of three groups of ten.
    text = np.concatenate([[*rng.integers(10 * g, 10 * g + 10, 12), -1] for g in [0, 1, 2] * 400])
    text = text.astype(np.int32)
    embeddings, weights = tables()
    embeddings *= 0.05
    weights[:] = 0
    noise = kernels.noise_table(np.ones(WORDS), 0.75)
    losses = []
    for epoch in range(6):
        loss, examples, _ = kernels.train_word2vec(
            embeddings, weights, text, None, noise, [4, epoch], num_threads=num_threads
        )
        losses.append(loss / examples)
    assert losses[-1] < share * losses[0]
    vectors = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    topic = np.arange(WORDS) // 10
    same = topic[:, None] == topic
    assert np.mean(cosines[same]) > np.mean(cosines[~same]) + 0.5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"negative": 0}, "negative = 0 is not in"),
        ({"group": 0}, "group = 0 is not in"),
        ({"shared": -2}, "shared = -2 is not in"),
        ({"window": 0}, "window = 0 is not in"),
    ],
)
def test_bad_arguments_change_nothing(kernels, options, message):
    embeddings, weights = tables()
    with pytest.raises(ValueError, match=message):
        kernels.train_word2vec(
            embeddings,
            weights,
            np.arange(5, dtype=np.int32),
            None,
            only_noise(kernels),
            [1, 2],
            **options,
        )
    with pytest.raises(ValueError, match=r"ids\[1\] = 30 is not below 30"):
        kernels.train_word2vec(
            embeddings, weights, np.array([1, 30], np.int32), None, only_noise(kernels), [1, 2]
        )
    for table, fresh in zip((embeddings, weights), tables(), strict=True):
        np.testing.assert_array_equal(table, fresh)
