"""What a model has from its user, and what it does not keep."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf

import fastw2v

SMALL = {"vector_size": 8, "sample": 0, "epochs": 1}


def long_text():
    return [[f"w{number % 50}" for number in range(k, k + 20)] for k in range(2000)]


def test_lists_of_the_user_stay_what_they_are():
    text = long_text()
    model = fastw2v.Word2Vec(**SMALL)
    model.build_vocab(text)
    assert type(text) is list and {type(words) for words in text} == {list}
    read = model._text(None, None, None, None)
    assert model._text(text, None, None, None) is read  # the same object is not read again
    model.train(text)
    assert {type(words) for words in text} == {list}
    assert model._given.source is None


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
@pytest.mark.parametrize("make", [list, iter, lambda text: (words for words in text)])
def test_copies_hold_no_text(make, copied):
    class Callback:
        def on_epoch_end(self, model):
            pass

    model = fastw2v.Word2Vec(**SMALL, callbacks=[Callback()])  # which cannot be pickled
    model.build_vocab(make(long_text()))
    other = copied(model)
    assert len(pickle.dumps(model)) < 20_000
    np.testing.assert_array_equal(other.wv.vectors, model.wv.vectors)
    other.train(long_text())
    assert np.any(other.wv.vectors != model.wv.vectors) and model.losses == []
    assert other.settings == model.settings
    with pytest.raises(ValueError, match="no text is given"):
        copied(model).train()


def test_a_trained_model_is_copied_with_its_words_and_vectors():
    model = fastw2v.Word2Vec(long_text(), **SMALL, loss="softmax")
    other = copy.deepcopy(model)
    assert other.vocabulary.words == model.vocabulary.words and other.losses == model.losses
    assert other.score([["w1", "w2"]]) == model.score([["w1", "w2"]])


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
@pytest.mark.parametrize("is_read", [False, True])
def test_what_is_written_to_a_model_is_not_written_to_its_copy(copied, is_read):
    model = fastw2v.Word2Vec(long_text(), **SMALL)
    if is_read:
        model.wv.vectors, model.syn1neg  # noqa: B018
    other = copied(model)
    before, weights = model.embeddings.numpy().copy(), model.weights.numpy().copy()
    model.wv["w1"] = np.full(8, 7.0)
    model.syn1neg[0] = 8.0
    np.testing.assert_array_equal(other.embeddings, before)
    np.testing.assert_array_equal(other.weights, weights)
    other.wv["w2"] = np.full(8, 9.0)
    other.wv.vectors[3] = 10.0
    before[model.vocabulary.index["w1"]] = 7.0
    np.testing.assert_array_equal(model.embeddings, before)


def test_what_is_written_to_a_model_is_not_written_to_what_it_was_assigned():
    model = fastw2v.Word2Vec(long_text(), **SMALL)
    given = tf.constant(np.ones(model.embeddings.shape, np.float32))
    model.embeddings.assign(given)
    first = model.wv.vectors
    first[0] = 5.0
    model.wv.vectors[1] = 6.0
    assert given.numpy().max() == 1
    assert model.embeddings[0, 0] == 5 and model.embeddings[1, 0] == 6 and first[1, 0] == 6


def test_saving_after_wv_was_read_copies_no_table(tmp_path):
    import tracemalloc

    model = fastw2v.Word2Vec(vector_size=500)
    model.build_vocab([[f"w{number}" for number in range(10_000)]] * 5)
    array = model.wv.vectors
    address = array.ctypes.data
    tracemalloc.start()
    model.save(tmp_path / "model")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 4
    assert model.wv.vectors is array and array.flags.writeable
    assert array.ctypes.data == address
    loaded = fastw2v.Word2Vec.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.wv.vectors, array)


def test_words_of_another_text_with_hierarchical_softmax():
    """The tree is another one: its weights begin anew, the vectors stay."""
    text = [["a", "b", "c"]] * 50
    model = fastw2v.Word2Vec(text, **SMALL, hs=1, negative=0)
    before = model.wv.vectors.copy()
    assert model.weights.numpy().any()
    model.build_vocab([["d", "a"]] * 5, update=True)
    assert not model.weights.numpy().any() and model.weights.shape == [4, 8]
    np.testing.assert_array_equal(model.wv.vectors[:3], before)
    model.train([["d", "a"]] * 50)
    assert np.any(model.wv.vectors[3] != 0) and np.isfinite(model.wv.vectors).all()


def test_checkpoints_that_cannot_be_written_are_found_before_the_first_pass(tmp_path):
    model = fastw2v.Word2Vec(**SMALL)
    model.build_vocab(long_text())
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    for path, error in (
        (tmp_path / "nowhere" / "model", FileNotFoundError),
        (tmp_path / "directory", IsADirectoryError),
        (tmp_path / "file" / "model", NotADirectoryError),
        ("/proc/model", OSError),
    ):
        with pytest.raises(error) as caught:
            model.train(checkpoint=path)
        assert str(path) in str(caught.value)
        assert model.losses == []
        read = []
        with pytest.raises(error):
            fastw2v.Word2Vec((read.append(1) or ["a", "b"] for _ in range(9)), checkpoint=path)
        assert not read
    for evaluate, name in ((tmp_path / "file", "file: "), ([["other", "words"]], "evaluate: ")):
        with pytest.raises(ValueError, match=f"{name}the text has no two words of the vocabulary"):
            model.train(evaluate=evaluate)
    assert model.losses == []
    model.train(checkpoint=tmp_path / "file")
    assert len(fastw2v.Word2Vec.load(tmp_path / "file").losses) == 1


def test_a_text_without_words_is_refused_as_gensim_does():
    for error in (ValueError, RuntimeError):
        with pytest.raises(error, match="no word occurs at least min_count = 5 times"):
            fastw2v.Word2Vec([])
        with pytest.raises(error, match="the model has no vocabulary yet"):
            fastw2v.Word2Vec().train([["a", "b"]])
