"""Texts and settings whose updates add up: training stays finite, or says where it went."""

from __future__ import annotations

import numpy as np
import pytest
from gensim.models import Word2Vec as GensimWord2Vec

import fastw2v

ITEMS = 60


def sessions(number=600, seed=1, top=0.0):
    """Items of Zipf's popularity in groups of four; `top` is the share of one item more."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, ITEMS // 4 + 1)
    text = []
    for group in rng.choice(ITEMS // 4, size=number, p=popularity / popularity.sum()):
        items = 4 * group + rng.integers(4, size=rng.integers(2, 9))
        text.append([0 if rng.random() < top else int(item) + 1 for item in items])
    return text


SETTINGS = {
    "wide windows, many negatives": {"window": 20, "negative": 20},
    "high rate": {"alpha": 0.1, "negative": 20},
    "deterministic": {"deterministic": True, "negative": 15},
    "CBOW": {"sg": 0, "window": 20, "negative": 20, "alpha": 0.1},
    "CBOW of sums": {"sg": 0, "cbow_mean": 0, "window": 20, "negative": 20},
    "hierarchical softmax": {"hs": 1, "negative": 0, "window": 20, "alpha": 0.1},
    "a wide table": {"vector_size": 200, "window": 20, "negative": 20},
}


@pytest.mark.parametrize("top", [0.0, 0.4], ids=["", "one item everywhere"])
@pytest.mark.parametrize("name", SETTINGS)
def test_vectors_are_about_as_long_as_those_of_gensim(name, top):
    settings = {"sg": 1, "vector_size": 16, "min_count": 1, "sample": 0, **SETTINGS[name]}
    text = [[f"item {item}" for item in session] for session in sessions(top=top)]
    vectors = fastw2v.Word2Vec(text, **settings).wv.vectors
    settings.pop("deterministic", None)
    theirs = GensimWord2Vec(text, **settings, workers=1).wv.vectors
    lengths = [np.linalg.norm(each, axis=1).max() for each in (vectors, theirs)]
    assert lengths[0] < 3 * lengths[1]  # NaN is not


def test_items_of_one_group_are_near():
    text = sessions(2000)
    vectors = fastw2v.Word2Vec(
        text, sg=1, vector_size=16, min_count=1, sample=0, window=20, negative=20, epochs=10
    ).wv
    groups = [{4 * group + item + 1 for item in range(4)} for group in range(ITEMS // 4)]
    hits = [
        near in group
        for group in groups[:10]  # of those that occur often
        for item in group
        for near, _ in vectors.most_similar(item, topn=3)
    ]
    assert np.mean(hits) > 0.9


@pytest.mark.parametrize("settings", [{}, {"sg": 1}, {"sg": 1, "hs": 1, "negative": 0}])
def test_one_worker_gives_the_same_bits(settings):
    text = sessions(1500)
    first, second = (
        fastw2v.Word2Vec(text, vector_size=16, min_count=1, workers=1, seed=7, **settings)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.wv.vectors, second.wv.vectors)
    assert first.losses == second.losses


def test_a_vector_that_has_run_away_ends_training(tmp_path):
    checkpoint = tmp_path / "model"
    model = fastw2v.Word2Vec(sessions(), vector_size=16, min_count=1, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    for length in (1e5, np.nan):
        model.wv[7] = np.full(16, length / 4, np.float32)
        with pytest.raises(ValueError, match=r"training diverges: .* the vector of \d+ has length"):
            model.train(sessions(), checkpoint=checkpoint)
        assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_the_two_softmax_losses_that_diverge_name_a_word(loss):
    options = {"loss": loss, "num_sampled": 8, "vector_size": 8, "min_count": 1, "sg": 1}
    with pytest.raises(ValueError, match="training diverges: .* Take a smaller alpha"):
        fastw2v.Word2Vec(sessions(), alpha=1e4, **options)
