import bz2
import gzip
import lzma

import numpy as np
import pytest

from fastw2v.word2vec import corpus as corpus_module
from fastw2v.word2vec.corpus import build_corpus, read_text, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("The CAT sat.", ["the", "cat", "sat"]),
        ("one\ntwo", ["one", "\n", "two"]),
        ("don't, the dogs' o’clock '", ["don't", "the", "dogs", "o’clock"]),
        ("3.14 x2 a_b e-mail", ["x", "a", "b", "e", "mail"]),
        ("Über Größe, naïve; слово", ["über", "größe", "naïve", "слово"]),
    ],
)
def test_tokenize(text, tokens):
    assert tokenize(text) == tokens


@pytest.mark.parametrize("opener", [open, gzip.open, bz2.open, lzma.open])
def test_read_text_plain_and_compressed(tmp_path, monkeypatch, opener):
    monkeypatch.setattr(corpus_module, "_BLOCK_BYTES", 7)  # cuts words and characters apart
    text = "Eine Größe\nund noch eine Größe, donaudampfschiff\n" * 3
    path = tmp_path / "text"
    with opener(path, "wb") as file:
        file.write(text.encode())
    blocks = list(read_text(path))
    assert "".join(blocks) == text
    assert len(blocks) > 3
    assert [token for block in blocks for token in tokenize(block)] == tokenize(text)


def test_read_text_without_its_byte_order_mark(tmp_path):
    path = tmp_path / "text"
    path.write_text("word", encoding="utf-8-sig")
    assert "".join(read_text(path)) == "word"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Größe".encode("latin-1"), "is not UTF-8 text: byte 0xf6 is an invalid"),
        (b"ends within a character \xc3", "is not UTF-8 text: byte 0xc3 is an unexpected end"),
        (b"zero \0 byte", "is not text: it holds a zero byte"),
        (gzip.compress(b"some text " * 99, mtime=0)[:-9], "is damaged"),
        (bz2.compress(b"some text " * 99)[:-9], "is damaged"),
        (lzma.compress(b"some text " * 99)[:-9], "is damaged"),
        (b"\x1f\x8b\x08 and no more of gzip", "is damaged"),
        (b"BZh and no more of bzip2", "is damaged"),
        (b"\xfd7zXZ\x00 and no more of xz", "is damaged"),
    ],
)
def test_read_text_refuses(tmp_path, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_text(path))


def test_read_text_from_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        read_text(tmp_path)


def test_build_corpus():
    corpus = build_corpus(["b a b\nrare a", " b\n\nb\n"], min_count=2)
    assert corpus.vocabulary.words == ["b", "a"]
    assert corpus.vocabulary.counts.tolist() == [4, 2]
    assert corpus.ids.tolist() == [0, 1, 0, 1, 0, 0]
    assert corpus.sentences.tolist() == [0, 0, 0, 1, 1, 3]
    assert corpus.ids.dtype == corpus.sentences.dtype == np.int32
    assert corpus.num_words == 7


@pytest.mark.parametrize("texts", [[], [""], ["\n\n"], ["once only"]])
def test_build_corpus_of_nothing(texts):
    corpus = build_corpus(texts, min_count=2)
    assert len(corpus.ids) == len(corpus.vocabulary) == 0


@pytest.mark.parametrize("max_words", [1, 3, 4, 6, 7, 100])
def test_max_words(max_words):
    unread = iter(["a b\nc", " d e f\n", "g"])
    corpus = build_corpus(unread, min_count=1, max_words=max_words)
    assert corpus.vocabulary.words == list("abcdefg"[:max_words])
    assert corpus.num_words == min(max_words, 7)
    if max_words <= 6:
        assert next(unread, "nothing") == ("g" if max_words > 3 else " d e f\n")


def test_max_words_out_of_range():
    with pytest.raises(ValueError, match="max_words is 0; it must be at least 1"):
        build_corpus(["text"], max_words=0)
