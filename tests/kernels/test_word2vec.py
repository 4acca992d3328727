"""Training of word vectors on text against its definition, block after block, in float64."""

from __future__ import annotations

import numpy as np
import pytest

WORDS, DIM = 30, 20
NOISE = 7  # the only word that is drawn


def tables(seed=0, dim=DIM):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(WORDS, dim)).astype(np.float32) * 0.3 for _ in range(2)]


def only_noise(kernels, word=NOISE):
    counts = np.zeros(WORDS)
    counts[word] = 1
    return kernels.noise_table(counts, 0.75)


def windows(ids, window):
    """Centres with the places of their contexts, windows whole."""
    ids = list(ids)
    for k, word in enumerate(ids):
        if word < 0:
            continue
        first = last = k
        while first > 0 and ids[first - 1] >= 0 and k - first < window:
            first -= 1
        while last + 1 < len(ids) and ids[last + 1] >= 0 and last - k < window:
            last += 1
        contexts = [i for i in range(first, last + 1) if i != k]
        if contexts:
            yield k, contexts


def softplus(z):
    return np.logaddexp(0, z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def train(
    ids, embeddings, weights, window, negative, block, rate, last_rate, cbow=False, mean=True
):
    """The definition in csrc/core/word2vec.h, where only one word is drawn; returns the loss."""
    loss, examples = 0.0, 0
    centres = list(windows(ids, window))
    while centres:
        part, centres = centres[:block], centres[block:]
        begin = min(contexts[0] for _, contexts in part)
        begin = min(begin, part[0][0])
        step = rate + (last_rate - rate) * begin / len(ids)
        d_embeddings, d_weights = np.zeros_like(embeddings), np.zeros_like(weights)
        for k, contexts in part:
            centre = ids[k]
            noise = 0 if centre == NOISE else negative
            bags = [(contexts, 1 / len(contexts) if mean else 1)] if cbow else []
            for bag, scale in bags or [([i], 1) for i in contexts]:
                rows = [ids[i] for i in bag]
                hidden = scale * embeddings[rows].sum(axis=0)
                true, drawn = hidden @ weights[centre], hidden @ weights[NOISE]
                loss += softplus(-true) + noise * softplus(drawn)
                examples += 1
                g_true, g_drawn = 1 - sigmoid(true), -noise * sigmoid(drawn)
                d_hidden = g_true * weights[centre] + g_drawn * weights[NOISE]
                d_weights[centre] += g_true * hidden
                d_weights[NOISE] += g_drawn * hidden
                share = 1 if not cbow or mean else 1 / len(contexts)
                for row in rows:
                    d_embeddings[row] += share * d_hidden
        embeddings += step * d_embeddings
        weights += step * d_weights
    return loss, examples


TEXTS = {
    "one sentence": np.arange(25) % 11,
    "sentences": np.array([3, 4, -1, -1, 5, -1, 7, 7, 8, 9, 10, 11, -1, 2, 3, 2]),
    "one word": np.array([5]),
    "no pairs": np.array([5, -1, 6, -1]),
    "nothing": np.array([], np.int64),
    "the word of the noise": np.array([7, 1, 7, 2, 7, 7, 3]),
}


@pytest.mark.parametrize("form", ["skip-gram", "cbow", "cbow sums"])
@pytest.mark.parametrize("block, shared", [(1, 1), (3, 2), (16, 16), (40, 5)])
@pytest.mark.parametrize("name", TEXTS)
def test_equals_the_definition(kernels, name, block, shared, form):
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
        block=block,
        shared=shared,
        first_rate=0.2,
        last_rate=0.1,
        **options,
    )
    loss, examples = train(ids, *truth, 3, 4, block, 0.2, 0.1, **options)
    assert got[0] == pytest.approx(loss, rel=1e-5)
    assert got[1] == examples and got[2] == np.sum(ids >= 0)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 15, 16, 17, 100])
def test_widths(kernels, dim):
    ids = np.random.default_rng(1).integers(WORDS, size=60, dtype=np.int32)
    embeddings, weights = tables(dim=dim)
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    kernels.train_word2vec(
        embeddings, weights, ids, None, only_noise(kernels), [1, 2], shrink_windows=False
    )
    train(ids, *truth, 5, 5, 16, 0.025, 0.025)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-5, atol=1e-5)


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


def test_learns_which_words_stand_together(kernels):
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
            embeddings, weights, text, None, noise, [4, epoch], num_threads=2
        )
        losses.append(loss / examples)
    assert losses[-1] < 0.95 * losses[0]
    vectors = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    group = np.arange(WORDS) // 10
    same = group[:, None] == group
    assert np.mean(cosines[same]) > np.mean(cosines[~same]) + 0.5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"negative": 0}, "negative = 0 is not in"),
        ({"block": 0}, "block = 0 is not in"),
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
