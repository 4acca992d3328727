"""Searches and similarities beyond those of test_vectors.py, beside gensim's KeyedVectors."""

import sys

import numpy as np
import pytest
from gensim.models import KeyedVectors as GensimVectors
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from fastw2v.word2vec.vectors import UnknownWordError, WordVectors

NUM_WORDS, WIDTH = 300, 7


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(5)
    return WordVectors(
        [f"w{row}" for row in range(NUM_WORDS)], rng.normal(size=(NUM_WORDS, WIDTH)) * 2
    )


@pytest.fixture(scope="module")
def keyed(vectors):
    keyed = GensimVectors(WIDTH)
    keyed.add_vectors(vectors.words, vectors.vectors)
    return keyed


VECTOR = np.linspace(-1, 2, WIDTH, dtype=np.float32)


def assert_same(found, expected):
    if isinstance(expected, list):
        assert [word for word, _ in found] == [word for word, _ in expected]
        found, expected = ([score for _, score in each] for each in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_start": 100},
        {"clip_end": 50},
        {"clip_start": 20, "clip_end": 60},
        {"clip_start": 20, "clip_end": 60, "topn": 100},
        {"clip_start": 20, "clip_end": 60, "topn": None},
        {"clip_start": -30, "clip_end": -5},
        {"clip_start": 20, "clip_end": 60, "restrict_vocab": 10},
        {"clip_start": 295, "clip_end": 1000, "topn": 20},
        {"topn": np.uint8(250)},
    ],
    ids=str,
)
@pytest.mark.parametrize("query", ["w30", "w200"])
def test_clipped_searches_are_those_of_gensim(query, options, vectors, keyed):
    if options.get("clip_start", 0) < 0:  # gensim loses count of the rows
        expected = WordVectors(vectors.words[-30:-5], vectors.vectors[-30:-5])
        expected = expected.most_similar([vectors[query]])
    elif options.get("topn") == 250:  # gensim's sum of 250 and 1 may not fit its type
        expected = keyed.most_similar(query, topn=250)
    else:
        expected = keyed.most_similar(query, **options)
    assert_same(vectors.most_similar(query, **options), expected)


def test_arguments_by_position_are_those_of_gensim(vectors, keyed):
    arguments = (["w1"], ["w2"], 5, 10, 200)
    assert_same(vectors.most_similar(*arguments), keyed.most_similar(*arguments))
    assert vectors.most_similar("w1", None, 5, 60, 60) == []


def test_an_index_is_asked_in_place_of_the_vectors(vectors, keyed):
    class Index:
        def most_similar(self, vector, num_neighbors):
            self.asked = vector, num_neighbors
            return [("from the index", 1.0)]

    ours, theirs = Index(), Index()
    for searched, index in ((vectors, ours), (keyed, theirs)):
        assert searched.most_similar(["w1", "w2"], topn=3, indexer=index) == [("from the index", 1)]
    np.testing.assert_allclose(ours.asked[0], theirs.asked[0], rtol=1e-5)
    assert ours.asked[1] == 3


def test_lists_of_numbers_are_vectors(vectors):
    expected = vectors.most_similar([VECTOR])
    as_list = VECTOR.tolist()
    for query in (as_list, [as_list], [VECTOR], VECTOR, np.float64(VECTOR), tuple(as_list)):
        assert_same(vectors.most_similar(query), expected)
    assert_same(vectors.similar_by_vector(as_list), expected)
    assert_same(vectors.most_similar_batch([as_list])[0], expected)
    assert_same(vectors.distances(as_list), vectors.distances(VECTOR))
    both = vectors.most_similar([VECTOR, -VECTOR[::-1], VECTOR])
    assert_same(vectors.most_similar([as_list, (-VECTOR[::-1]).tolist(), as_list]), both)
    assert_same(vectors.most_similar([(as_list, 2.0), ((-VECTOR[::-1]).tolist(), 1)]), both)
    assert_same(vectors.most_similar([[VECTOR, 2.0], -VECTOR[::-1]]), both)
    for query, message in (
        ([as_list[:3]], r"a vector has shape \(3,\); it must be \[7\]"),
        (np.ones((2, 3)), r"a vector has shape \(3,\)"),
        ([("w1", 1, 2)], r"\('w1', 1, 2\) is no word, no vector and no pair"),
    ):
        with pytest.raises(ValueError, match=message):
            vectors.most_similar(query)


@pytest.mark.parametrize(
    "query",
    [
        {"positive": "w3"},
        {"positive": ["w3", "w4"], "negative": ["w5"]},
        {"positive": "w3", "negative": "w5", "topn": 3},
        {"positive": ["w3", "w4", "w5"], "negative": ["w6", "w7"], "topn": 400},
        {"positive": ["w3"], "topn": None},
        {"positive": ["w3"], "topn": 0},
        {"positive": VECTOR / np.linalg.norm(VECTOR), "negative": ["w1"]},
    ],
    ids=range(7),
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multiplied_similarities_are_those_of_gensim(query, vectors, keyed):
    assert_same(vectors.most_similar_cosmul(**query), keyed.most_similar_cosmul(**query))


def test_multiplied_similarities_keep_to_their_words(vectors):
    found = vectors.most_similar_cosmul(["w3", 4], ["w5"], 400, restrict_vocab=20)
    assert {word for word, _ in found} == {f"w{row}" for row in range(20)} - {"w3", "w4", "w5"}
    assert found == vectors.most_similar_cosmul([3, "w4"], "w5", topn=17, restrict_vocab=20)
    with pytest.raises(ValueError, match="at least one positive word"):
        vectors.most_similar_cosmul(negative=["w1"])
    with pytest.raises(UnknownWordError):
        vectors.most_similar_cosmul("x")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("relative_cosine_similarity", ("w1", "w2")),
        ("relative_cosine_similarity", ("w1", "w2", 3)),
        ("rank_by_centrality", (["w1", "w2", "missing", "w3"],)),
        ("rank_by_centrality", (["w1", "w2", "w3"], False)),
        ("doesnt_match", ([f"w{row}" for row in range(50)],)),
        ("cosine_similarities", (VECTOR, np.eye(WIDTH))),
        ("has_index_for", ("w1",)),
        ("has_index_for", ("missing",)),
        ("has_index_for", (3,)),
        ("distances", (VECTOR,)),
        ("distances", ("w3", None)),
        ("distances", ("w3", ["w4", 5])),
        ("most_similar_to_given", (3, ["w2", 4])),
        ("n_similarity", (["missing"], ["w3"])),
        ("get_mean_vector", (np.stack([VECTOR, VECTOR[::-1]]),)),
    ],
)
def test_values_are_those_of_gensim(name, arguments, vectors, keyed):
    found, expected = (getattr(each, name)(*arguments) for each in (vectors, keyed))
    if name == "rank_by_centrality":
        assert_same(
            [(word, value) for value, word in found], [(word, value) for value, word in expected]
        )
    elif isinstance(expected, (str, bool)):
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, atol=2e-6, rtol=2e-5)


def test_errors_of_similarities(vectors):
    with pytest.raises(ZeroDivisionError, match="a list of words is empty"):
        vectors.n_similarity(["w1"], [])
    with pytest.raises(ValueError, match="no neighbors with topn = 0"):
        vectors.relative_cosine_similarity("w1", "w2", 0)
    with pytest.raises(ValueError, match="none of the words has a vector"):
        vectors.rank_by_centrality(["missing"])
    with pytest.raises(ValueError, match="no words to choose from"):
        vectors.most_similar_to_given("w1", [])
    assert WordVectors.cosine_similarities([1, 0], [[0, 0], [3, 0]]).tolist() == [0, 1]
    assert vectors.distance("w1", "w1") == 0


def test_blocks_do_not_change_the_answers(vectors, monkeypatch):
    expected = vectors.most_similar("w3", topn=None)
    monkeypatch.setattr("fastw2v.word2vec.vectors.search._BLOCK_BYTES", 100)
    np.testing.assert_allclose(vectors.most_similar("w3", topn=None), expected, atol=1e-7)
    queries = vectors.vectors[:5]
    for topn in (1, 10, 299, 400):
        expected = vectors.nearest(queries, topn, 299)
        for size in (1, 11 * 28, 150 * 28):  # 28 bytes a row
            monkeypatch.setattr("fastw2v.word2vec.vectors.search._BATCH_BLOCK_BYTES", size)
            cosines, rows = vectors.nearest(queries, topn, 299)
            np.testing.assert_array_equal(rows, expected[1])
            np.testing.assert_allclose(cosines, expected[0], atol=1e-6)
        monkeypatch.undo()


def test_equal_cosines_are_in_the_order_of_the_words(monkeypatch):
    vectors = WordVectors(range(60), np.repeat([[1.0, 0.0], [0.0, 1.0]], 30, axis=0))
    assert [word for word, _ in vectors.most_similar(5, topn=7)] == [0, 1, 2, 3, 4, 6, 7]
    assert [word for word, _ in vectors.most_similar(5, topn=31)][28:] == [29, 30, 31]
    monkeypatch.setattr("fastw2v.word2vec.vectors.search._BATCH_BLOCK_BYTES", 7 * 8)
    assert vectors.nearest([[1, 0]], topn=31)[1].tolist() == [[*range(31)]]


def test_a_vector_that_is_not_finite_comes_last():
    vectors = WordVectors(["a", "b", "c"], [[1, 0], [np.nan, 0], [-1, 0]])
    assert [word for word, _ in vectors.most_similar("a")] == ["c", "b"]


@pytest.mark.parametrize("norm", [True, False])
def test_moving_as_many_words_is_an_assignment(norm, vectors):
    """Where both documents have n different words, each moves to one other as a whole."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 9):
        rows = rng.permutation(NUM_WORDS)[: 2 * n]
        matrix = vectors.vectors.astype(np.float64)
        if norm:
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        costs = cdist(matrix[rows[:n]], matrix[rows[n:]])
        expected = costs[linear_sum_assignment(costs)].mean()
        documents = [[f"w{row}" for row in half] for half in (rows[:n], rows[n:])]
        assert vectors.wmdistance(*documents, norm=norm) == pytest.approx(expected, rel=1e-5)


def test_words_of_a_document_move_in_parts():
    vectors = WordVectors([1, 2, 3], [[1, 0], [0, 1], [-1, 0]])
    # A quarter stays; two quarters of 1 and the quarter of 3 move to 2.
    assert vectors.wmdistance([1, 1, 1, 3], [1, 2, 2, 2]) == pytest.approx(0.75 * 2**0.5)
    assert vectors.wmdistance([1, 2, 2], [2, 1, 2, 2, 1, 2]) == pytest.approx(0)
    assert vectors.wmdistance(iter([1, "missing"]), [3]) == pytest.approx(2)
    assert vectors.wmdistance(["missing"], [1]) == np.inf == vectors.wmdistance([1], [])


def test_moving_words_takes_scipy(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match="pip install scipy"):
        vectors.wmdistance(["w1"], ["w2"])
