"""`model.wv` and the training of the model see each other's changes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastw2v

TEXT = [["red", "green", "blue"], ["one", "two", "three"]] * 200
SMALL = {"vector_size": 8, "sample": 0, "sg": 1, "deterministic": True}


@pytest.fixture
def model():
    built = fastw2v.Word2Vec(**SMALL)
    built.build_vocab(TEXT)
    return built


def test_shows_what_training_does():
    seen = []

    class Callback:
        def on_epoch_end(self, model):
            assert model.wv is wv or not seen
            seen.append(model.wv["red"].copy())

    model = fastw2v.Word2Vec(**SMALL)
    model.build_vocab(TEXT)
    wv = model.wv
    first = wv["red"].copy()
    held = wv.vectors
    model.train(epochs=3, callbacks=[Callback()])
    assert all(np.any(a != b) for a, b in zip([first, *seen], seen, strict=False))
    row = model.vocabulary.index["red"]
    np.testing.assert_array_equal(seen[-1], model.embeddings.numpy()[row])
    np.testing.assert_array_equal(wv["red"], seen[-1])
    assert model.wv is wv
    # What was held before keeps what it held, and no longer pretends to be the table.
    np.testing.assert_array_equal(held[row], first)
    with pytest.raises(ValueError, match="read-only"):
        held[row] = 0


def test_neighbors_are_those_of_the_vectors_as_they_are(model):
    wv = model.wv
    before = wv.most_similar("red", topn=2)
    model.train(epochs=20)
    after = wv.most_similar("red", topn=2)
    assert {word for word, _ in after} == {"green", "blue"} and after != before


def test_what_is_written_is_trained(model):
    """With a rate of 0, what was written is what is saved and left."""
    matrix = np.arange(48, dtype=np.float32).reshape(6, 8)
    model.wv.vectors = matrix
    np.testing.assert_array_equal(model.embeddings, matrix)
    model.wv.vectors[0] = 7
    np.testing.assert_array_equal(model.embeddings[0], np.full(8, 7))
    assert model.wv.vectors.base is not None and matrix[0, 1] == 1  # nobody's own array
    model.train(epochs=1, start_alpha=0.0, end_alpha=0.0)
    np.testing.assert_array_equal(model.embeddings[0], np.full(8, 7))
    np.testing.assert_array_equal(model.embeddings[1:], matrix[1:])
    with pytest.raises(ValueError, match=r"shape \(6, 9\); the model has 6 words of width 8"):
        model.wv.vectors = np.zeros((6, 9))


def test_sees_what_others_do_to_the_variable(model):
    wv = model.wv
    assert wv.vectors.any()
    model.embeddings.assign(np.ones([6, 8]))
    assert (model.wv.vectors == 1).all() and model.wv is wv
    model.embeddings[2].assign(np.full(8, 5))
    assert (model.wv.vectors[2] == 5).all() and (model.wv.vectors[3] == 1).all()


def test_words_that_are_added_become_words_of_the_model(model, tmp_path):
    model.train(epochs=1)
    before, weights = model.wv.vectors.copy(), model.weights.numpy()
    wv = model.wv
    # What `WordVectors.add_vectors` does.
    wv.vectors = np.concatenate([before, np.full((1, 8), 0.5)])
    wv.words.append("new")
    wv.index["new"] = 6
    wv.counts = np.append(wv.counts, 0)
    assert (wv["new"] == 0.5).all()
    model.save(tmp_path / "model")
    assert model.vocabulary.words[-1] == "new" and len(model.vocabulary) == 7
    assert model.vocabulary.counts.tolist() == [200] * 6 + [1]
    np.testing.assert_array_equal(model.embeddings, [*before, np.full(8, 0.5)])
    np.testing.assert_array_equal(model.weights, [*weights, np.zeros(8)])
    loaded = fastw2v.Word2Vec.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.wv["new"], np.full(8, 0.5))
    model.train([["new", "red"]] * 50, epochs=1)
    assert not (model.wv["new"] == 0.5).all()


def test_words_are_not_added_during_training(model):
    class Callback:
        def on_epoch_end(self, model):
            model.wv.vectors = np.concatenate([model.wv.vectors, np.zeros((1, 8))])

    with pytest.raises(RuntimeError, match="words cannot be added to model.wv while"):
        model.train(epochs=1, callbacks=[Callback()])


def test_vectors_of_another_place(model, tmp_path):
    given = fastw2v.WordVectors(["blue", "unknown", "two"], np.eye(3, 8) + 1)
    given.save(tmp_path / "vectors.txt")
    for pretrained in (given, tmp_path / "vectors.txt", given.to_gensim()):
        begun = fastw2v.Word2Vec(**SMALL)
        begun.build_vocab(TEXT, pretrained=pretrained)
        np.testing.assert_array_equal(begun.wv["blue"], given["blue"])
        np.testing.assert_array_equal(begun.wv["two"], given["two"])
        np.testing.assert_array_equal(begun.wv["red"], model.wv["red"])
    model.wv["red"] = np.full(8, 4)
    model.build_vocab(
        [["new", "red"]] * 5,
        update=True,
        pretrained=fastw2v.WordVectors(["red", "new"], np.eye(2, 8)),
    )
    assert (model.wv["red"] == 4).all() and model.wv["new"].tolist() == [0, 1] + 6 * [0]
    trained = fastw2v.Word2Vec(TEXT, **SMALL, alpha=0.002, pretrained=given)
    assert 0 < np.abs(trained.wv["blue"] - given["blue"]).max() < 1
    for owner in (model, model.wv):
        with pytest.raises(ValueError, match="lockf must be 1: vectors of single words cannot be"):
            owner.intersect_word2vec_format(str(tmp_path / "vectors.txt"))
    assert model.intersect_word2vec_format(str(tmp_path / "vectors.txt"), lockf=1.0) == 2
    np.testing.assert_array_equal(model.wv["two"], given["two"])
    read = []
    with pytest.raises(ValueError, match="vectors of width 3; give vector_size = 3, not 8"):
        narrow = fastw2v.WordVectors(["a"], np.ones((1, 3)))
        fastw2v.Word2Vec((read.append(1) or words for words in TEXT), **SMALL, pretrained=narrow)
    assert not read
    with pytest.raises(ValueError, match="lockf must be 1"):
        model.wv.vectors_lockf = np.zeros(7)
    with pytest.raises(ValueError, match="read-only"):
        model.wv.vectors_lockf[0] = 0


def test_vectors_alone_are_a_model_that_can_be_asked(tmp_path):
    vectors = fastw2v.WordVectors(["up", "north"], np.eye(2, 3))
    model = fastw2v.Word2Vec(min_count=1, sample=0)
    model.wv = vectors
    assert model.vector_size == 3 and model.wv.most_similar("up", topn=1)[0][0] == "north"
    for method in (lambda: model.train([["up", "north"]]), lambda: model.save(tmp_path / "model")):
        with pytest.raises(ValueError, match="not known how often .* pretrained = these vectors"):
            method()
    model.wv = fastw2v.WordVectors(["up", "north"], np.eye(2, 3), [5, 3])
    model.train([["up", "north"]] * 5)
    assert model.wv["up"][0] != 1


def test_copies_are_vectors_of_their_own(model):
    for copied in (copy.deepcopy(model.wv), pickle.loads(pickle.dumps(model.wv))):
        assert type(copied) is fastw2v.WordVectors
        np.testing.assert_array_equal(copied.vectors, model.wv.vectors)
        assert copied.words == model.wv.words
        copied.vectors[0] = 9
        assert not (model.wv.vectors == 9).any()
    with pytest.raises(TypeError, match="the words of a model keep their rows"):
        model.wv.sort_by_descending_frequency()
