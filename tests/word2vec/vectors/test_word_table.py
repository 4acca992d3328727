"""Words and vectors that are added, replaced and changed, beside gensim's KeyedVectors."""

import copy
import logging
import pickle

import numpy as np
import pytest
from gensim.models import KeyedVectors as GensimVectors

import fastw2v
from fastw2v.word2vec.vectors import KeyedVectors, UnknownWordError, WordVectors


def matrix(rows, columns=4, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def test_keyed_vectors_is_another_name():
    assert fastw2v.KeyedVectors is fastw2v.WordVectors is KeyedVectors is WordVectors
    assert "KeyedVectors" in fastw2v.__all__


@pytest.mark.parametrize(
    "make",
    [
        lambda: KeyedVectors(3, 2),
        lambda: KeyedVectors(vector_size=3, count=2),
        lambda: KeyedVectors(3, count=2),
        lambda: KeyedVectors(np.int64(3), 2, np.float32),
    ],
)
def test_the_constructor_of_gensim(make):
    vectors = make()
    assert vectors.words == [None, None] and vectors.index == {} and vectors.counts is None
    assert vectors.vectors.tolist() == [[0] * 3] * 2 and vectors.vectors.dtype == np.float32
    assert [vectors.add_vector(word, [1, 2, 3]) for word in ("a", "b", "c")] == [0, 1, 2]
    assert vectors.words == ["a", "b", "c"] and vectors["c"].tolist() == [1, 2, 3]
    assert KeyedVectors(3, 0, np.float16).vectors.dtype == np.float16


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "give words and their vectors, or vector_size"),
        ({"words": ["a"]}, TypeError, "give words and their vectors, or vector_size"),
        ({"words": ["a"], "vectors": [[1]], "vector_size": 1}, TypeError, "give no words"),
        ({"vector_size": 0}, ValueError, "vector_size is 0; it must be an integer of at least 1"),
        ({"vector_size": 2.0}, ValueError, "vector_size is 2.0"),
        ({"vector_size": 2, "count": -1}, ValueError, "count is -1; it must be .* at least 0"),
        ({"vector_size": 2, "dtype": np.int32}, ValueError, "dtype is int32; .* floats"),
    ],
)
def test_constructors_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        WordVectors(**arguments)


# ---- Words that are not text ---------------------------------------------------------------------


def test_integers_are_words_before_they_are_rows():
    table = matrix(4)
    vectors = WordVectors([30, 7, 2, 10**12], table)
    keyed = GensimVectors(4)
    keyed.add_vectors([30, 7, 2, 10**12], table)
    for key in (30, 7, 2, 10**12, 0, 1, np.int64(7), np.int32(2)):
        assert vectors.get_index(key) == keyed.get_index(key)
        np.testing.assert_array_equal(vectors[key], keyed[key])
        found, expected = vectors.most_similar(key), keyed.most_similar(key)
        assert [word for word, _ in found] == [word for word, _ in expected]
        assert all(type(word) is int for word, _ in found)
    assert vectors.most_similar([30, 7], [2])[0][0] == keyed.most_similar([30, 7], [2])[0][0]
    assert vectors.doesnt_match([30, 7, 2]) == keyed.doesnt_match([30, 7, 2])
    assert vectors.closer_than(30, 7) == keyed.closer_than(30, 7)
    assert 7 in vectors and 3 in vectors and 4 not in vectors and "7" not in vectors
    with pytest.raises(
        UnknownWordError, match=r"the word '7' is not .* 4 words; there is 7 of type int"
    ):
        vectors["7"]
    with pytest.raises(UnknownWordError, match="the word 99 is not among the 4 words$"):
        vectors.similarity(30, 99)
    with pytest.raises(UnknownWordError, match="the word -1 is not among"):
        vectors[-1]


def test_numbers_of_an_array_are_numbers_of_python():
    vectors = WordVectors(np.array([5, 6, 7]), matrix(3))
    assert [type(word) for word in vectors.words] == [int] * 3
    vectors.add_vectors(np.array([8, 9]), matrix(2))
    assert vectors.words == [5, 6, 7, 8, 9] and type(vectors.words[-1]) is int


def test_anything_hashable_is_a_word():
    words = [("new", "york"), 0.5, frozenset("ab"), b"bytes", "text"]
    vectors = WordVectors(words, matrix(5))
    for row, word in enumerate(words):
        np.testing.assert_array_equal(vectors[word], vectors.vectors[row])
        assert word in vectors and vectors.similarity(word, word) == 1
        found = [other for other, _ in vectors.most_similar(word)]
        assert set(found) == {other for other in words if other != word}
        if word != 0.5:  # two floats are a vector
            assert [other for other, _ in vectors.most_similar([(word, 2.0)])] == found
    np.testing.assert_array_equal(vectors[words], vectors.vectors)
    with pytest.raises(UnknownWordError, match=r"the word b'other' is not among"):
        vectors[b"other"]
    with pytest.raises(UnknownWordError, match="the word 1.5 is not among"):
        vectors[1.5]
    with pytest.raises(UnknownWordError, match="similar ones: text$"):
        vectors["texd"]


# ---- Adding and replacing ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Adding single vectors")
def test_words_are_added_and_replaced_as_in_gensim():
    ours, theirs = KeyedVectors(4), GensimVectors(4)
    added = matrix(6)
    for vectors in (ours, theirs):
        vectors.add_vectors(["a", "b", "c"], added[:3])
        vectors.add_vectors(["b", "d"], added[3:5])  # b stays as it is
        vectors.add_vectors("e", added[5])
        vectors["a"] = added[4]
        vectors[["c", "f"]] = [added[0], added[1]]
        vectors.add_vectors(["d"], added[:1], replace=True)
        vectors.add_vector("g", added[2])
    assert ours.index_to_key == theirs.index_to_key == ["a", "b", "c", "d", "e", "f", "g"]
    assert ours.key_to_index == theirs.key_to_index
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    assert ours.vectors.dtype == np.float32
    assert ours.most_similar("g")[0][0] == theirs.most_similar("g")[0][0]
    assert ours.add_vector("b", added[5]) == 1  # known: the vector stays
    np.testing.assert_array_equal(ours["b"], added[1])


def test_added_words_are_counted_as_0_unless_extras_tell():
    vectors = WordVectors(["a", "b"], matrix(2), [7, 5])
    vectors.add_vectors(["c", "a"], matrix(2), {"count": np.array([3, 9]), "year": [1.5, 2.5]})
    assert vectors.counts.tolist() == [7, 5, 3]
    assert vectors.expandos["year"].tolist() == [0, 0, 1.5]
    vectors.add_vectors(["d", "a"], matrix(2), {"count": [1, 9]}, replace=True)
    assert vectors.counts.tolist() == [9, 5, 3, 1]


@pytest.mark.parametrize(
    ("keys", "weights", "extras", "message"),
    [
        (["x", "y"], matrix(1), None, r"shape \(1, 4\); 2 words of width 4 need \(2, 4\)"),
        ("x", np.ones(3), None, r"shape \(1, 3\)"),
        (["x", "x"], matrix(2), None, "a word is given more than once"),
        ([None], matrix(1), None, "or is None"),
        (["x"], matrix(1), {"count": [1, 2]}, r"extras\['count'\] has shape \(2,\)"),
    ],
)
def test_additions_that_are_refused_change_nothing(keys, weights, extras, message):
    vectors = WordVectors(["a", "b"], matrix(2), [7, 5])
    with pytest.raises(ValueError, match=message):
        vectors.add_vectors(keys, weights, extras)
    with pytest.raises(TypeError, match="'count' has values of type int64"):
        vectors.add_vectors(["x"], matrix(1), {"count": [0.5]})
    assert vectors.words == ["a", "b"] and vectors.vectors.shape == (2, 4)
    assert vectors.counts.tolist() == [7, 5]


def test_every_answer_follows_the_vectors():
    """Whichever way the vectors are changed: by assignment, in place, by words."""
    table = matrix(50)
    words = [f"w{row}" for row in range(50)]

    def assign(vectors):
        vectors.vectors = -vectors.vectors[::-1]

    def in_place(vectors):
        vectors.vectors[3] = vectors.vectors[4]
        vectors.fill_norms(force=True)

    def in_place_without_a_word(vectors):
        vectors.vectors[7:9] *= -5

    def one_word(vectors):
        vectors["w0"] = np.ones(4, np.float32)

    def some_words(vectors):
        vectors[["w1", "w2"]] = np.ones((2, 4), np.float32)

    def added(vectors):
        vectors.add_vector("new", vectors["w5"])

    def normalize(vectors):
        vectors.unit_normalize_all()

    vectors = WordVectors(words, table.copy())
    for change in (
        *(assign, in_place, in_place_without_a_word, one_word, some_words, added, normalize),
    ):
        vectors.most_similar("w9"), vectors.nearest(table[:2]), vectors.norms
        change(vectors)
        fresh = WordVectors(vectors.words, vectors.vectors.copy())
        for ask in (
            lambda v: v.most_similar("w9", topn=60),
            lambda v: v.most_similar("w0", topn=None).tolist(),
            lambda v: v.most_similar_cosmul("w9", "w0"),
            lambda v: v.most_similar_batch(["w9", "w0"]),
            lambda v: v.distances("w0").tolist(),
            lambda v: v.get_normed_vectors().tolist(),
            lambda v: v.norms.tolist(),
            lambda v: v.closer_than("w0", "w9"),
        ):
            assert ask(vectors) == ask(fresh), change.__name__


def test_assigned_vectors_keep_their_type_and_may_be_of_another_width():
    vectors = WordVectors(["a", "b"], matrix(2))
    vectors.vectors = np.eye(2)  # float64
    assert vectors.vectors.dtype == np.float32 and vectors.vector_size == 2
    with pytest.raises(ValueError, match=r"vectors has shape \(4,\); it must be a matrix"):
        vectors.vectors = np.ones(4)
    vectors.vectors = np.ones((3, 2))
    for ask in (vectors.most_similar, vectors.distances):
        with pytest.raises(ValueError, match="there are 2 words and 3 vectors"):
            ask("a")


def test_words_are_replaced_as_by_hand_in_gensim():
    """A common way to keep a part of the words: three assignments, in any order."""
    table = matrix(5)
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        vectors = WordVectors(list("abcde"), table)
        kept = {"vectors": table[[1, 3]], "key_to_index": {"b": 0, "d": 1}}
        kept["index_to_key"] = ["b", "d"]
        for name in np.array(list(kept))[list(order)]:
            setattr(vectors, name, kept[name])
        assert vectors.words == ["b", "d"] and vectors.index == {"b": 0, "d": 1}
        assert vectors.most_similar("b")[0][0] == "d"
        np.testing.assert_array_equal(vectors["d"], table[3])
    for broken in ({"a": 0, "b": 0}, {"a": 0, "b": 2}, {"a": -1}, {"a": "0"}):
        with pytest.raises(ValueError, match="the rows of . words must be the integers below"):
            vectors.key_to_index = broken
    with pytest.raises(ValueError, match="the word 'a' occurs more than once"):
        vectors.index_to_key = ["a", "a"]


def test_a_subclass_may_show_vectors_of_another_place():
    class Shown(WordVectors):
        place = matrix(3)

        @property
        def vectors(self):
            shown = self.place.view()
            shown.setflags(write=False)
            return shown

        @vectors.setter
        def vectors(self, vectors):
            type(self).place = np.array(vectors, np.float32)

    vectors = Shown(["a", "b", "c"], Shown.place, [3, 2, 1])
    Shown.place = np.array(Shown.place[::-1])  # by somebody else
    fresh = WordVectors(["a", "b", "c"], matrix(3)[::-1])
    assert vectors.most_similar("a") == fresh.most_similar("a")
    vectors["b"] = np.ones(4)
    assert Shown.place[1].tolist() == [1] * 4
    vectors.add_vector("d", np.zeros(4))
    assert Shown.place.shape == (4, 4) and vectors.counts.tolist() == [3, 2, 1, 0]
    vectors.unit_normalize_all()
    np.testing.assert_allclose(np.linalg.norm(Shown.place, axis=1), [1, 1, 1, 0], rtol=1e-6)


def test_what_cannot_be_written_to_is_copied_first():
    table = matrix(2)
    table.setflags(write=False)
    vectors = WordVectors(["a", "b"], table)
    vectors["a"] = np.zeros(4)
    assert vectors["a"].tolist() == [0] * 4 and table[0].any()


def test_a_vector_that_was_asked_for_cannot_be_changed_by_accident():
    vectors = WordVectors(["a", "b"], matrix(2))
    for vector in (vectors["a"], vectors.get_vector("a"), vectors.get_vector("a", norm=True)):
        with pytest.raises(ValueError, match="read-only"):
            vector += 1
    vectors[["a"]][:] = 0  # a copy
    assert vectors["a"].any()


# ---- Attributes ----------------------------------------------------------------------------------


def test_attributes_are_those_of_gensim():
    ours, theirs = KeyedVectors(4), GensimVectors(4)
    for vectors in (ours, theirs):
        vectors.add_vectors(["a", "b", "c"], matrix(3))
        vectors.set_vecattr("b", "count", 5)
        vectors.set_vecattr("a", "weight", 0.5)
        vectors.set_vecattr(2, "name", "third")
        vectors.set_vecattr("c", "kept", True)
        vectors.allocate_vecattrs(["other", "text"], [int, str])
        with pytest.raises(TypeError):
            vectors.set_vecattr("b", "count", 1.5)
    assert ours.expandos.keys() == theirs.expandos.keys()
    for attr, values in theirs.expandos.items():
        assert ours.expandos[attr].dtype == values.dtype
        assert ours.expandos[attr].tolist() == values.tolist()
        assert ours.get_vecattr("c", attr) == theirs.get_vecattr("c", attr)
    assert ours.counts.tolist() == [0, 5, 0]
    with pytest.raises(KeyError, match="no attribute 'age' of the words is known; there are 'coun"):
        ours.get_vecattr("a", "age")
    with pytest.raises(UnknownWordError):
        ours.set_vecattr("x", "count", 1)
    with pytest.raises(
        TypeError, match="'count' has values of type int64, which cannot hold one o"
    ):
        ours.set_vecattr("b", "count", "many")


def test_counts_are_the_attribute_of_that_name():
    given = np.array([7, 5])
    vectors = WordVectors(["a", "b"], matrix(2), given)
    assert vectors.get_vecattr("b", "count") == 5
    vectors.set_vecattr("b", "count", 6)
    assert vectors.counts.tolist() == [7, 6] and given.tolist() == [7, 5]
    vectors.counts = [1, 2]
    assert vectors.expandos["count"].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"counts has shape \(3,\)"):
        vectors.counts = [1, 2, 3]
    with pytest.raises(TypeError, match="'count' has values of type int64, which cannot hold 9"):
        vectors.set_vecattr("b", "count", 2**63)
    assert vectors.counts.tolist() == [1, 2]
    vectors.counts = None
    assert vectors.counts is None and vectors.expandos == {}


def test_sorting_is_that_of_gensim():
    ours, theirs = KeyedVectors(4), GensimVectors(4)
    for vectors in (ours, theirs):
        vectors.sort_by_descending_frequency()
        vectors.add_vectors(list("abcdef"), matrix(6))
        for word, count in zip("abcdef", (3, 9, 3, 1, 9, 4), strict=True):
            vectors.set_vecattr(word, "count", count)
            vectors.set_vecattr(word, "double", 2.0 * count)
        vectors.sort_by_descending_frequency()
    assert ours.index_to_key == theirs.index_to_key and ours.key_to_index == theirs.key_to_index
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    for attr in ("count", "double"):
        assert ours.expandos[attr].tolist() == theirs.expandos[attr].tolist()
    with pytest.raises(ValueError, match="the counts of the words are not known"):
        WordVectors(["a"], matrix(1)).sort_by_descending_frequency()


def test_resizing_is_that_of_gensim():
    ours, theirs = KeyedVectors(4), GensimVectors(4)
    for vectors in (ours, theirs):
        vectors.add_vectors(["a", "b"], matrix(2))
        vectors.set_vecattr("a", "count", 5)
        for word in ("c", "d"):
            vectors.key_to_index[word] = len(vectors.index_to_key)
            vectors.index_to_key.append(word)
        vectors.resize_vectors(seed=3)
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    assert ours.counts.tolist() == [5, 0, 0, 0]
    ours.index_to_key = ["a"]
    ours.resize_vectors()
    assert ours.vectors.tolist() == matrix(2)[:1].tolist() and ours.counts.tolist() == [5]


def test_lengths_are_those_of_gensim():
    ours, theirs = KeyedVectors(4), GensimVectors(4)
    for vectors in (ours, theirs):
        vectors.add_vectors(["a", "b"], matrix(2))
        vectors.fill_norms()
    np.testing.assert_allclose(ours.norms, theirs.norms, rtol=1e-6)
    np.testing.assert_allclose(ours.get_normed_vectors(), theirs.get_normed_vectors(), rtol=1e-6)
    ours.norms = None
    with pytest.raises(AttributeError, match="norms follow from vectors"):
        ours.norms = np.ones(2)
    with pytest.warns(DeprecationWarning, match="init_sims is not needed"):
        ours.init_sims()
    np.testing.assert_array_equal(ours.vectors, matrix(2))
    with pytest.warns(DeprecationWarning, match="unit_normalize_all"):
        ours.init_sims(replace=True)
    theirs.unit_normalize_all()
    np.testing.assert_allclose(ours.vectors, theirs.vectors, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_vectors_of_other_types(dtype):
    table = matrix(40).astype(dtype)
    vectors = WordVectors(range(40), table, dtype=dtype)
    expected = WordVectors(range(40), table)
    assert vectors.vectors.dtype == dtype and vectors[3].dtype == dtype
    for ask in (lambda v: v.most_similar(3), lambda v: v.most_similar_batch([3])[0]):
        found = ask(vectors)
        assert [word for word, _ in found] == [word for word, _ in ask(expected)]
        np.testing.assert_allclose(
            [cosine for _, cosine in found], [cosine for _, cosine in ask(expected)], atol=1e-6
        )
    vectors["new"] = np.ones(4)
    assert vectors.vectors.dtype == dtype


# ---- Old names, copies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("accuracy", r"evaluate_word_analogies\(path\)"),
        ("add", r"add_vectors\(words, vectors\)"),
        ("get_keras_embedding", r"keras.layers.Embedding\(\*vectors.shape, weights="),
        ("vocab", r'key_to_index.*get_vecattr\(word, "count"\)'),
        ("index2word", "the list index_to_key"),
        ("index2entity", "the list index_to_key"),
        ("vectors_norm", r"get_normed_vectors\(\)"),
        ("syn0", "the array vectors"),
        ("syn0norm", r"get_normed_vectors\(\)"),
        ("similarity_unseen_docs", "Doc2Vec"),
    ],
)
def test_names_of_gensim_3_say_what_to_write(name, instead):
    vectors = WordVectors(["a"], matrix(1))
    with pytest.raises(AttributeError, match=f"WordVectors has no {name}: .*{instead}"):
        getattr(vectors, name)
    with pytest.raises(AttributeError, match=f"WordVectors has no {name}: .*{instead}"):
        setattr(vectors, name, 1)
    assert not hasattr(vectors, "anything_else")


def test_old_names_that_still_answer():
    vectors = WordVectors(list("abcd"), matrix(4))
    with pytest.warns(DeprecationWarning, match="word_vec is now get_vector"):
        assert vectors.word_vec("a").tolist() == vectors["a"].tolist()
    with pytest.warns(DeprecationWarning, match="words_closer_than is now closer_than"):
        assert vectors.words_closer_than("a", "b") == vectors.closer_than("a", "b")


def test_copies_and_pickles_are_whole():
    vectors = WordVectors(["a", 5], matrix(2), [7, 5])
    vectors.set_vecattr("a", "tag", "x")
    vectors.most_similar("a")
    for other in (pickle.loads(pickle.dumps(vectors)), copy.deepcopy(vectors)):
        assert other.words == ["a", 5] and other.expandos["tag"].tolist() == ["x", 0]
        other["b"] = np.ones(4)
        assert other.most_similar("b", topn=1) and "b" not in vectors and len(vectors.words) == 2


def test_events_are_noted_and_logged(caplog):
    vectors = WordVectors(["a"], matrix(1))
    with caplog.at_level(logging.INFO):
        vectors.add_lifecycle_event("cleaned", msg="all of it")
        vectors.add_lifecycle_event("silent", log_level=None)
    assert [event["event"] for event in vectors.lifecycle_events] == ["cleaned", "silent"]
    assert vectors.lifecycle_events[0]["msg"] == "all of it"
    assert "cleaned" in caplog.text and "silent" not in caplog.text
