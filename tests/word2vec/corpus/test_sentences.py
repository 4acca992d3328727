import bz2
import gzip
import io

import numpy as np
import pytest
from gensim.models import word2vec as gensim_word2vec
from gensim.test.utils import datapath

import fastw2v
from fastw2v.word2vec.corpus import read_corpus, sources
from fastw2v.word2vec.corpus import sentences as sentences_module
from fastw2v.word2vec.corpus.sentences import (
    LineSentence,
    PathLineSentences,
    Text8Corpus,
    read_sentences,
    words_of,
)

TEXT = "\ufeffOne é\n\n \ntwo漢 three\tfour\r\nfive"
LINES = [["One", "é"], ["two漢", "three", "four"], ["five"]]


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
def test_sentences_of_files(tmp_path, monkeypatch, piece_bytes):
    monkeypatch.setattr(sources, "PIECE_BYTES", piece_bytes)
    (tmp_path / "1").write_bytes("\ufeffOne é\n\n \ntwo漢\r\n".encode())
    (tmp_path / "2").write_bytes(gzip.compress(b"three's"))
    assert list(read_sentences(tmp_path)) == [["One", "é"], ["two漢"], ["three's"]]
    (words, *_) = read_sentences(tmp_path, "words")
    assert words == ["one", "é"]


def test_sentences_of_a_long_line(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b " * 12_000)
    assert [len(words) for words in read_sentences(path)] == [10_000, 10_000, 4000]


def test_sentences_that_are_no_text(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a b\nc\nd \xff\ne\n")
    with pytest.raises(ValueError, match=f"{path} is not UTF-8 text: line 3: invalid start byte"):
        list(read_sentences(path))
    with pytest.raises(ValueError, match="tokenizer is 'bpe'"):
        list(read_sentences(path, "bpe"))


def test_a_line_without_end_is_not_collected(tmp_path, monkeypatch):
    monkeypatch.setattr(sentences_module, "_MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(sources, "PIECE_BYTES", 100)
    path = tmp_path / "text"
    path.write_text("a b\n" + "a b " * 300)
    with pytest.raises(ValueError, match=f"{path}: line 2 has more than 1,000 bytes: give"):
        list(read_sentences(path))


def test_public_names():
    assert fastw2v.LineSentence is LineSentence
    assert fastw2v.PathLineSentences is PathLineSentences
    assert fastw2v.Text8Corpus is Text8Corpus


@pytest.mark.parametrize("limit", [None, 0, 1, 3])
@pytest.mark.parametrize("max_sentence_length", [2, 10_000])
def test_lines_as_gensim_reads_them(limit, max_sentence_length):
    path = datapath("head500.noblanks.cor.bz2")
    arguments = (path, max_sentence_length, limit)
    sentences = LineSentence(*arguments)
    expected = list(gensim_word2vec.LineSentence(*arguments))
    assert list(sentences) == list(sentences) == expected
    with bz2.open(path) as file:
        assert list(LineSentence(file, *arguments[1:])) == expected


def test_lines_of_files_that_are_open(tmp_path):
    for file in (io.StringIO(TEXT), io.BytesIO(TEXT.encode())):
        file.read()
        sentences = LineSentence(file)
        assert list(sentences) == list(sentences) == LINES


def test_lines_of_a_directory(tmp_path):
    expected = gensim_word2vec.PathLineSentences(datapath("PathLineSentences"))
    sentences = PathLineSentences(datapath("PathLineSentences"))
    assert list(sentences) == list(expected)
    assert sentences.input_files == expected.input_files
    limited = {"limit": 2, "max_sentence_length": 3}
    assert list(PathLineSentences(datapath("PathLineSentences"), **limited)) == list(
        gensim_word2vec.PathLineSentences(datapath("PathLineSentences"), **limited)
    )
    with pytest.raises(FileNotFoundError, match="missing"):
        PathLineSentences(tmp_path / "missing")
    with pytest.raises(ValueError, match="is a directory without files"):
        PathLineSentences(tmp_path)


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 1 << 20])
def test_words_without_lines(tmp_path, monkeypatch, piece_bytes):
    monkeypatch.setattr(sources, "PIECE_BYTES", piece_bytes)
    path = tmp_path / "text"
    path.write_text(TEXT, encoding="utf-8")
    words = [word for line in LINES for word in line]
    for size in (1, 4, 100):
        corpus = Text8Corpus(path, size)
        expected = [words[i : i + size] for i in range(0, len(words), size)]
        assert list(corpus) == list(corpus) == expected
    path.write_bytes(b"a b \xc3")
    with pytest.raises(ValueError, match=f"{path} is not UTF-8 text: unexpected end of data"):
        list(Text8Corpus(path))


def test_words_without_lines_as_gensim_reads_them():
    path = datapath("testcorpus.txt")
    assert list(Text8Corpus(path, 7)) == list(gensim_word2vec.Text8Corpus(path, 7))


def test_a_corpus_of_them(tmp_path):
    path = tmp_path / "text"
    path.write_text(TEXT, encoding="utf-8")
    expected = read_corpus(path, min_count=1)
    assert read_corpus(LineSentence(path), min_count=1).ids.tolist() == expected.ids.tolist()


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (["a"], ["a"]),
        (("a", 1), ("a", 1)),
        (np.array([3, 4]), [3, 4]),
        (np.array(["a", None], object), ["a", None]),
        (iter("ab"), ["a", "b"]),
        ({"a": 1}, ["a"]),
        ([], []),
    ],
)
def test_sentences_of_any_kind(sentence, words):
    found = words_of(sentence, 1)
    assert found == words
    assert list(map(type, found)) == list(map(type, words))


@pytest.mark.parametrize("sentence", ["a b", b"a b", 3, None, float("nan"), np.array(3)], ids=repr)
def test_what_is_no_sentence(sentence):
    kind = type(sentence).__name__
    with pytest.raises(TypeError, match=f"is a {kind}, not a list of words .sentence 1,234 of the"):
        words_of(sentence, 1234)
