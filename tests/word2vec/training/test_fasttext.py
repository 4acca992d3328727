"""`fastw2v.FastText`: what it learns, beside gensim; its files, its settings, what it refuses."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import tensorflow as tf
from gensim.models import FastText as GensimFastText
from gensim.models.fasttext import load_facebook_model

import fastw2v
from fastw2v.word2vec.training.settings import SubwordSettings

STEMS = ("walk", "jump", "sing", "paint", "cook")
ENDS = ("ing", "ed", "er", "s")
OPTIONS = {"vector_size": 16, "min_count": 1, "sample": 0, "bucket": 500, "seed": 3}


def forms(number=300, seed=0):
    """Sentences of forms of one verb each."""
    rng = np.random.default_rng(seed)
    return [
        [STEMS[stem] + end for end in rng.permutation(ENDS)]
        for stem in rng.integers(len(STEMS), size=number)
    ]


@pytest.fixture(scope="module")
def text():
    return forms()


@pytest.mark.parametrize(
    "settings", [{"sg": 1}, {}, {"cbow_mean": 0}, {"sg": 1, "hs": 1, "negative": 0}]
)
@pytest.mark.parametrize("deterministic", [False, True])
def test_forms_of_a_verb_are_near_seen_or_not(text, settings, deterministic):
    model = fastw2v.FastText(text, **OPTIONS, **settings, epochs=20, deterministic=deterministic)
    assert model.losses[-1] < model.losses[0]
    near = [
        word.startswith(stem)
        for stem in STEMS
        for word, _ in model.wv.most_similar(stem + "able", topn=4)
    ]
    assert np.mean(near) > 0.9


@pytest.mark.parametrize("sg", [0, 1])
def test_moves_about_as_far_as_gensim(text, sg):
    """The same learning rate means the same."""
    settings = {**OPTIONS, "sg": sg, "epochs": 5}
    mine = fastw2v.FastText(text, **settings, workers=1)
    theirs = GensimFastText(text, **settings, workers=1)
    lengths = [np.linalg.norm(each.wv.vectors, axis=1).mean() for each in (mine, theirs)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.15)
    lengths = [np.linalg.norm(each.syn1neg, axis=1).mean() for each in (mine, theirs)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.15)


def test_arguments_are_those_of_gensim_in_order():
    mine = list(inspect.signature(fastw2v.FastText).parameters.values())
    theirs = list(inspect.signature(GensimFastText).parameters.values())
    positional = [each.name for each in mine if each.kind == each.POSITIONAL_OR_KEYWORD]
    assert positional == [each.name for each in theirs]
    others = {"workers", "hashfxn", "batch_words"}  # see Word2Vec
    for one, other in zip(mine, theirs, strict=False):
        if one.name not in others:
            assert one.default == other.default, one.name


def test_tables_have_the_names_of_gensim(text):
    model = fastw2v.FastText(text, **OPTIONS)
    assert model.wv.vectors_vocab.shape == (20, 16) and model.wv.vectors_ngrams.shape == (500, 16)
    assert model.embeddings.shape == (520, 16) and model.syn1neg.shape == (20, 16)
    assert (model.min_n, model.max_n, model.bucket, model.word_ngrams) == (3, 6, 500, 1)
    assert model.estimate_memory()["vectors"] == 520 * 16 * 4
    splits, rows = (each.numpy() for each in model._bags())
    for k in range(20):
        mean = model.embeddings.numpy()[rows[splits[k] : splits[k + 1]]].mean(axis=0)
        np.testing.assert_allclose(model.wv.vectors[k], mean, rtol=1e-5, atol=1e-7)


def test_first_vectors_are_those_of_gensim_in_law(text):
    model = fastw2v.FastText(**OPTIONS)
    model.build_vocab(text)
    rows = model.embeddings.numpy()
    assert np.abs(rows).max() <= 1 / 16 and rows.std() == pytest.approx(1 / 16 / 3**0.5, rel=0.05)
    assert not model.syn1neg.any()


def test_without_ngrams_it_is_word2vec(text):
    settings = {**OPTIONS, "deterministic": True, "sg": 1}
    del settings["bucket"]
    words = fastw2v.Word2Vec(text, **settings)
    for nothing in ({"bucket": 0}, {"min_n": 5, "max_n": 4, "bucket": 0}):
        model = fastw2v.FastText(text, **settings, **nothing)
        np.testing.assert_allclose(model.wv.vectors, words.wv.vectors, rtol=1e-4, atol=1e-6)
        assert "walkable" not in model.wv
        with pytest.raises(KeyError):
            model.wv["walkable"]


@pytest.mark.parametrize("settings", [{"sg": 1}, {}, {"cbow_mean": 0}])
def test_likelihood_is_that_of_the_rows_taken_together(text, settings):
    model = fastw2v.FastText(text, **OPTIONS, **settings, shrink_windows=False)
    splits, rows = (each.numpy() for each in model._bags())
    table, weights = model.embeddings.numpy(), model.syn1neg
    noise = model.vocabulary.counts**0.75
    sentence = text[0]
    ids = [model.vocabulary.index[word] for word in sentence]
    total, number = 0.0, 0
    for k, center in enumerate(ids):
        contexts = ids[:k] + ids[k + 1 :]
        for together in [contexts] if not model.sg else [[each] for each in contexts]:
            bag = np.concatenate([rows[splits[each] : splits[each + 1]] for each in together])
            hidden = table[bag].sum(axis=0) if not model.cbow_mean else table[bag].mean(axis=0)
            logits = weights @ hidden + np.log(noise / noise.sum())
            total += logits[center] - np.log(np.exp(logits).sum())
            number += 1
    assert model.evaluate([sentence]) == pytest.approx(total / number, rel=1e-4)
    assert model.score([sentence])[0] == pytest.approx(total, rel=1e-4)


def test_vectors_live_with_the_model(text):
    model = fastw2v.FastText(text, **OPTIONS)
    vectors = model.wv
    before = vectors["walkable"].copy()
    model.train()
    assert model.wv is vectors and (vectors["walkable"] != before).any()
    vectors.vectors_ngrams[:] = 0  # the table itself
    vectors.adjust_vectors()
    assert not model.wv["walkable"].any() and not model.embeddings.numpy()[20:].any()
    model.embeddings.assign(tf.ones_like(model.embeddings))
    assert (model.wv["walkable"] == 1).all()
    copied = copy.deepcopy(model)
    copied.train(text)
    assert (model.wv["walkable"] == 1).all() and (copied.wv["walkable"] != 1).any()


def test_words_that_come_later(text):
    model = fastw2v.FastText(text, **OPTIONS)
    before = model.wv["walkable"].copy()
    model.build_vocab([["swimming", "walked"]] * 5, update=True)
    np.testing.assert_allclose(model.wv["walkable"], before, rtol=1e-6)
    assert model.wv.has_index_for("swimming") and model.embeddings.shape == (521, 16)
    model.train([["swimming", "walked"]] * 5)
    assert np.isfinite(model.wv["swims"]).all()


def test_pretrained_vectors_are_the_rows_of_words(text):
    given = fastw2v.WordVectors(["walking", "other"], np.ones((2, 16), np.float32))
    model = fastw2v.FastText(**OPTIONS)
    model.build_vocab(text, pretrained=given)
    row = model.vocabulary.index["walking"]
    assert (model.wv.vectors_vocab[row] == 1).all() and not (model.wv["walking"] == 1).all()


def test_saved_and_loaded(text, tmp_path):
    model = fastw2v.FastText(text, **OPTIONS, deterministic=True)
    model.save(tmp_path / "model")
    loaded = fastw2v.FastText.load(tmp_path / "model")
    assert loaded.settings == model.settings and isinstance(loaded.settings, SubwordSettings)
    for each in (loaded.wv, fastw2v.WordVectors.load(tmp_path / "model")):
        np.testing.assert_array_equal(each["walkable"], model.wv["walkable"])
        np.testing.assert_array_equal(each["walking"], model.wv["walking"])
    for one in (model, loaded):
        one.train(text)
    np.testing.assert_array_equal(model.wv.vectors, loaded.wv.vectors)
    with pytest.raises(ValueError, match=r"is a model of FastText: load it by FastText\.load"):
        fastw2v.Word2Vec.load(tmp_path / "model")
    fastw2v.Word2Vec(text, vector_size=8, sample=0).save(tmp_path / "words")
    with pytest.raises(ValueError, match=r"is a model of Word2Vec: load it by Word2Vec\.load"):
        fastw2v.FastText.load(tmp_path / "words")


def test_models_of_fasttext_go_both_ways(text, tmp_path):
    path = tmp_path / "model.bin"
    model = fastw2v.FastText(text, **OPTIONS, sg=1, window=4)
    model.save_facebook_model(path)
    theirs = load_facebook_model(str(path))
    np.testing.assert_array_equal(theirs.syn1neg, model.syn1neg)
    np.testing.assert_allclose(theirs.wv["walkable"], model.wv["walkable"], atol=1e-6)
    theirs.train(text, total_examples=len(text), epochs=1)
    loaded = fastw2v.FastText.load_facebook_model(path)
    assert (loaded.sg, loaded.window, loaded.bucket, loaded.min_count) == (1, 4, 500, 1)
    np.testing.assert_array_equal(loaded.syn1neg, model.syn1neg)
    np.testing.assert_array_equal(loaded.wv.vectors, model.wv.vectors)
    loaded.train(text)
    assert np.isfinite(loaded.losses).all()
    other = fastw2v.FastText(text, **OPTIONS, hs=1, negative=0)
    with pytest.raises(ValueError, match="belong to another tree"):
        other.save_facebook_model(path)


def test_vectors_given_to_a_model(text):
    model = fastw2v.FastText(text, **OPTIONS)
    other = fastw2v.FastText(min_n=1, bucket=7)
    other.wv = model.wv
    assert (other.min_n, other.bucket, other.vector_size) == (3, 500, 16)
    np.testing.assert_array_equal(other.wv.vectors, model.wv.vectors)
    other.train(text)
    with pytest.raises(TypeError, match="no rows of n-grams"):
        other.wv = fastw2v.WordVectors(["a"], np.ones((1, 16)))


def test_arguments_of_a_file_are_checked(text, tmp_path):
    path = tmp_path / "model.bin"
    fastw2v.FastText(text, **OPTIONS).save_facebook_model(path)
    content = bytearray(path.read_bytes())
    content[8 + 48 : 8 + 56] = np.float64(np.nan).tobytes()  # -t
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.bin is not a model of fastText to train on"):
        fastw2v.FastText.load_facebook_model(path)
    content[8 + 48 : 8 + 56] = np.float64(1).tobytes()
    path.write_bytes(content)
    assert fastw2v.FastText.load_facebook_model(path).sample == 0  # keeps all words, as -t 1 does
    content[8 + 7 * 4] = 3  # supervised
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.bin holds a classifier"):
        fastw2v.FastText.load_facebook_model(path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"min_n": -1}, "min_n = -1"),
        ({"max_n": 101}, r"max_n = 101 is not a Python integer in \[0, 100\]"),
        ({"bucket": 2**31}, "bucket = 2147483648"),
        ({"word_ngrams": 2}, "word_ngrams = 2: n-grams of words belong to classifiers"),
    ],
)
def test_refuses_settings(options, message):
    with pytest.raises(ValueError, match=message):
        fastw2v.FastText(**options)


def test_refuses_what_whole_words_alone_have(text):
    with pytest.raises(TypeError, match="'loss'"):
        fastw2v.FastText(text, loss="softmax")
    model = fastw2v.FastText(text, **OPTIONS)
    with pytest.raises(ValueError, match=r"trained on whole words by fastw2v\.Word2Vec"):
        model.loss = "softmax"
    with pytest.raises(AttributeError, match="cannot be changed after build_vocab"):
        model.bucket = 7
    with pytest.raises(TypeError, match=r"keras\.layers\.Embedding"):
        model.embedding_layer()


def test_ngrams_that_run_away_are_noticed(text):
    model = fastw2v.FastText(text, **OPTIONS)
    model.wv.vectors_ngrams[:] = np.nan
    with pytest.raises(ValueError, match="finite|diverges"):
        model.train()
