"""Vectors made of n-grams: for words seen and not seen, beside gensim."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from gensim.models.fasttext import FastTextKeyedVectors

from fastw2v.word2vec.vectors import FastTextVectors, UnknownWordError, WordVectors

WORDS = ["where", "there", "naïve", "日本語", "x", "walking", "walked"]
UNSEEN = ["whereas", "日本", "walk", "naïvely", "y"]
BUCKET, WIDTH = 70, 5


@pytest.fixture
def vectors():
    rows = np.random.default_rng(0).normal(size=(len(WORDS) + BUCKET, WIDTH))
    counts = np.arange(len(WORDS), 0, -1)
    return FastTextVectors(WORDS, rows.astype(np.float32), counts, min_n=2, max_n=4)


@pytest.fixture
def theirs(vectors):
    """gensim's, of the same rows."""
    keyed = FastTextKeyedVectors(WIDTH, 2, 4, BUCKET)
    keyed.add_vectors(WORDS, vectors.vectors_vocab)
    keyed.vectors_vocab = vectors.vectors_vocab.copy()
    keyed.vectors_ngrams = vectors.vectors_ngrams.copy()
    keyed.recalc_char_ngram_buckets()
    keyed.adjust_vectors()
    return keyed


def test_equal_those_of_gensim(vectors, theirs):
    np.testing.assert_allclose(vectors.vectors, theirs.vectors, rtol=1e-6, atol=1e-6)
    for word in WORDS + UNSEEN:
        np.testing.assert_allclose(vectors[word], theirs[word], rtol=1e-6, atol=1e-6)
        got, expected = (each.get_vector(word, norm=True) for each in (vectors, theirs))
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert word in vectors and word in theirs
    for mine, other in zip(vectors.buckets_word, theirs.buckets_word, strict=True):
        assert mine.tolist() == list(other)
    assert (vectors.min_n, vectors.max_n, vectors.bucket) == (2, 4, BUCKET)


def test_answers_about_words_never_seen(vectors, theirs):
    for word in UNSEEN:
        found = vectors.most_similar(word, topn=3)
        expected = theirs.most_similar(word, topn=3)
        assert [each for each, _ in found] == [each for each, _ in expected]
        np.testing.assert_allclose([c for _, c in found], [c for _, c in expected], atol=1e-6)
    assert vectors.similarity("walk", "where") == pytest.approx(
        theirs.similarity("walk", "where"), abs=1e-6
    )
    assert vectors.doesnt_match(["walk", "walked", "日本"]) == "日本"
    assert vectors.wmdistance(["walk"], ["walk"]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(
        vectors[["where", "walk"]], [vectors["where"], vectors["walk"]], rtol=1e-6
    )
    assert vectors[[]].shape == (0, WIDTH)
    np.testing.assert_allclose(
        vectors.get_sentence_vector(["walk", "where"]),
        theirs.get_sentence_vector(["walk", "where"]),
        atol=1e-6,
    )


def test_what_has_no_ngram_is_unknown(vectors):
    lone = FastTextVectors(["up"], np.ones((1, 3)), min_n=3, max_n=6)
    assert "down" not in lone and lone.bucket == 0
    with pytest.raises(UnknownWordError, match="'down' is not among"):
        lone["down"]
    np.testing.assert_array_equal(lone["up"], [1, 1, 1])
    short = FastTextVectors(["up"], np.ones((9, 3)), min_n=6, max_n=6)
    assert "it" not in short and 5 not in vectors.key_to_index
    with pytest.raises(UnknownWordError):
        vectors[99]
    np.testing.assert_array_equal(vectors[0], vectors["where"])  # a row, as everywhere


def test_the_word_that_ends_a_line_of_fasttext_has_no_ngrams():
    rows = np.random.default_rng(0).normal(size=(1 + 9, 3)).astype(np.float32)
    vectors = FastTextVectors(["</s>"], rows)
    np.testing.assert_array_equal(vectors["</s>"], rows[0])


def test_vectors_for_all(vectors):
    part = vectors.vectors_for_all(["walk", "where", "walk"], copy_vecattrs=True)
    assert type(part) is WordVectors and part.words == ["walk", "where"]
    np.testing.assert_array_equal(part["walk"], vectors["walk"])
    assert part.counts.tolist() == [0, 7]
    assert vectors.vectors_for_all(["walk", "x"], allow_inference=False).words == ["x"]


def test_words_cannot_be_set_one_by_one(vectors):
    for change in (
        lambda: vectors.add_vector("walk", np.ones(WIDTH)),
        lambda: vectors.__setitem__("where", np.ones(WIDTH)),
        lambda: setattr(vectors, "vectors", np.ones((len(WORDS), WIDTH))),
        lambda: vectors.resize_vectors(),
        lambda: vectors.sort_by_descending_frequency(),
    ):
        with pytest.raises(TypeError, match="made of their own rows"):
            change()
    with pytest.raises(ValueError, match="read-only"):
        vectors.vectors[0] = 1
    vectors.vectors_ngrams[:] = 0
    vectors.adjust_vectors()
    shares = [len(each) + 1 for each in vectors.buckets_word]
    np.testing.assert_allclose(
        vectors.vectors, vectors.vectors_vocab / np.array(shares)[:, None], rtol=1e-6
    )


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))], ids=["copy", "pickle"]
)
def test_copies(vectors, copied):
    other = copied(vectors)
    assert repr(other) == repr(vectors) and other.counts.tolist() == vectors.counts.tolist()
    np.testing.assert_array_equal(other["walk"], vectors["walk"])
    other.vectors_ngrams[:] = 0
    assert vectors.vectors_ngrams.any()


@pytest.mark.parametrize(
    "words, rows, rules, message",
    [
        (["a", "b"], np.ones((1, 3)), {}, "rows of 2 words and of n-grams are float32"),
        (["a"], np.ones(3), {}, r"\(3,\)"),
        (["a", "a"], np.ones((3, 3)), {}, "more than once"),
        (["a"], np.ones((3, 3)), {"min_n": -1}, "min_n is -1"),
        (["a"], np.ones((3, 3)), {"max_n": 101}, r"max_n is 101, not an integer in \[0, 100\]"),
        (["a"], np.ones((3, 3)), {"max_n": 2.5}, "max_n is 2.5"),
    ],
)
def test_refuses(words, rows, rules, message):
    with pytest.raises(ValueError, match=message):
        FastTextVectors(words, rows, **rules)


def test_vectors_of_gensim(vectors, theirs):
    ours = FastTextVectors.from_gensim(theirs)
    for word in (*vectors.words[:2], "neverseen"):
        np.testing.assert_allclose(ours[word], vectors[word], rtol=1e-6)
    with pytest.raises(TypeError, match="WordVectors has no rows of n-grams"):
        FastTextVectors.from_gensim(WordVectors(["a"], np.zeros((1, 2))))
    with pytest.raises(TypeError, match=r"WordVectors\.load_word2vec_format"):
        FastTextVectors.load_word2vec_format("vectors.txt")


def test_files_of_some_words(vectors, tmp_path):
    """Vectors of n-grams are made for all words of a file."""
    path = tmp_path / "vectors.bin"
    vectors.save(path)
    with pytest.raises(ValueError, match="limit is 3, but n-grams are those of all words"):
        FastTextVectors.load(path, limit=3)
    assert WordVectors.load(path, limit=3).words == WORDS[:3]
    assert FastTextVectors.load(path, limit=len(WORDS)).words == WORDS


def test_ranks_of_words_never_seen(vectors):
    known = vectors.words[0]
    distance = vectors.distance("neverseen", known)
    others = vectors.distances("neverseen")
    assert vectors.rank("neverseen", known) == 1 + int(np.sum(others < distance))
    assert vectors.closer_than(known, "neverseen") == [
        word
        for word in vectors.words[1:]
        if vectors.distance(known, word) < vectors.distance(known, "neverseen")
    ]
