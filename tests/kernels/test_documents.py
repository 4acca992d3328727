"""Training and inference of vectors of documents against their definition in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernels.word2vec_definition import (
    DIM,
    NOISE,
    WORDS,
    only_noise,
    tables,
    train,
    with_noise,
    with_tree,
)

DOCUMENTS = 5


def documents(seed=9):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(DOCUMENTS, DIM)).astype(np.float32) * 0.3


def centers(ids, window, cbow):
    """Words with the rows that predict each: those of words, and those of documents behind them."""
    ids = [int(k) for k in ids]
    for k, word in enumerate(ids):
        if word < 0:
            continue
        begin = k
        while begin > 0 and ids[begin - 1] >= 0:
            begin -= 1
        end = k
        while end < len(ids) and ids[end] >= 0:
            end += 1
        tags = []
        while begin - len(tags) > 0 and ids[begin - len(tags) - 1] < -1:
            tags.insert(0, WORDS - 2 - ids[begin - len(tags) - 1])
        around = range(max(begin, k - window), min(end, k + window + 1))
        contexts = [ids[i] for i in around if i != k] if cbow else []
        if contexts + tags:
            yield k, around[0] if cbow else k, contexts + tags


TEXTS = {
    "a document": [-2, *(np.arange(40) % 11), -1],
    "documents": [-2, 3, 4, 5, -1, -4, 7, 7, 8, 9, 10, -1, -6, 3, 11, -1],
    "several tags": [-2, -5, 3, 4, -1, -3, 7, 8, 9, -5, 11, 12, 3, -1, -2, -3, 2],
    "one word": [-2, 5],
    "the word of the noise": [-3, NOISE, 1, NOISE, -1, -2, NOISE],
    "no document": [3, 4, -1, -2, 5, 6, -1, 1, 2, 9],
    "no words": [-2, -1, -3, -4, -1, -5, 4, 8, -1],
    "one tag twice": [-2, -2, 3, 4, 6, -1],
    "nothing": [],
}


@pytest.mark.parametrize("form", ["PV-DBOW", "PV-DM", "PV-DM with sums"])
@pytest.mark.parametrize(
    "group, shared, hs", [(1, 1, 0), (3, 2, 0), (16, 16, 0), (40, 5, 0), (3, 1, 1)]
)
@pytest.mark.parametrize("name", TEXTS)
def test_training_equals_the_definition(kernels, name, hs, group, shared, form):
    ids = np.array(TEXTS[name], np.int32)
    (embeddings, weights), vectors = tables(), documents()
    inputs = np.concatenate([embeddings, vectors]).astype(np.float64)
    truth = weights.astype(np.float64)
    cbow, mean = form != "PV-DBOW", form != "PV-DM with sums"
    tree = kernels.huffman_tree(np.arange(1.0, WORDS + 1)) if hs else None
    got = kernels.train_word2vec(
        embeddings,
        weights,
        ids,
        None,
        None if hs else only_noise(kernels),
        [1, 2],
        tree=tree,
        documents=vectors,
        window=3,
        shrink_windows=False,
        negative=4,
        group=group,
        shared=shared,
        start_alpha=0.2,
        end_alpha=0.1,
        cbow=cbow,
        mean=mean,
    )
    loss, examples, _ = train(
        ids,
        inputs,
        truth,
        3,
        with_tree(tree) if hs else with_noise(4),
        group,
        0.2,
        0.1,
        cbow,
        mean,
        words_are_classes=not hs,
        centers=centers(ids, 3, cbow),
    )
    assert got[0] == pytest.approx(loss, rel=1e-5)
    assert got[1] == examples
    np.testing.assert_allclose(embeddings, inputs[:WORDS], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(vectors, inputs[WORDS:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["PV-DBOW", "PV-DM", "PV-DM with sums"])
def test_inference_equals_the_definition(kernels, form):
    texts = [[3, 4, 5, 4, NOISE, 9], [], [8], list(np.arange(50) % 13), [1, 2]]
    (embeddings, weights), vectors = tables(), documents()
    expected, before = documents().astype(np.float64), (embeddings.copy(), weights.copy())
    cbow, mean = form != "PV-DBOW", form != "PV-DM with sums"
    epochs = 4
    kernels.train_word2vec(
        embeddings,
        weights,
        np.array([k for text in texts for k in [*text, -1]], np.int32),
        None,
        only_noise(kernels),
        [1, 2],
        documents=vectors,
        infer_epochs=epochs,
        window=3,
        shrink_windows=False,
        negative=4,
        group=6,
        shared=2,
        start_alpha=0.2,
        end_alpha=0.1,
        cbow=cbow,
        mean=mean,
        num_threads=3,
    )
    rates = np.linspace(0.2, 0.1, epochs + 1)
    for text, vector in zip(texts, expected, strict=True):
        ids = np.array([-2, *text, -1])
        inputs = np.concatenate([embeddings.astype(np.float64), vector[None]])
        for rate, end in itertools.pairwise(rates):
            train(
                ids,
                inputs,
                weights.astype(np.float64),
                3,
                with_noise(4),
                6,
                rate,
                end,
                cbow,
                mean,
                centers=centers(ids, 3, cbow),
                moving=slice(WORDS, None),
            )
        vector[:] = inputs[WORDS]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(embeddings, before[0])
    np.testing.assert_array_equal(weights, before[1])


def text_of_many(size=20_000):
    rng = np.random.default_rng(1)
    ids = rng.integers(WORDS, size=size)
    ids[::9] = -1
    ids[1::9] = -2 - rng.integers(DOCUMENTS, size=len(ids[1::9]))
    return ids.astype(np.int32)


@pytest.mark.parametrize("cbow", [False, True])
def test_deterministic_training_has_the_same_bits_for_any_number_of_threads(kernels, cbow):
    results = []
    for threads in (1, 3):
        (embeddings, weights), vectors = tables(), documents()
        kernels.train_word2vec(
            *(embeddings, weights, text_of_many(), None),
            *(kernels.noise_table(np.ones(WORDS), 0.75), [1, 2]),
            **{"documents": vectors, "cbow": cbow, "deterministic": True, "num_threads": threads},
        )
        results.append([embeddings, weights, vectors])
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)
    assert not np.array_equal(results[0][2], documents())


def test_words_behind_the_end_of_a_task_have_the_documents_of_their_sentence(kernels):
    """A document of 5000 words is cut into tasks of 2048, which find its tags before the first."""
    ids = np.array([-3, -5, *(np.arange(5000) % WORDS), -1], np.int32)
    (embeddings, weights), vectors = tables(), documents()
    _, examples, words = kernels.train_word2vec(
        *(embeddings, weights, ids, None, only_noise(kernels), [1, 2]), documents=vectors
    )
    assert (examples, words) == (10_000, 5000)
    moved = (vectors != documents()).any(axis=1)
    assert moved.tolist() == [False, True, False, True, False]


BAD = {
    "no such document": ([-2 - DOCUMENTS, 1], r"ids\[0\] = -7 is document 5, which is not below 5"),
    "a word above": ([-2, WORDS], r"ids\[1\] = 30 is not below 30"),
    "many documents": ([-2] * 5000, "a sentence is of more than 4096 documents"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_ids_are_refused(kernels, name):
    ids, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        kernels.train_word2vec(
            *(*tables(), np.array(ids, np.int32), None, only_noise(kernels), [1, 2]),
            documents=documents(),
        )


@pytest.mark.parametrize(
    "ids, message",
    [
        ([1, -1] * 4, "ids has 4 texts, each ended by -1, expected 5"),
        ([1, -1] * 5 + [1], "ids has 5 texts"),
        ([-2, 1, -1], r"ids\[0\] = -2 is below -1"),
    ],
)
def test_inference_needs_a_text_for_each_document(kernels, ids, message):
    with pytest.raises(ValueError, match=message):
        kernels.train_word2vec(
            *(*tables(), np.array(ids, np.int32), None, only_noise(kernels), [1, 2]),
            documents=documents(),
            infer_epochs=1,
        )
