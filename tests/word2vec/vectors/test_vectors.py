import pickle

import numpy as np
import pytest
from gensim.models import KeyedVectors

from fastw2v.word2vec.vectors import UnknownWordError, WordVectors


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(1)
    return WordVectors([f"w{i}" for i in range(200)], rng.normal(size=(200, 9)) * 3)


@pytest.fixture(scope="module")
def keyed(vectors):
    keyed = KeyedVectors(9)
    keyed.add_vectors(vectors.words, vectors.vectors)
    return keyed


def assert_same_neighbors(found, expected):
    assert [word for word, _ in found] == [word for word, _ in expected]
    np.testing.assert_allclose([c for _, c in found], [c for _, c in expected], atol=2e-6)


VECTOR = np.arange(9, dtype=np.float32) - 3
QUERIES = [
    {"positive": "w50"},
    {"positive": ["w50"], "topn": 200},
    {"positive": ["w3", "w4"], "negative": ["w5"]},
    {"positive": "w3", "negative": "w5", "topn": 3},
    {"negative": ["w5"]},
    {"positive": [("w3", 0.5), ("w4", -2.0)], "negative": [("w9", -0.1)]},
    {"positive": ["w3", "w3"], "negative": ["w199"]},
    {"positive": VECTOR},
    {"positive": [VECTOR, "w3"], "negative": [(VECTOR[::-1], -0.3)]},
    {"positive": [7, "w8"], "negative": 9},
    {"positive": np.stack([VECTOR, VECTOR[::-1]])},
    {"positive": "w50", "topn": 0},
    {"positive": "w50", "topn": 1000},
]


@pytest.mark.parametrize("restrict_vocab", [None, 20])
@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_most_similar_is_that_of_gensim(query, restrict_vocab, vectors, keyed):
    found = vectors.most_similar(**query, restrict_vocab=restrict_vocab)
    assert_same_neighbors(found, keyed.most_similar(**query, restrict_vocab=restrict_vocab))


def test_all_cosines_are_those_of_gensim(vectors, keyed):
    for restrict_vocab in (None, 20):
        query = {"positive": ["w3"], "topn": None, "restrict_vocab": restrict_vocab}
        np.testing.assert_allclose(
            vectors.most_similar(**query), keyed.most_similar(**query), atol=1e-6
        )


def test_other_searches_are_those_of_gensim(vectors, keyed):
    assert_same_neighbors(vectors.similar_by_word("w7", 5), keyed.similar_by_word("w7", 5))
    assert_same_neighbors(vectors.similar_by_key("w7", 5, 30), keyed.similar_by_key("w7", 5, 30))
    assert_same_neighbors(vectors.similar_by_vector(VECTOR, 5), keyed.similar_by_vector(VECTOR, 5))
    pair = vectors.most_similar(("w3", "w4"))  # a tuple is a list; gensim takes no tuple here
    assert_same_neighbors(pair, keyed.most_similar(["w3", "w4"]))
    assert_same_neighbors(vectors.similar_by_vector(list(VECTOR)), keyed.similar_by_vector(VECTOR))


@pytest.mark.parametrize("restrict_vocab", [None, 20])
def test_a_batch_is_one_search_after_another(restrict_vocab, vectors):
    queries = ["w3", 150, VECTOR, "w3"]
    found = vectors.most_similar_batch(queries, 7, restrict_vocab)
    assert len(found) == len(queries)
    for query, neighbors in zip(queries, found, strict=True):
        assert_same_neighbors(
            neighbors, vectors.most_similar(query, topn=7, restrict_vocab=restrict_vocab)
        )
    assert vectors.most_similar_batch([]) == []
    assert vectors.most_similar_batch(["w3"], topn=0) == [[]]


def test_nearest_is_the_definition(vectors):
    queries = np.random.default_rng(2).normal(size=(33, 9))
    cosines, rows = vectors.nearest(queries, 12, 150)
    lengths = np.linalg.norm(vectors.vectors[:150].astype(np.float64), axis=1)
    expected = queries @ vectors.vectors[:150].T / lengths
    expected /= np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :12])
    np.testing.assert_allclose(cosines, -np.sort(-expected, axis=1)[:, :12], atol=1e-6)
    assert cosines.dtype == np.float32 and rows.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("similarity", ("w1", "w2")),
        ("similarity", (1, "w1")),
        ("distance", ("w1", "w2")),
        ("distances", ("w1",)),
        ("distances", (VECTOR, ["w5", "w6"])),
        ("closer_than", ("w1", "w2")),
        ("rank", ("w1", "w2")),
        ("rank", ("w1", "w1")),
        ("n_similarity", (["w1", "w2", "missing"], ["w3"])),
        ("doesnt_match", (["w1", "w2", "missing", "w3", "w4"],)),
        ("most_similar_to_given", ("w1", ["w2", "w3", "w4"])),
        ("get_vector", ("w1", True)),
        ("get_vector", ("w1",)),
        ("get_mean_vector", (["w1", "w2", "missing", VECTOR],)),
        ("get_mean_vector", (["w1", "w2"], [0.5, -2], False, True)),
        ("get_index", ("w5",)),
        ("get_index", ("missing", -7)),
        ("__getitem__", (["w1", "w2"],)),
        ("__getitem__", ("w1",)),
    ],
)
def test_values_are_those_of_gensim(name, arguments, vectors, keyed):
    found = getattr(vectors, name)(*arguments)
    expected = getattr(keyed, name)(*arguments)
    if isinstance(expected, (str, int, list)):
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.shape(found) == np.shape(expected)


def test_most_similar_at_the_edges():
    vectors = WordVectors(["a", "zero", "b"], [[1, 0], [0, 0], [2, 0]])
    assert vectors.most_similar("a") == [("b", 1.0), ("zero", 0.0)]
    assert vectors.most_similar("b", topn=1) == [("a", 1.0)]
    assert vectors.most_similar("a", topn=0) == []
    assert vectors.most_similar("a", topn=np.inf) == vectors.most_similar("a")
    assert vectors.most_similar("zero") == [("a", 0.0), ("b", 0.0)]
    assert vectors.similarity("a", "zero") == 0.0
    with pytest.raises(ValueError, match="at least one word or vector"):
        vectors.most_similar()
    with pytest.raises(ValueError, match=r"a vector has shape \(3,\); it must be \[2\]"):
        vectors.most_similar([np.ones(3)])
    with pytest.raises(ValueError, match="restrict_vocab is 0"):
        vectors.most_similar("a", restrict_vocab=0)
    with pytest.raises(ValueError, match=r"queries has shape \(2,\); .* of width 2"):
        vectors.nearest(np.ones(2))
    with pytest.raises(ValueError, match="topn is 0"):
        vectors.nearest(np.ones((1, 2)), topn=0)
    with pytest.raises(ValueError, match="there are no words to search"):
        WordVectors([], np.zeros((0, 3))).similar_by_vector(np.ones(3))
    for words, match in (([], "no words to take the mean"), (["a"], r"weights has shape \(2,\)")):
        with pytest.raises(ValueError, match=match):
            vectors.get_mean_vector(words, [1, 2])
    with pytest.raises(ValueError, match="none of the words has a vector"):
        vectors.doesnt_match(["x"])


def test_unknown_words_are_named_with_similar_ones():
    words = ["the", "house", "houses", "horse", "King", "mouse"]
    vectors = WordVectors(words, np.eye(6))
    for search in (
        vectors.most_similar,
        vectors.__getitem__,
        vectors.get_vector,
        vectors.distances,
        lambda word: vectors.most_similar_batch(["the", word]),
        lambda word: vectors.most_similar("the", negative=[word]),
        lambda word: vectors.similarity("the", word),
    ):
        with pytest.raises(KeyError) as caught:
            search("hause")
        assert isinstance(caught.value, UnknownWordError) and caught.value.word == "hause"
        message = "the word 'hause' is not among the 6 words; similar ones: house, houses"
        assert str(caught.value) == message
        assert str(pickle.loads(pickle.dumps(caught.value))) == message
    with pytest.raises(KeyError, match="similar ones: King$"):
        vectors["king"]
    with pytest.raises(KeyError, match="the word 'xyzzy' is not among the 6 words$"):
        vectors["xyzzy"]
    with pytest.raises(KeyError, match="the word 6 is not among the 6 words$"):
        vectors[6]


def test_lookup():
    vectors = WordVectors(["a", "b"], [[1, 2], [3, 4]], [7, 5])
    assert len(vectors) == 2 and "b" in vectors and "c" not in vectors
    assert vectors["b"].tolist() == [3, 4] and vectors[["b", "a"]].tolist() == [[3, 4], [1, 2]]
    assert vectors.vectors.dtype == np.float32 and vectors.vector_size == 2
    assert vectors.index_to_key == ["a", "b"] and vectors.key_to_index == {"a": 0, "b": 1}
    assert vectors.counts.dtype == np.int64
    assert repr(vectors) == "WordVectors(2 words of width 2)"


@pytest.mark.parametrize(
    ("words", "matrix", "counts", "message"),
    [
        (["a", "b"], [[1, 2]], None, r"vectors has shape \(1, 2\).*the 2 words"),
        (["a"], [1], None, r"vectors has shape \(1,\)"),
        (["a"], 1, None, r"vectors has shape \(\)"),
        (["a", "b", "a"], np.zeros((3, 1)), None, "the word 'a' occurs more than once"),
        (["a", "b"], np.zeros((2, 1)), [1], r"counts has shape \(1,\)"),
        (["a"], np.zeros((1, 1)), [2**63], r"counts = \[9223372036854775808\] must be whole"),
        (["a"], np.zeros((1, 1)), [-1e300], r"counts = \[-1e\+300\] must be whole"),
        (["a"], np.zeros((1, 1)), [2.5], r"counts = \[2.5\] must be whole"),
        (["a"], np.zeros((1, 1)), [np.nan], r"counts = \[nan\] must be whole"),
        (["a"], np.zeros((1, 1)), ["many"], r"counts = \['many'\] must be whole"),
    ],
)
def test_words_and_vectors_must_agree(words, matrix, counts, message):
    with pytest.raises(ValueError, match=message):
        WordVectors(words, matrix, counts)
