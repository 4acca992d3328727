"""The table of settings, settings that are assigned to a model, and what is refused."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import fastw2v
from fastw2v.word2vec.training import Settings
from fastw2v.word2vec.training.settings import TABLE

TEXT = [["red", "green", "blue"], ["one", "two", "three", "red"]] * 50
OPTIONS = {"vector_size": 8, "sample": 0, "deterministic": True, "seed": 3}


def built(**options):
    model = fastw2v.Word2Vec(**OPTIONS | options)
    model.build_vocab(TEXT)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 0.1, "min_alpha": 0.05},
        {"epochs": 2},
        {"window": 1},
        {"negative": 2},
        {"sample": 0.01},
        {"ns_exponent": 0.0},
        {"cbow_mean": 0},
        {"shrink_windows": False},
    ],
    ids=str,
)
def test_next_training_follows(changes, tmp_path):
    """It gives the bits of a model that was made with these settings."""
    expected = built(**changes)
    expected.train()
    model, other = built(), built()
    for name, value in changes.items():
        setattr(model, name, value)
        assert getattr(model, name) == getattr(model.settings, name) == value
    model.save(tmp_path / "model")
    model.train()
    other.train()
    assert model.embeddings.numpy().tobytes() == expected.embeddings.numpy().tobytes()
    assert model.embeddings.numpy().tobytes() != other.embeddings.numpy().tobytes()
    loaded = fastw2v.Word2Vec.load(tmp_path / "model")
    assert loaded.settings == model.settings
    loaded.train(TEXT)
    assert loaded.embeddings.numpy().tobytes() == expected.embeddings.numpy().tobytes()


def test_rate_of_gensims_tutorials():
    """A loop that lowers the rate itself."""
    model = built(epochs=1)
    rates = []
    for _ in range(3):
        model.train(report=lambda now: rates.append(now.learning_rate))
        model.alpha -= 0.002
        model.min_alpha = model.alpha
    assert rates[-1] == pytest.approx(0.021) and model.alpha == pytest.approx(0.019)
    model.alpha = model.min_alpha = 0.0
    before = model.embeddings.numpy()
    model.train()
    np.testing.assert_array_equal(model.embeddings, before)


def test_settings_of_the_tables_stay():
    model = fastw2v.Word2Vec(**OPTIONS)
    model.vector_size, model.sg, model.loss = 4, 1, "softmax"
    model.build_vocab(TEXT)
    assert model.embeddings.shape == [6, 4] and model.biases is not None
    model.vector_size = 4  # as it is
    for name, value in (("vector_size", 8), ("sg", 0), ("loss", None)):
        with pytest.raises(AttributeError, match=f"{name} is .* cannot be changed after build_voc"):
            setattr(model, name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("alpha", -1.0), ("epochs", 0), ("window", 2.5), ("negative", 0), ("seed", -1)),
        *(("min_count", float("nan")), ("vector_size", True), ("workers", -2)),
    ],
)
def test_refused(name, value):
    model = built()
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        setattr(model, name, value)
    assert getattr(model, name) == getattr(Settings(**OPTIONS), name)


def test_defaults_are_those_of_the_settings():
    model = fastw2v.Word2Vec()
    assert model.settings == Settings()
    assert {name: getattr(model, name) for name in vars(Settings())} == vars(Settings())
    assert model.sg == 0


@pytest.mark.parametrize("name", TABLE)
def test_each_setting_is_an_argument_with_its_default_and_is_told_of(name):
    setting = TABLE[name]
    parameter = inspect.signature(fastw2v.Word2Vec).parameters[name]
    assert parameter.default == setting.default == setting.checked(setting.default)
    assert type(parameter.default) is type(setting.default)
    assert setting.help and "\n" not in setting.help
    # From Python 3.13 on docstrings have no common indentation.
    documented = inspect.getdoc(fastw2v.Word2Vec)
    arguments = documented.split("\nArgs:\n")[1].split("\nAttributes:\n")[0]
    assert re.search(rf"^ {{4}}(\w+, )*{name}(, \w+)*: ", arguments, re.MULTILINE)


@pytest.mark.parametrize("name", TABLE)
def test_ends_of_each_range(name):
    setting = TABLE[name]
    if setting.choices:
        assert [setting.checked(choice) for choice in setting.choices] == list(setting.choices)
        outside = ["none of them", 0]
    elif setting.kind is int:
        for value in (setting.low, setting.high, float(setting.low), np.int32(setting.low)):
            assert type(setting.checked(value)) is int and setting.checked(value) == value
        outside = [setting.high + 1, setting.low + 0.5, "1", [1]]
        outside += [setting.low - 1] if setting.low - 1 not in setting.means else []
    elif setting.kind is float:
        assert setting.checked(0) == 0.0 and type(setting.checked(0)) is float
        outside = [setting.high, "1", [1.0], float("nan")]
        outside += [setting.low - 1] if setting.low > -np.inf else [-np.inf]
    else:
        outside = []
    for value in outside:
        with pytest.raises(ValueError, match=f"^{name} = .* is not "):
            setting.checked(value)
        with pytest.raises(ValueError, match="^other = .* is not "):
            setting.checked(value, "other")


def test_values_that_stand_for_others():
    settings = Settings(sample=None, workers=-1, sg=True, hs=False, shrink_windows=0)
    assert settings.sample == 0.0 and settings.workers is None
    assert (settings.sg, settings.hs, settings.shrink_windows) == (1, 0, False)
    assert Settings(workers=0).workers is None and type(settings.sg) is int


IMPOSSIBLE = {
    "out of its range": ({"negative": -1}, ValueError, "negative = -1 is not"),
    "a contradiction": ({"hs": 1, "loss": "softmax"}, ValueError, "hs = 1 and loss"),
    "unknown": ({"negatives": 5}, TypeError, "unexpected .* 'negatives'; did you mean 'negative'?"),
    "gensim 3's": ({"size": 5}, TypeError, "unexpected .* 'size'; did you mean 'vector_size'?"),
    "threads": ({"workers": 1025}, ValueError, r"workers = 1025 is not .* in \[1, 1024\]"),
    "no padding": ({"null_word": 1}, ValueError, "null_word = 1"),
    "no rule": ({"trim_rule": 2}, TypeError, "trim_rule = 2 is no function"),
    "no report": ({"report": True}, TypeError, "report = True is no function"),
    "no callbacks": ({"callbacks": print}, TypeError, "not iterable"),
    "no text": ({"evaluate": 5}, TypeError, "not iterable"),
    "no time": ({"max_seconds": 0}, ValueError, "max_seconds = 0 is not above 0"),
    "backwards": ({"checkpoint_every": -1}, ValueError, "checkpoint_every = -1 is not"),
    "nothing before": ({"resume": True}, ValueError, "there is no training to resume"),
    "no directory": ({"checkpoint": "/nowhere/model"}, OSError, "checkpoint /nowhere/model"),
    "no vectors": ({"pretrained": "/nowhere/v.txt"}, OSError, "/nowhere/v.txt"),
    "two texts": ({"corpus_file": "text.txt"}, ValueError, "give either sentences or corpus_file"),
}


@pytest.mark.parametrize(("options", "error", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_refused_before_a_text_is_read(options, error, message):
    text = iter(TEXT)
    with pytest.raises(error, match=message):
        fastw2v.Word2Vec(sentences=text, **OPTIONS | options)
    assert len(list(text)) == len(TEXT)


@pytest.mark.parametrize(
    ("method", "options", "error", "message"),
    [
        ("build_vocab", {"trim_rule": 2}, TypeError, "trim_rule = 2 is no function"),
        ("build_vocab", {"workers": 1025}, ValueError, "workers = 1025 is not"),
        ("build_vocab", {"min_count": -1}, ValueError, "min_count = -1 is not"),
        ("train", {"epochs": 0}, ValueError, "epochs = 0 is not"),
        ("train", {"start_alpha": -1.0}, ValueError, "start_alpha = -1.0 is not"),
        ("train", {"end_alpha": "no"}, ValueError, "end_alpha = 'no' is not"),
        ("train", {"workers": 1025}, ValueError, "workers = 1025 is not"),
        ("train", {"resume": True}, ValueError, "there is no training to resume"),
        ("train", {"report": 5}, TypeError, "report = 5 is no function"),
    ],
)
def test_methods_refuse_before_a_text_is_read(method, options, error, message):
    model, text = built(), iter(TEXT)
    with pytest.raises(error, match=message):
        getattr(model, method)(text, **options)
    assert len(list(text)) == len(TEXT)
