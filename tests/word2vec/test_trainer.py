import numpy as np
import pytest

from fastw2v.word2vec.corpus import build_corpus
from fastw2v.word2vec.trainer import train

NUM_TOPICS, TOPIC_WORDS = 8, 12


def topics_text(num_sentences=4000):
    """Sentences, each of words of one topic: "ba" to "bl" are one, "ca" to "cl" another."""
    rng = np.random.default_rng(0)
    words = np.array([[f"{a}{b}" for b in "abcdefghijkl"] for a in "bcdfghjk"])
    topics = rng.integers(0, NUM_TOPICS, num_sentences)
    chosen = words[topics[:, None], rng.integers(0, TOPIC_WORDS, (num_sentences, 8))]
    return "".join(" ".join(sentence) + "\n" for sentence in chosen)


@pytest.fixture(scope="module")
def corpus():
    return build_corpus([topics_text()])


SMALL = {"vector_size": 16, "epochs": 2, "num_sampled": 24, "batch_size": 128}


def test_words_of_a_topic_become_neighbours(corpus):
    reports = []
    vectors = train(corpus, **SMALL | {"epochs": 6}, report=reports.append)
    assert vectors.words == corpus.vocabulary.words
    assert vectors.vectors.shape == (NUM_TOPICS * TOPIC_WORDS, 16)
    for word in vectors.words:
        nearest = vectors.most_similar(word, topn=TOPIC_WORDS - 1)
        assert all(other[0] == word[0] for other, _ in nearest), word
    last = reports[-1]
    assert last.done == 1 and last.epochs == 6
    assert last.examples > 100_000 and last.seconds > 0
    # Within a topic all words are equally likely: log(12) nats at best, log(96) at the beginning.
    assert last.loss < np.log(NUM_TOPICS * TOPIC_WORDS) - 1


def test_the_seed_decides(corpus):
    first, second, third = (train(corpus, **SMALL, seed=seed).vectors for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_time_ends_training(corpus):
    reports = []
    train(corpus, **SMALL | {"epochs": 10**6}, max_seconds=1.5, report=reports.append)
    last = reports[-1]
    assert last.done == 1 and 0 < last.epochs < 10**6
    assert 1.5 <= last.seconds < 10
    shares = [report.done for report in reports]
    assert shares == sorted(shares)


def test_a_text_smaller_than_a_batch():
    corpus = build_corpus(["one two three\nfour five six\n"], min_count=1)
    reports = []
    train(corpus, **SMALL | {"num_sampled": 3}, sample=0, report=reports.append)
    assert reports[-1].done == 1 and 0 < reports[-1].examples < 128


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector_size": 0}, "vector_size is 0; it must be at least 1"),
        ({"window": 0}, "window is 0; it must be at least 1"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"batch_size": -3}, "batch_size is -3; it must be at least 1"),
        ({"alpha": 0.0}, "alpha is 0.0; it must be above 0"),
        ({"alpha": float("nan")}, "alpha is nan; it must be above 0"),
        ({"max_seconds": 0}, "max_seconds is 0; it must be above 0"),
        ({"sample": -1.0}, r"sample = -1\.0 is not a Python number in \[0\.0, 1\.0\)"),
        ({"seed": -1}, r"seed is -1; it must be in \[0, 2\*\*63\)"),
        ({"num_sampled": 0}, "num_sampled is 0; .* vocabulary, 96"),
        ({"num_sampled": 96}, "num_sampled is 96; .* vocabulary, 96"),
        ({"alpha": 1e30}, r"the loss is \w+ with alpha = 1e\+30: take a smaller alpha"),
    ],
)
def test_refused(corpus, options, message):
    with pytest.raises(ValueError, match=message):
        train(corpus, **SMALL | options)


def test_words_that_stand_alone():
    corpus = build_corpus(["one\ntwo\nthree\nfour\n"], min_count=1)
    with pytest.raises(ValueError, match="no two words within one sentence"):
        train(corpus, **SMALL | {"num_sampled": 2})
