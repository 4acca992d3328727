"""fastText's files: read as fastText and gensim read them, written for both, refused if broken."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
from gensim.models.fasttext import load_facebook_vectors

from fastw2v.word2vec.vectors import FastTextVectors, WordVectors
from fastw2v.word2vec.vectors.formats import fasttext_format

WORDS = ["where", "naïve", "日本語", "</s>", "x"]
BUCKET, WIDTH = 40, 3


@pytest.fixture
def vectors():
    rows = np.random.default_rng(0).normal(size=(len(WORDS) + BUCKET, WIDTH))
    return FastTextVectors(WORDS, rows, np.array([9, 7, 5, 3, 1]), min_n=2, max_n=4)


@pytest.fixture
def path(vectors, tmp_path):
    vectors.save(tmp_path / "model.bin")
    return tmp_path / "model.bin"


@pytest.mark.parametrize("kind", [FastTextVectors, WordVectors])
def test_round_trip(kind, vectors, path):
    loaded = kind.load(path)
    assert isinstance(loaded, FastTextVectors) and loaded.words == WORDS
    np.testing.assert_array_equal(loaded.rows, vectors.rows)
    np.testing.assert_array_equal(loaded.counts, vectors.counts)
    np.testing.assert_array_equal(loaded["whereas"], vectors["whereas"])
    assert (loaded.min_n, loaded.max_n, loaded.bucket) == (2, 4, BUCKET)


def test_other_formats_hold_the_words_alone(vectors, path, tmp_path):
    for name in ("v.vec", "v.npz", "v.kv"):
        vectors.save(tmp_path / name)
        loaded = WordVectors.load(tmp_path / name)
        assert type(loaded) is WordVectors
        np.testing.assert_array_equal(loaded.vectors, vectors.vectors)
    with pytest.raises(ValueError, match="v.vec has no vectors of n-grams"):
        FastTextVectors.load(tmp_path / "v.vec")
    assert type(WordVectors.load(path, limit=2)) is WordVectors
    assert WordVectors.load(path, limit=2).words == WORDS[:2]


def test_gensim_reads_the_file(vectors, path):
    theirs = load_facebook_vectors(str(path))
    assert theirs.index_to_key == WORDS
    for word in ("where", "naïve", "日本語", "x", "whereas", "日本"):  # </s> has n-grams there
        np.testing.assert_allclose(vectors[word], theirs[word], rtol=1e-6, atol=1e-6)


def test_fasttext_reads_the_file(vectors, path):
    fasttext = pytest.importorskip("fasttext", reason="fasttext is not installed")
    theirs = fasttext.load_model(str(path))
    assert theirs.words == WORDS
    for word in [*WORDS, "whereas", "日本", ""]:
        if word in vectors:
            np.testing.assert_allclose(
                vectors[word], theirs.get_word_vector(word), rtol=1e-6, atol=1e-6
            )


# In a process of its own: in one whose memory was used before, fastText ends in NaN now and then.
FASTTEXT = """
import sys, fasttext
text, path, model, loss = sys.argv[1:]
options = {"minCount": 1, "dim": 6, "bucket": 5000, "lr": 0.01, "thread": 1, "verbose": 0}
fasttext.train_unsupervised(text, model=model, loss=loss, **options).save_model(path)
"""


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["ns", "hs"])
def test_reads_the_file_of_fasttext(model, loss, tmp_path):
    fasttext = pytest.importorskip("fasttext", reason="fasttext is not installed")
    text, path = tmp_path / "text", tmp_path / "theirs.bin"
    text.write_text("where there is a will there is a way\nnaïve 日本語 words\n" * 20)
    command = [sys.executable, "-c", FASTTEXT, str(text), str(path), model, loss]
    subprocess.run(command, check=True)
    theirs, mine = fasttext.load_model(str(path)), FastTextVectors.load(path)
    assert mine.words == theirs.words and "</s>" in mine.words
    for word in [*mine.words, "whereas", "wayward", "日本"]:
        np.testing.assert_allclose(mine[word], theirs.get_word_vector(word), rtol=1e-6, atol=1e-6)


def test_words_may_be_any_bytes(path, vectors):
    content = path.read_bytes().replace("naïve".encode(), b"na\xffve!")
    path.write_bytes(content)
    loaded = FastTextVectors.load(path)
    assert loaded.words[1] == "na\udcffve!"
    loaded.save(path)
    assert path.read_bytes() == content


def changed(content, place, form, value):
    size = struct.calcsize(form)
    return content[:place] + struct.pack(form, value) + content[place + size :]


ARGUMENTS = 8
DICTIONARY = ARGUMENTS + 12 * 4 + 8
FIRST_WORD = DICTIONARY + 12 + 16
FIRST_COUNT = FIRST_WORD + len("where") + 1
MATRIX = FIRST_WORD + sum(len(word.encode()) + 10 for word in WORDS)


@pytest.mark.parametrize(
    "place, form, value, message",
    [
        (4, "<i", 13, "it is of version 13"),
        (ARGUMENTS, "<i", 0, "its dim is 0"),
        (ARGUMENTS, "<i", 2**31 - 1, "its input should be 45 rows of 3 numbers; dim is 2,147"),
        (ARGUMENTS + 8 * 4, "<i", -1, "its bucket -1"),
        (ARGUMENTS + 8 * 4, "<i", 2**31 - 1, "its input has 45 rows, and there are 5 words and 2"),
        (ARGUMENTS + 9 * 4, "<i", -1, "min_n is -1"),
        (ARGUMENTS + 10 * 4, "<i", 10**6, "max_n is 1000000"),
        (DICTIONARY, "<i", 2**31 - 1, "are not 2,147,483,647"),
        (DICTIONARY + 4, "<i", -5, "-5 words and 0 labels"),
        (DICTIONARY + 20, "<q", 4, "it is a quantized model"),
        (FIRST_COUNT, "<q", -1, "counts must be at least 0"),
        (FIRST_COUNT + 8, "<b", 1, "word 1 of 5 is a label"),
        (MATRIX, "<b", 1, "its input is quantized"),
        (MATRIX + 1, "<q", 2**40, "its input should be 1,099,511,627,776 rows"),
        (MATRIX + 1, "<q", -1, "its input should be -1 rows"),
        (MATRIX + 17, "<f", float("nan"), "holds a number that is not finite"),
    ],
)
def test_refuses_what_contradicts_itself(path, place, form, value, message):
    path.write_bytes(changed(path.read_bytes(), place, form, value))
    with pytest.raises(ValueError, match=message) as error:
        WordVectors.load(path)
    assert "model.bin" in str(error.value)


def test_refuses_all_that_is_cut_off(path):
    content = path.read_bytes()
    for length in [*range(4, MATRIX + 40), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"model\.bin"):
            WordVectors.load(path)


def test_asks_for_no_memory_that_the_file_could_not_fill(path):
    """A dictionary of two thousand million words in a file of two kilobytes."""
    content = path.read_bytes()
    for place in (DICTIONARY, DICTIONARY + 4):
        content = changed(content, place, "<i", 2**31 - 1)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is cut off: it has"):
        WordVectors.load(path)


@pytest.mark.parametrize("word", ["", "a b", "a\0b"])
def test_words_that_the_format_cannot_hold(word, tmp_path):
    vectors = FastTextVectors([word], np.ones((3, 2)))
    with pytest.raises(ValueError, match="the word"):
        vectors.save(tmp_path / "model.bin")
    with pytest.raises(ValueError, match="no words"):
        FastTextVectors([], np.ones((3, 2))).save(tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


def test_counts_that_are_not_known_are_ones(tmp_path):
    FastTextVectors(["up"], np.ones((3, 2))).save(tmp_path / "model.bin")
    model = fasttext_format.read_fasttext(tmp_path / "model.bin")
    assert model.contents.counts.tolist() == [1] and not model.output.any()
