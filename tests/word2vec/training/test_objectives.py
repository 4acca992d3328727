"""Hierarchical softmax and negative sampling trained together."""

from __future__ import annotations

import numpy as np
import pytest

import fastw2v

TEXT = [["red", "green", "blue"], ["one", "two", "three"]] * 200
SMALL = {"vector_size": 8, "min_count": 1, "sample": 0, "workers": 1}
TABLES = ("embeddings", "weights", "node_weights")


def tables(model):
    return {name: getattr(model, name).numpy() for name in TABLES if hasattr(model, name)}


@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_steps_of_a_softmax_are_short_where_words_are_few(loss, sg):
    """One word is most of the text, each example has it in its window: updates of it add up."""
    text = [["often"] * 20 + [f"w{k % 7}", "often", f"w{k % 5}"] for k in range(20)]
    options = {"vector_size": 16, "window": 20, "alpha": 0.1, "epochs": 3, "num_sampled": 4}
    model = fastw2v.Word2Vec(text, **SMALL | options, loss=loss, sg=sg)
    for table in (model.embeddings, model.weights):
        assert np.linalg.norm(table.numpy(), axis=1).max() < 30
    assert max(model.losses) < np.log(len(model.vocabulary))


@pytest.mark.parametrize("sg", [0, 1])
def test_updates_are_those_of_both(sg, tmp_path):
    """To first order: each with the other's weights as they are, at a small rate."""
    both = fastw2v.Word2Vec(TEXT, **SMALL, hs=1, sg=sg, alpha=0.1)
    options = {"total_examples": len(TEXT), "epochs": 1}
    rates = {"start_alpha": 1e-5, "end_alpha": 1e-5}
    before = tables(both)
    steps, losses = {}, {}
    for name, changes in (("tree", {"negative": 0}), ("noise", {"hs": 0})):
        alone = fastw2v.Word2Vec(**SMALL | {"hs": 1, "sg": sg} | changes)
        alone.build_vocab(TEXT)
        alone.embeddings.assign(before["embeddings"])
        alone.weights.assign(before["node_weights" if name == "tree" else "weights"])
        alone._state.losses = list(both.losses)  # so that it draws what `both` draws
        alone.train(TEXT, **options, **rates)
        steps[name] = alone.embeddings.numpy() - before["embeddings"]
        losses[name] = alone.losses[-1]
    both.train(TEXT, **options, **rates)
    step = both.embeddings.numpy() - before["embeddings"]
    assert np.abs(steps["tree"]).max() > 1e-5 and np.abs(steps["noise"]).max() > 1e-5
    np.testing.assert_allclose(step, steps["tree"] + steps["noise"], rtol=0.02, atol=3e-6)
    assert both.losses[-1] == pytest.approx(losses["tree"] + losses["noise"], rel=1e-3)


def test_what_they_leave(tmp_path, caplog):
    model = fastw2v.Word2Vec(TEXT, **SMALL, hs=1, epochs=20)
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert warning.startswith("hs = 1 and negative = 5: both losses are trained; with negative = 0")
    assert model.predict_output_word(["one", "two"], topn=1)[0][0] == "three"
    assert -0.7 < model.evaluate([["red", "green", "blue"]]) <= 0
    np.testing.assert_array_equal(model.syn1, model.node_weights)
    np.testing.assert_array_equal(model.syn1neg, model.weights)
    assert model.estimate_memory()["syn1"] == model.estimate_memory()["syn1neg"] == 6 * 8 * 4

    model.save(tmp_path / "model")
    loaded = fastw2v.Word2Vec.load(tmp_path / "model")
    for each in (model, loaded):
        each.train(TEXT, total_examples=len(TEXT), epochs=1)
    for name, table in tables(model).items():
        np.testing.assert_array_equal(getattr(loaded, name), table)

    with pytest.raises(AttributeError, match="negative is 5 and decides what the tables"):
        model.negative = 0
    model.negative = 7
    model.build_vocab([["red", "pink"]] * 9, update=True)
    assert model.syn1.shape == (7, 8) and not model.syn1.any() and model.syn1neg[:6].all()
