"""Files of gensim: read as gensim reads them, and nothing in them runs."""

from __future__ import annotations

import collections
import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import gensim
import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

import fastw2v
from fastw2v import cli
from fastw2v.word2vec.vectors import WordVectors, formats
from fastw2v.word2vec.vectors.formats import gensim_files

OLD = Path(gensim.__file__).parent / "test" / "test_data"
TEXT = [["to", "be", "or", "not", "to", "be"]] * 5


@pytest.fixture(scope="module")
def model():
    return Word2Vec(TEXT, vector_size=4, min_count=1, sg=1, negative=3, epochs=2, window=3)


def assert_same(loaded, keyed):
    assert loaded.words == keyed.index_to_key
    np.testing.assert_array_equal(loaded.vectors, keyed.vectors)
    counts = [keyed.get_vecattr(word, "count") for word in keyed.index_to_key]
    np.testing.assert_array_equal(loaded.counts, counts)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["x.kv", "x.model", "words", "x.kv.gz", "x.vectors"])
def test_loads_what_gensim_saves(name, protocol, model, tmp_path):
    path = str(tmp_path / name)
    for saved in (model, model.wv):
        saved.save(path, pickle_protocol=protocol)
        loaded = WordVectors.load(path)
        assert_same(loaded, model.wv)
        assert loaded.vectors.flags.writeable
    assert len(WordVectors.load(path, limit=2)) == 2


@pytest.mark.parametrize("name", ["x.kv", "x.kv.gz"])
def test_arrays_in_files_of_their_own(name, model, tmp_path):
    path = str(tmp_path / name)
    model.wv.save(path, separately=["vectors"])
    assert_same(WordVectors.load(path), model.wv)
    model.save(path, sep_limit=1)
    assert_same(WordVectors.load(path), model.wv)
    apart = gensim_files.read_model(path)
    np.testing.assert_array_equal(apart.syn1neg, model.syn1neg)
    stored = [entry for entry in os.listdir(tmp_path) if ".vectors." in entry]
    assert stored
    for entry in stored:
        os.unlink(tmp_path / entry)
    with pytest.raises(FileNotFoundError):
        WordVectors.load(path)


def test_an_array_beside_the_file_is_read_without_pickles(model, tmp_path):
    path = tmp_path / "x.kv"
    model.wv.save(str(path), separately=["vectors"])
    beside = tmp_path / "x.kv.vectors.npy"
    mapped = formats.read(path, mmap="r").vectors
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, model.wv.vectors)
    whole = beside.read_bytes()
    np.save(beside, np.array([["a"]], object))
    with pytest.raises(ValueError, match="x.kv is not a file of gensim, or is damaged: .*object"):
        WordVectors.load(path)
    for content in (b"", b"\x93NUMPY", whole[:-1], whole + b" ", whole.replace(b"4,", b"-4")):
        beside.write_bytes(content)
        with pytest.raises(ValueError, match="x.kv is not a file of gensim, or is damaged"):
            WordVectors.load(path)


@pytest.mark.parametrize(
    "name", ["model-from-gensim-3.8.0.w2v", "word2vec_3.3", "word2vec_old_sep",
             "old_keyedvectors_320.dat", "old_w2v_models/w2v_2.3.0.mdl"],
)  # fmt: skip
def test_files_of_earlier_versions(name):
    keyed = KeyedVectors.load(str(OLD / name))
    assert_same(WordVectors.load(OLD / name), getattr(keyed, "wv", keyed))


def test_counts_and_other_attributes(tmp_path):
    keyed = KeyedVectors(2)
    keyed.add_vectors(["a", "b"], np.eye(2, dtype=np.float32))
    keyed.set_vecattr("a", "weight", 0.5)
    keyed.save(str(tmp_path / "x.kv"))
    contents = formats.read(tmp_path / "x.kv")
    assert contents.counts is None and contents.attributes["weight"].tolist() == [0.5, 0]


def test_words_that_are_integers(tmp_path):
    Word2Vec([[3, 1, 2, 3]] * 5, vector_size=2, min_count=1).save(str(tmp_path / "x.model"))
    assert WordVectors.load(tmp_path / "x.model").words == [3, 2, 1]


def test_words_of_other_types(tmp_path):
    path = str(tmp_path / "x.kv")
    words = [(1, "a"), 2.5, b"b", "c", 4]
    keyed = KeyedVectors(2, count=7)  # two rows have no word yet
    keyed.add_vectors(words, np.arange(10, dtype=np.float32).reshape(5, 2))
    keyed.save(path)
    loaded = WordVectors.load(path)
    assert loaded.words == words
    assert loaded.vectors.ravel().tolist() == list(range(10))
    keyed = KeyedVectors(1)
    keyed.add_vectors([((1, 2), 3)], np.ones((1, 1), np.float32))
    keyed.save(path)
    with pytest.raises(ValueError, match=r"x\.kv .*neither a string, a number nor a tuple of such"):
        WordVectors.load(path)


def test_a_model_of_gensim_is_trained_on(model, tmp_path):
    path = str(tmp_path / "x.model")
    model.save(path)
    loaded = fastw2v.Word2Vec.load(path)
    settings = loaded.settings
    assert (settings.sg, settings.negative, settings.epochs, settings.window) == (1, 3, 2, 3)
    assert_same(loaded.wv, model.wv)
    np.testing.assert_array_equal(loaded.weights, model.syn1neg)
    assert loaded.corpus_count == 5 and loaded.corpus_total_words == 30
    before = loaded.wv.vectors.copy()
    loaded.train(iter(TEXT * 20), epochs=1)
    assert not np.array_equal(loaded.wv.vectors, before)
    loaded.save(tmp_path / "again")
    assert fastw2v.Word2Vec.load(tmp_path / "again").vocabulary.words == loaded.vocabulary.words


def test_what_cannot_be_trained_on(model, tmp_path):
    path = str(tmp_path / "x.model")
    model.wv.save(path)
    with pytest.raises(ValueError, match=r"x\.model .*KeyedVectors, not a model of Word2Vec"):
        fastw2v.Word2Vec.load(path)
    Word2Vec(TEXT, vector_size=4, min_count=1, hs=1, negative=0).save(path)
    with pytest.raises(ValueError, match=r"x\.model .*gensim's own Huffman tree \(hs = 1\)"):
        fastw2v.Word2Vec.load(path)
    assert len(WordVectors.load(path)) == 4


# ---- Nothing runs --------------------------------------------------------------------------------


class Payload:
    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def test_code_in_a_file_does_not_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {
        "posix.system": Payload(os.system, "touch marker"),
        "subprocess.Popen": Payload(subprocess.Popen, ["touch", "marker"]),
        "builtins.eval": Payload(eval, "open('marker', 'w')"),
        "builtins.getattr": Payload(getattr, "text", "upper"),
        "collections.Counter": Payload(collections.Counter, "ab"),
    }
    for name, payload in names.items():
        for protocol in range(2, 6):
            content = pickle.dumps({"vectors": payload}, protocol)
            if protocol == 2:
                name = name.replace("builtins", "__builtin__")
            Path("x.kv").write_bytes(content)
            for load in (WordVectors.load, fastw2v.Word2Vec.load):
                with pytest.raises(ValueError, match="x.kv .*it names") as caught:
                    load("x.kv")
                assert name in str(caught.value) or "marker" not in str(caught.value)
        assert cli.main(["neighbors", "x.kv", "word"]) == 2
        assert "error: x.kv is not a file of gensim" in capsys.readouterr().err
    assert os.listdir() == ["x.kv"]


def op(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


def name_of(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def test_names_that_are_allowed_call_nothing(tmp_path):
    """The names of gensim and NumPy are no way to what they lead to."""
    path = tmp_path / "x.kv"
    hash_of = name_of("builtins", "hash")
    for content in (
        op(name_of("numpy", "ndarray"), b"(K\x05tR"),
        op(name_of("gensim.models.word2vec", "Word2Vec.load"), b"(\x8c\x01atR"),
        op(b"\x8c\x05numpy\x8c\x0cndarray.dump\x93"),
        op(name_of("gensim.utils", "unpickle"), b"(\x8c\x01atR"),
        op(hash_of, b"}\x8c\x08__call__K\x01sb"),  # attributes of a function
        op(b"(", hash_of, b"o"),
        b"\x80\x02(ios\nsystem\n.",
        op(b"\x82\x01"),
        op(b"(K\x01K\x02tQ"),
        op(hash_of, b"N}\x92"),
        op(b"}N\x85", b"\x94h\x00h\x00\x86" * 60, b"Ns"),  # a key that takes for ever to compare
        op(b"}(N\x85", b"\x94h\x00h\x00\x86" * 60, b"Nu"),
        op(b"\x8f(N\x90"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.kv is not a file of gensim, or is damaged"):
            WordVectors.load(path)


def test_numbers_in_a_file_do_not_ask_for_memory(tmp_path):
    path = tmp_path / "x.kv"
    for content in (
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # the place of what is kept: C's unpickler makes a table
        op(b"\x8d" + (2**62).to_bytes(8, "little")),
        op(b"\x8e" + (2**40).to_bytes(8, "little")),
        op(b"\x96" + (2**40).to_bytes(8, "little")),
        op(b"\x95" + (2**40).to_bytes(8, "little") + b"N"),
        op(b"\x8b\xff\xff\xff\x7f"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.kv is not a file of gensim, or is damaged"):
            WordVectors.load(path)
    with gzip.open(path, "wb", 1) as file:
        file.write(op(b"\x8e" + (2**26).to_bytes(8, "little"), b"\0" * 2**26))
    with pytest.raises(ValueError, match=r"x\.kv .*it expands to more than 67,108,864 bytes"):
        WordVectors.load(path)


@pytest.mark.parametrize("kind", ["vectors", "model"])
def test_bytes_that_are_changed_anywhere(kind, model, tmp_path):
    """An error is a ValueError of one line that names the file."""
    path, rng = tmp_path / "x.kv", np.random.default_rng(0)
    for protocol in (2, 4):
        (model if kind == "model" else model.wv).save(str(path), pickle_protocol=protocol)
        whole = path.read_bytes()
        for _ in range(150):
            content = bytearray(whole)
            content[rng.integers(2, len(whole))] = rng.integers(256)
            path.write_bytes(content[: rng.integers(3, len(whole) * 4)])
            try:
                WordVectors.load(path)
            except ValueError as error:
                assert "x.kv" in str(error) and "\n" not in str(error)


def test_gensim_is_not_imported(model, tmp_path):
    model.save(str(tmp_path / "x.model"))
    program = (
        "import sys; from fastw2v.word2vec.vectors import WordVectors; "
        "WordVectors.load(sys.argv[1]); print('gensim' in sys.modules, 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "x.model"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "False"], done.stderr
