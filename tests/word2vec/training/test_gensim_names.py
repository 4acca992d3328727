"""What gensim's users write: arguments, attributes, methods, and what they are told."""

from __future__ import annotations

import inspect
import logging

import gensim.models
import numpy as np
import pytest

import fastw2v

TEXT = [["red", "green", "blue"], ["one", "two", "three"]] * 200
SMALL = {"vector_size": 8, "sample": 0, "epochs": 2}


@pytest.fixture(scope="module")
def model():
    return fastw2v.Word2Vec(TEXT, **SMALL, alpha=0.1)


@pytest.mark.parametrize("method", ["__init__", "train", "build_vocab", "build_vocab_from_freq"])
def test_arguments_are_those_of_gensim(method):
    """All names, in gensim's order, and its defaults where an argument decides anything."""
    theirs = inspect.signature(getattr(gensim.models.Word2Vec, method)).parameters
    ours = inspect.signature(getattr(fastw2v.Word2Vec, method)).parameters
    names = [name for name, each in theirs.items() if each.kind == each.POSITIONAL_OR_KEYWORD]
    own = [name for name, each in ours.items() if each.kind == each.POSITIONAL_OR_KEYWORD]
    if "corpus_iterable" in names:
        assert "corpus_iterable" in ours
        names[names.index("corpus_iterable")] = "sentences"
    assert own == names
    no_meaning_here = {"workers", "hashfxn", "batch_words", "compute_loss", "progress_per"}
    for name in set(names) - no_meaning_here - {"sentences"}:
        assert ours[name].default == theirs[name].default, name


def test_public_names_of_gensim():
    """Each is there, or the error says what to write."""
    model, theirs = fastw2v.Word2Vec(TEXT, **SMALL), gensim.models.Word2Vec(TEXT, **SMALL)
    for name in dir(theirs):
        if name.startswith("_") or name in ("load", "syn1"):
            continue
        try:
            getattr(model, name)
        except AttributeError as error:
            assert str(error).startswith(f"{name} is "), name


def test_arguments_without_a_meaning_here():
    fastw2v.Word2Vec(
        *([TEXT, None, 8, 0.025, 5, 0, None, 0, 1, -1, 0.0001, 0, 0, 5, 0.75, 1, hash, 1, 0, None]),
        *(1, 10000, False, [], "a comment", None, True),
    )
    model = fastw2v.Word2Vec(compute_loss=True, callbacks=[], min_count=1.0, sg=True, sample=None)
    assert (model.min_count, model.sg, model.sample, model.vector_size) == (1, 1, 0, 100)
    model.build_vocab(corpus_iterable=iter(TEXT), progress_per=10000, keep_raw_vocab=True)
    found = model.train(
        corpus_iterable=iter(TEXT), total_examples=400, epochs=2, report_delay=1, queue_factor=4
    )
    assert found == (2400, 2400)
    assert model.train([*TEXT, ["unknown"] * 50], epochs=1) == (1200, 1250)
    with pytest.raises(ValueError, match="there is no word for padding, and words are always sor"):
        fastw2v.Word2Vec(sorted_vocab=0)
    with pytest.raises(ValueError, match="sentences and corpus_iterable are one argument"):
        model.train(TEXT, corpus_iterable=TEXT)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        *(("size", "vector_size"), ("iter", "epochs"), ("vectorsize", "vector_size")),
        *(("windows", "window"), ("chekpoint", "checkpoint"), ("corpus_iterable", "sentences")),
        ("color", None),
    ],
)
def test_unknown_arguments_are_refused_before_the_text_is_read(name, right):
    read = []
    sentences = (read.append(1) or words for words in TEXT)
    hint = "$" if right is None else f"; did you mean '{right}'"
    for text in (sentences, None):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'{hint}"):
            fastw2v.Word2Vec(text, **{name: 10})
    assert not read


def test_arguments_that_need_a_text():
    with pytest.raises(TypeError, match="report is given, but no text .*: give it to train"):
        fastw2v.Word2Vec(report=print)
    with pytest.raises(TypeError, match="pretrained is given, but no .*: give it to build_vocab"):
        fastw2v.Word2Vec(pretrained="vectors.txt")
    with pytest.raises(TypeError, match="trim_rule is given, but no .*: give it to build_vocab"):
        fastw2v.Word2Vec(trim_rule=lambda word, count, min_count: 0)


def test_callbacks_with_some_of_the_methods():
    calls = []

    class Callback:
        def on_epoch_end(self, model):
            calls.append(len(model.losses))

    model = fastw2v.Word2Vec(**SMALL, callbacks=[Callback()])
    model.build_vocab(TEXT)
    model.train(TEXT)
    assert calls == [1, 2]
    model.train(TEXT, epochs=1, callbacks=[object()])  # in the place of the others
    assert calls == [1, 2]


def test_text_of_a_model(model):
    assert str(model) == repr(model) == "Word2Vec<vocab=6, vector_size=8, alpha=0.1>"
    assert str(fastw2v.Word2Vec()) == "Word2Vec<vocab=0, vector_size=100, alpha=0.025>"


def test_log(caplog, tmp_path):
    with caplog.at_level(logging.INFO, "fastw2v"):
        model = fastw2v.Word2Vec(TEXT, **SMALL)
        model.save(tmp_path / "model")
    text = caplog.text
    for line in (
        *("read 1,200 words in 400 sentences", "the vocabulary has 6 words"),
        *("on 1,200 words, 2 passes", "end of epoch 1 of 2, ", "end of epoch 2 of 2, "),
        *("trained on 2,400 words in ", "saved Word2Vec<vocab=6, "),
    ):
        assert line in text
    assert all(record.name.startswith("fastw2v.word2vec.") for record in caplog.records)


def test_weights_under_gensims_names(model):
    np.testing.assert_array_equal(model.syn1neg, model.weights.numpy())
    with pytest.raises(AttributeError, match="syn1 are the weights of hierarchical softmax, and"):
        model.syn1  # noqa: B018
    other = fastw2v.Word2Vec(**SMALL, hs=1, negative=0)
    with pytest.raises(AttributeError, match="there is no syn1 before build_vocab"):
        other.syn1  # noqa: B018
    other.build_vocab(TEXT)
    other.syn1[0] = 3
    np.testing.assert_array_equal(other.weights[0], np.full(8, 3))
    other.syn1 = np.ones((6, 8))
    assert (other.weights.numpy() == 1).all()
    assert other.layer1_size == 8 and other.train_count == 0


def test_noise_is_that_of_gensim():
    theirs = gensim.models.Word2Vec(min_count=1)
    ours = fastw2v.Word2Vec(min_count=1)
    for each in (theirs, ours):
        each.build_vocab_from_freq({"often": 900, "now and then": 70, "seldom": 2, "once": 1})
    np.testing.assert_array_equal(ours.cum_table, theirs.cum_table)


def test_words_that_are_predicted():
    model = fastw2v.Word2Vec(TEXT, **SMALL | {"epochs": 20}, alpha=0.1)
    found = model.predict_output_word(["one", "unknown", "two"], topn=6)
    hidden = (model.wv["one"] + model.wv["two"]) / 2
    likely = np.exp(model.syn1neg @ hidden)
    likely /= likely.sum()
    assert found[0][0] == "three"
    for word, probability in found:
        assert probability == pytest.approx(likely[model.vocabulary.index[word]], rel=1e-4)
    rows = [model.vocabulary.index[word] for word in ("one", "two")]
    assert model.predict_output_word(rows, topn=6) == found
    assert model.predict_output_word(["unknown"]) is None
    never = fastw2v.Word2Vec(**SMALL)
    never.build_vocab(TEXT)
    with pytest.raises(RuntimeError, match="the model was never trained"):
        never.predict_output_word(["one"])
    with pytest.raises(RuntimeError, match="which hierarchical softmax has not"):
        fastw2v.Word2Vec(hs=1, negative=0).predict_output_word(["one"])


@pytest.mark.parametrize("sg", [0, 1])
def test_scores_are_sums_of_log_probabilities(sg):
    options = SMALL | {"loss": "softmax", "window": 2, "sg": sg, "sample": 1e-3}
    model = fastw2v.Word2Vec(TEXT, **options)
    embeddings, weights = model.embeddings.numpy(), model.weights.numpy()
    sentence = ["one", "red", "unknown", "two", "three"]
    ids = [model.vocabulary.index[word] for word in sentence if word in model.wv]
    expected = 0.0
    for place, word in enumerate(ids):
        around = ids[max(place - 2, 0) : place] + ids[place + 1 : place + 3]
        hidden = embeddings[around] if sg else embeddings[around].mean(axis=0, keepdims=True)
        logits = hidden @ weights.T + model.biases.numpy()
        expected += (logits[:, word] - np.log(np.exp(logits).sum(axis=1))).sum()
    scores = model.score([sentence, ["one"], [], ["unknown", "one"]])
    np.testing.assert_allclose(scores, [expected, 0, 0, 0], rtol=1e-5)
    assert scores.dtype == np.float32
    assert model.score(iter([sentence] * 9), total_sentences=2).shape == (2,)
    tree = fastw2v.Word2Vec(**SMALL, hs=1, negative=0)
    tree.build_vocab([["a", "b"]] * 5)
    np.testing.assert_allclose(tree.score([["a", "b"]]), [-2 * np.log(2)], rtol=1e-5)


def test_counts_in_the_place_of_a_text():
    model = fastw2v.Word2Vec(vector_size=8, min_count=2)
    model.build_vocab_from_freq({"graph": 3, "tree": 2, "rare": 1}, corpus_count=7)
    assert model.vocabulary.words == ["graph", "tree"]
    assert (model.corpus_count, model.corpus_total_words) == (7, 6)
    model.build_vocab_from_freq({"tree": 1, "new": 4}, update=True)
    assert model.vocabulary.words == ["graph", "tree", "new"]
    assert model.vocabulary.counts.tolist() == [3, 3, 4]
    with pytest.raises(ValueError, match="no word occurs at least min_count = 2 times"):
        model.build_vocab_from_freq({"once": 1})


def test_vocabulary_of_another_model(model):
    other = fastw2v.Word2Vec([["a", "b"]] * 9, vector_size=3, sample=0)
    other.reset_from(model)
    assert other.vocabulary.words == model.vocabulary.words and other.wv.vectors.shape == (6, 3)
    assert other.corpus_count == 400 and other.losses == []
    with pytest.raises(RuntimeError, match="no vocabulary yet"):
        other.reset_from(fastw2v.Word2Vec())


def test_memory(model):
    parts = model.estimate_memory(1000)
    assert parts["vectors"] == parts["syn1neg"] == 32_000
    assert parts["total"] == parts["vocab"] + 64_000
    assert model.estimate_memory(report={"other": 5})["other"] == 5


def test_old_names_say_what_to_write(model):
    for call, message in (
        (lambda: model["red"], r"write model\.wv\['red'\]"),
        (lambda: "red" in model, r"write 'red' in model\.wv"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    for name, message in (
        ("most_similar", r"write model\.wv\.most_similar"),
        ("scan_vocab", r"call model\.build_vocab\(sentences\)"),
        ("vectors", "'Word2Vec' object has no attribute 'vectors'"),
    ):
        with pytest.raises(AttributeError, match=message):
            getattr(model, name)
    with pytest.raises(AttributeError, match=r"write model = Word2Vec\.load\(path\)"):
        model.load("path")
    with pytest.warns(DeprecationWarning, match="init_sims is not needed"):
        model.init_sims()
