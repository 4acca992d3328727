"""Files of models: whoever wrote them, they are data, and what contradicts itself is refused."""

from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest

import fastw2v
from fastw2v import cli
from fastw2v.word2vec.vectors import WordVectors

TEXT = [["a", "b", "c", "d"], ["b", "c", "e"]] * 10
KINDS = {
    "negative": {},
    "softmax": {"loss": "softmax"},
    "sampled": {"loss": "sampled_softmax", "num_sampled": 2},
}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """The entries of a saved model of each kind: 5 words of width 4, one pass."""
    found = {}
    for kind, options in KINDS.items():
        model = fastw2v.Word2Vec(
            iter(TEXT), vector_size=4, min_count=1, sample=0, epochs=1, **options
        )
        path = tmp_path_factory.mktemp("models") / kind
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            found[kind] = {name: archive.read(name) for name in archive.namelist()}
    return found


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(description):
    text = description.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00v\x00" + text


def write(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def changed(entries, **values):
    """The entries with others in the place of some; a function changes the description."""
    entries = dict(entries)
    for name, value in values.items():
        if callable(value):
            description = json.loads(entries["description.json"])
            value(description)
            entries["description.json"] = json.dumps(description).encode()
        elif isinstance(value, bytes):
            entries[f"{name}.json" if f"{name}.json" in entries else f"{name}.npy"] = value
        elif value is None:
            del entries[f"{name}.npy"]
        else:
            entries[f"{name}.npy"] = npy(value)
    return entries


def settings(**values):
    return lambda description: description["settings"].update(values)


def state(**values):
    return lambda description: description["state"].update(values)


def run(**values):
    return lambda description: description["state"]["run"].update(values)


ROWS = np.ones((5, 4), np.float32)
DEEP = b"[" * 100_000 + b"]" * 100_000
REFUSED = {
    "rows too few": {"embeddings": ROWS[:3]},
    "rows too few in both": {"embeddings": ROWS[:3], "weights": ROWS[:3]},
    "rows too many": {"embeddings": np.ones((9, 4), "f4"), "weights": np.ones((9, 4), "f4")},
    "another width": {"weights": np.ones((5, 7), "f4")},
    "another vector_size": {"_": settings(vector_size=9)},
    "float64": {"embeddings": np.ones((5, 4))},
    "big-endian": {"embeddings": np.ones((5, 4), ">f4")},
    "integers": {"embeddings": np.ones((5, 4), "i4")},
    "a vector": {"embeddings": np.ones(20, "f4")},
    "text": {"embeddings": np.array([["a"] * 4] * 5)},
    "no weights": {"weights": None},
    "no embeddings": {"embeddings": None},
    "an unknown table": {"foo": ROWS},
    "biases too few": {"biases": np.ones(3, "f4")},
    "no words": {"embeddings": ROWS[:0], "weights": ROWS[:0], "words": b"[]",
                 "counts": np.zeros(0, np.int64)},
    "counts too few": {"counts": np.ones(3, np.int64)},
    "counts below 0": {"counts": -np.ones(5, np.int64)},
    "counts NaN": {"counts": np.full(5, np.nan)},
    "counts too large": {"counts": np.full(5, 2**62)},
    "counts of two axes": {"counts": np.ones((5, 1), np.int64)},
    "words twice": {"words": b'["a","a","b","c","d"]'},
    "words of dicts": {"words": b"[{},{},{},{},{}]"},
    "words of lists": {"words": b'[["a"],"b","c","d","e"]'},
    "words of floats": {"words": b"[1.5,2,3,4,5]"},
    "words of booleans": {"words": b'[true,"b","c","d","e"]'},
    "words a dict": {"words": b'{"a":1,"b":2,"c":3,"d":4,"e":5}'},
    "words a str": {"words": b'"abcde"'},
    "words null": {"words": b"null"},
    "words too few": {"words": b'["a","b","c","d"]'},
    "words no JSON": {"words": b"\xff"},
    "words deep": {"words": DEEP},
    "description a list": {"description": b"[]"},
    "description deep": {"description": DEEP},
    "description without settings": {"description": b'{"format":1}'},
    "another format": {"_": lambda description: description.update(format=2)},
    "an unknown setting": {"_": settings(foo=1)},
    "seed of text": {"_": settings(seed="x")},
    "settings that contradict": {"_": settings(hs=1, loss="softmax")},
    "no state": {"_": lambda description: description.pop("state")},
    "an unknown state": {"_": state(foo=1)},
    "losses of text": {"_": state(losses=["x"])},
    "losses too many": {"_": state(losses=[1.0, 2.0])},
    "sentences below 0": {"_": state(corpus_count=-1)},
    "epoch below 0": {"_": run(epoch=-5)},
    "epoch too large": {"_": run(epoch=7)},
    "no epochs": {"_": run(epochs=0)},
    "block below 0": {"_": run(epoch=0, block=-3)},
    "block too large": {"_": run(block=10**30)},
    "block beyond the text": {"_": run(block=10**6)},
    "first_epoch too large": {"_": run(first_epoch=2**40)},
    "alpha NaN": {"_": run(alpha=float("nan"))},
    "alpha of text": {"_": run(alpha="x")},
    "no text": {"_": run(num_words=0)},
    "words of a pass of text": {"_": run(words="x")},
    "a giant table": {"embeddings": npy_header(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000), }")},
    "a table below 0": {"embeddings": npy_header(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-5, -4), }")},
    "a table of objects": {"embeddings": npy_header(
        "{'descr': '|O', 'fortran_order': False, 'shape': (5, 4), }") + b"cos\nsystem\n."},
    "a table with more behind it": {"embeddings": npy(ROWS) + b"more"},
    "no header": {"embeddings": b"\x93NUMPY\x01\x00\x04\x00{{((" },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_contradicts_itself_is_refused(kind, entries, tmp_path):
    path = tmp_path / "x.model"
    for name, values in REFUSED.items():
        write(path, changed(entries[kind], **values))
        with pytest.raises(ValueError, match="x.model") as caught:
            fastw2v.Word2Vec.load(path)
        assert "\n" not in str(caught.value), name
    assert os.listdir(tmp_path) == ["x.model"]


def test_the_softmax_has_biases(entries, tmp_path):
    path = tmp_path / "x.model"
    write(path, changed(entries["negative"], _=settings(loss="softmax")))
    with pytest.raises(ValueError, match="it has no table 'biases'"):
        fastw2v.Word2Vec.load(path)


def test_a_description_names_no_file(entries, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim").write_text("precious")
    for extra in (
        {"sentences": TEXT, "checkpoint": "victim"},
        {"corpus_file": "victim", "cache": "leak", "tensorboard": "logs"},
        {"cache": "leak"},
        {"callbacks": []},
    ):
        write("x.model", changed(entries["negative"], _=settings(**extra)))
        with pytest.raises(ValueError, match="x.model .*which this version does not know"):
            fastw2v.Word2Vec.load("x.model")
    assert sorted(os.listdir()) == ["victim", "x.model"]
    assert (tmp_path / "victim").read_text() == "precious"


def test_archives_that_are_not_as_they_are_written(entries, tmp_path):
    path = tmp_path / "x.model"
    write(path, {**entries["negative"], "words.json": b" " * 2**26}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"x\.model .* would expand to 67,\d+,\d+, more than"):
        fastw2v.Word2Vec.load(path)
    write(path, entries["negative"], zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match=r"x\.model .* compressed in a way"):
        fastw2v.Word2Vec.load(path)
    write(path, entries["negative"])
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("words.json", b"[]")
    with pytest.raises(ValueError, match=r"x\.model .* an entry occurs twice"):
        fastw2v.Word2Vec.load(path)


def test_bytes_that_are_changed_anywhere(entries, tmp_path):
    """An error is a ValueError of one line that names the file, for models and for vectors."""
    path, rng = tmp_path / "x.model", np.random.default_rng(0)
    write(path, entries["negative"])
    whole = path.read_bytes()
    for _ in range(150):
        content = bytearray(whole)
        content[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(content)
        for load in (fastw2v.Word2Vec.load, WordVectors.load):
            try:
                load(path)
            except ValueError as error:
                assert "x.model" in str(error) and "\n" not in str(error)


def test_words_that_are_integers(entries, tmp_path):
    path = tmp_path / "x.model"
    write(path, changed(entries["negative"], words=b'[7,"7",-1,0,"e"]'))
    model = fastw2v.Word2Vec.load(path)
    assert model.vocabulary.words == [7, "7", -1, 0, "e"]
    model.save(tmp_path / "again")
    assert WordVectors.load(tmp_path / "again").words == [7, "7", -1, 0, "e"]


@pytest.mark.parametrize("name", ["words.model", "v.txt.checkpoint", "words", "words.npz", "v.txt"])
def test_vectors_of_a_model_are_read_under_any_name(name, entries, tmp_path, capsys):
    write(tmp_path / name, entries["negative"])
    assert cli.main(["neighbors", str(tmp_path / name), "b"]) == 0
    assert set("acde") <= set(capsys.readouterr().out.split())
    loaded = WordVectors.load(tmp_path / name)
    model = fastw2v.Word2Vec.load(tmp_path / name)
    assert loaded.words == model.vocabulary.words
    np.testing.assert_array_equal(loaded.vectors, model.wv.vectors)
    np.testing.assert_array_equal(loaded.counts, model.vocabulary.counts)
    assert len(WordVectors.load(tmp_path / name, limit=2)) == 2
    with pytest.raises(
        ValueError, match="is not of the format gensim, but that of a model of fast"
    ):
        WordVectors.load(tmp_path / name, "gensim")
    write(tmp_path / name, changed(entries["negative"], embeddings=ROWS * np.float32(np.nan)))
    with pytest.raises(ValueError, match="the vector of word 1, 'b', holds a number that is not"):
        WordVectors.load(tmp_path / name)
