import os

import numpy as np
import pytest

from fastw2v.word2vec.corpus.vocabulary import Vocabulary, words_from_json, words_to_json

COUNTS = {"seldom": 1, "zebra": 3, "ant": 3, "the": 50, "twice": 2}


def test_sorted_by_frequency_with_ties_in_alphabetical_order():
    vocabulary = Vocabulary(COUNTS)
    assert vocabulary.words == ["the", "ant", "zebra", "twice", "seldom"]
    assert vocabulary.counts.tolist() == [50, 3, 3, 2, 1]
    assert vocabulary.counts.dtype == np.int64
    assert [vocabulary.index[word] for word in vocabulary.words] == list(range(5))


def test_order_does_not_depend_on_the_order_of_the_text():
    backwards = dict(reversed(COUNTS.items()))
    assert Vocabulary(COUNTS).words == Vocabulary(backwards).words


@pytest.mark.parametrize(("min_count", "size"), [(1, 5), (2, 4), (3, 3), (4, 1), (51, 0)])
def test_min_count(min_count, size):
    vocabulary = Vocabulary(COUNTS, min_count)
    assert len(vocabulary) == len(vocabulary.counts) == size
    assert ("the" in vocabulary) == (size > 0)
    assert "seldom" not in vocabulary or min_count == 1


@pytest.mark.parametrize(
    ("min_count", "max_final_vocab", "size"),
    [(1, 5, 5), (1, 4, 4), (1, 3, 3), (1, 2, 1), (1, 1, 1), (3, 4, 3), (3, 2, 1), (51, 3, 0)],
)
def test_max_final_vocab_keeps_ties_together(min_count, max_final_vocab, size):
    vocabulary = Vocabulary(COUNTS, min_count, max_final_vocab)
    assert vocabulary.words == Vocabulary(COUNTS).words[:size]
    assert len(vocabulary.counts) == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, "min_count is 0; it must be at least 1"),
        ({"max_final_vocab": 0}, "max_final_vocab is 0; it must be at least 1, or None"),
    ],
)
def test_limits_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(COUNTS, **options)
    Vocabulary(COUNTS).save(tmp_path / "vocab")
    with pytest.raises(ValueError, match=message):
        Vocabulary.load(tmp_path / "vocab", **options)


def test_saved_and_loaded(tmp_path):
    path = tmp_path / "vocab.txt"
    vocabulary = Vocabulary({**COUNTS, "Größe 漢": 7, "": 6, " ": 5, "\ufeff": 4, "a\r": 10**15})
    for _ in range(2):  # the second time over the first
        vocabulary.save(path)
    assert os.listdir(tmp_path) == ["vocab.txt"]
    loaded = Vocabulary.load(str(path))
    assert loaded.words == vocabulary.words
    assert loaded.counts.tolist() == vocabulary.counts.tolist()
    assert Vocabulary.load(path, 3, 6).words == Vocabulary.load(path).words[:6]


def test_loaded_from_a_file_of_another_program(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"rare 1\r\noften 20\r\nsome 3")
    assert Vocabulary.load(path, 2).words == ["often", "some"]
    path.write_bytes(b"")
    assert len(Vocabulary.load(path)) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"word", "line 2: not a word, a space and a count"),
        (b"word -3", "line 2: not a word"),
        (b"word 1.5", "line 2: not a word"),
        ("word ²".encode(), "line 2: not a word"),
        (b"\xff 3", "line 2: not a word"),
        (b"", "line 2: not a word"),
        (b"first 7", "line 2: 'first' is there already"),
        (b"word 99999999999999999999", "line 2: the count 99999999999999999999 is above 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"first 8\n" + line + b"\nlast 2\n")
    with pytest.raises(ValueError, match=f"{path}, {message}"):
        Vocabulary.load(path)


def test_a_word_that_cannot_be_saved_leaves_the_old_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("old 1\n")
    with pytest.raises(ValueError, match=r"the word 'a\\nb' holds a line end"):
        Vocabulary({"a": 2, "a\nb": 1}).save(path)
    assert path.read_text() == "old 1\n"
    assert os.listdir(tmp_path) == ["vocab.txt"]
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/missing/vocab.txt"):
        Vocabulary(COUNTS).save(tmp_path / "missing" / "vocab.txt")


def test_words_of_other_types():
    vocabulary = Vocabulary({(2,): 5, 10: 5, "b": 5, 9: 5, "a": 5, (1,): 5, -1: 7, None: 1}, 2)
    assert vocabulary.words == [-1, "a", "b", 9, 10, (2,), (1,)]
    assert vocabulary.index[9] == 3
    assert (1,) in vocabulary


def test_words_as_json():
    words = ["a", 7, "7", -(2**80), 'é漢😀\n"', "", "\ud800"]
    restored = words_from_json(words_to_json(words))
    assert restored == words
    assert list(map(type, restored)) == list(map(type, words))
    for word in ((1, 2), 0.5, None, b"a", True):
        kind = type(word).__name__
        with pytest.raises(TypeError, match=f"is of type {kind}: only words that are str or int"):
            words_to_json(["a", word])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b'{"a": 1}', "not a list of str and int"),
        (b'["a", 0.5]', "not a list of str and int"),
        (b'["a", true]', "not a list of str and int"),
        (b'["a", null]', "not a list of str and int"),
        (b'["a", ["b"]]', "not a list of str and int"),
        (b'["a", 1, "a"]', "a word is there twice"),
    ],
)
def test_json_that_is_no_list_of_words(content, message):
    with pytest.raises(ValueError, match=message):
        words_from_json(content)


def test_numbers_are_not_saved_as_text(tmp_path):
    with pytest.raises(TypeError, match="the word 7 is of type int; a vocabulary file holds only"):
        Vocabulary({"a": 2, 7: 1}).save(tmp_path / "vocab")
    assert os.listdir(tmp_path) == []
