import errno
import gzip
import os
import re
import resource
import tempfile
import threading

import numpy as np
import pytest
from gensim.models import Word2Vec

from fastw2v.word2vec.corpus import (
    Vocabulary,
    read_corpus,
    read_sentences,
    read_vocabulary,
    sources,
    token_file,
    tokenize,
)
from fastw2v.word2vec.corpus import reading as corpus_module

LINES = ["b a b", "", "rare a", " b ", "b"]
SENTENCES = [line.split() for line in LINES]


def write(path, lines=LINES):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def as_list(corpus):
    return [block.tolist() for block in corpus.blocks(10**6)]


def running_text(num_lines, seed=0):
    rng = np.random.default_rng(seed)
    return [
        " ".join(f"w{i}é" for i in np.minimum(rng.zipf(1.3, size), 10**6))
        for size in rng.integers(0, 40, num_lines)
    ]


def test_a_file(tmp_path):
    corpus = read_corpus(write(tmp_path / "text"), min_count=2)
    assert corpus.vocabulary.words == ["b", "a"]
    assert corpus.vocabulary.counts.tolist() == [4, 2]
    assert as_list(corpus) == [[0, 1, 0, -1, 1, -1, 0, -1, 0, -1]]
    assert (corpus.num_tokens, corpus.num_words, corpus.num_sentences) == (6, 7, 4)
    assert corpus.ids.dtype == np.int32
    assert not corpus.ids.flags.writeable


@pytest.mark.parametrize("sentences", [SENTENCES, iter(SENTENCES), tuple(map(tuple, SENTENCES))])
def test_sentences_give_what_a_file_gives(tmp_path, sentences):
    expected = read_corpus(write(tmp_path / "text"), min_count=2)
    corpus = read_corpus(sentences, min_count=2)
    assert corpus.vocabulary.words == expected.vocabulary.words
    assert as_list(corpus) == as_list(expected)
    assert corpus.num_words == expected.num_words


def test_a_directory_is_one_text(tmp_path):
    write(tmp_path / "2", LINES[:2])
    (tmp_path / "10").write_bytes(gzip.compress(b"\xef\xbb\xbfa  c"))
    (tmp_path / "3").touch()
    corpus = read_corpus(tmp_path, min_count=1)
    assert corpus.vocabulary.words == ["a", "b", "c"]
    assert as_list(corpus) == [[0, 2, -1, 1, 0, 1, -1]]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_pieces_and_workers_do_not_matter(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(sources, "PIECE_BYTES", 1000)
    monkeypatch.setattr(token_file, "_CHUNK_IDS", 77)
    lines = running_text(1000)
    corpus = read_corpus(write(tmp_path / "text", lines), min_count=3, workers=workers)
    vocabulary = corpus.vocabulary
    expected = [[vocabulary.index[w] for w in line.split() if w in vocabulary] for line in lines]
    assert corpus.ids.tolist() == [i for ids in expected if ids for i in [*ids, -1]]


@pytest.mark.parametrize("text", ["", "\n\n", "once only", "one"])
def test_a_text_without_frequent_words_gives_an_empty_corpus(tmp_path, text):
    for source in (write(tmp_path / "text", [text]), [text.split()]):
        corpus = read_corpus(source, min_count=2)
        assert len(corpus.vocabulary) == corpus.num_tokens == len(corpus.ids) == 0
        assert corpus.num_words == len(text.split())
        assert list(corpus.blocks(10)) == []


def test_one_word(tmp_path):
    corpus = read_corpus(write(tmp_path / "text", ["word"]), min_count=1)
    assert (corpus.vocabulary.words, as_list(corpus)) == (["word"], [[0, -1]])


def test_a_long_line_is_cut_as_gensim_does(tmp_path):
    corpus = read_corpus(write(tmp_path / "text", ["a b " * 12_000]), min_count=1)
    assert np.flatnonzero(corpus.ids < 0).tolist() == [10_000, 20_001, 24_002]


@pytest.mark.parametrize(
    "limits",
    [
        {"min_count": 1},
        {"min_count": 4},
        {"min_count": 1, "max_final_vocab": 100},
        {"min_count": 5, "max_final_vocab": 10**6},
        {"min_count": 1, "max_vocab_size": 300},
        {"min_count": 2, "max_vocab_size": 1000, "max_final_vocab": 50},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["file", "sentences"])
def test_the_vocabulary_is_gensims(tmp_path, limits, kind):
    path = write(tmp_path / "text", running_text(1500, seed=1))
    sentences = (line.split() for line in path.read_text(encoding="utf-8").split("\n"))
    corpus = read_corpus(path if kind == "file" else sentences, **limits)
    model = Word2Vec(vector_size=1, **limits)
    model.build_vocab(corpus_file=str(path))
    words = model.wv.index_to_key
    assert corpus.num_words == model.corpus_total_words
    assert dict(zip(corpus.vocabulary.words, corpus.vocabulary.counts, strict=True)) == {
        word: model.wv.get_vecattr(word, "count") for word in words
    }
    lines = path.read_text(encoding="utf-8").split("\n")
    kept = [[word for word in line.split() if word in model.wv.key_to_index] for line in lines]
    text = [corpus.vocabulary.words[i] if i >= 0 else "\n" for i in corpus.ids]
    assert text == [word for line in kept if line for word in [*line, "\n"]]


def test_words_are_those_of_tokenize(tmp_path):
    text = "Don't 'PANIC', it's\nonly 42 lines_of Größe İx ΟΔΟΣ.Α Α.Σ naïve nai\u0308ve 漢 x² में\n"
    corpus = read_corpus(write(tmp_path / "text", [text]), min_count=1, tokenizer="words")
    words = [corpus.vocabulary.words[i] if i >= 0 else "\n" for i in corpus.ids]
    assert words == tokenize(text)
    sentences = read_sentences(tmp_path / "text", "words")
    assert [word for sentence in sentences for word in [*sentence, "\n"]] == words


def test_every_letter_in_lower_case(tmp_path):
    """Each character of the planes that have letters, by itself and between two letters."""
    planes = (*range(1, 0x34000), *range(0xE0000, 0xE0200))
    characters = [chr(c) for c in planes if not 0xD800 <= c < 0xE000 and c != 10]
    text = "".join(f" {c} x{c}x" for c in characters)
    corpus = read_corpus(write(tmp_path / "text", [text]), min_count=1, tokenizer="words")
    words = np.array(corpus.vocabulary.words)[corpus.ids[corpus.ids >= 0]]
    assert words.tolist() == tokenize(text)


def test_a_given_vocabulary(tmp_path):
    vocabulary = Vocabulary({"a": 9, "c": 5, "rare": 7})
    for source in (write(tmp_path / "text"), SENTENCES):
        corpus = read_corpus(source, vocabulary=vocabulary, min_count=100)
        assert corpus.vocabulary.words == vocabulary.words == ["a", "rare", "c"]
        assert corpus.vocabulary.counts.tolist() == [9, 7, 5]
        assert as_list(corpus) == [[0, -1, 1, 0, -1]]
        assert (corpus.num_words, corpus.num_tokens) == (7, 3)


@pytest.mark.parametrize("max_tokens", [2, 3, 4, 5, 11, 100])
def test_blocks_end_with_sentences_where_they_can(max_tokens):
    corpus = read_corpus([["a"], ["a"] * 3, ["a"] * 9, ["a"] * 2], min_count=1)
    for _ in range(2):  # again and again
        blocks = list(corpus.blocks(max_tokens))
        assert np.concatenate(blocks).tolist() == corpus.ids.tolist()
        assert max(map(len, blocks)) <= max_tokens
        for block in blocks[:-1]:
            assert block[-1] == -1 or (len(block) == max_tokens and -1 not in block)


def test_blocks_of_too_few_tokens():
    with pytest.raises(ValueError, match="max_tokens is 1; it must be at least 2"):
        list(read_corpus([["a"]], min_count=1).blocks(1))


def test_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PIECE_BYTES", 100)
    write(tmp_path / "1", running_text(20))
    write(tmp_path / "2", running_text(30))
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    reports = []
    corpus = read_corpus(tmp_path, report=lambda *numbers: reports.append(numbers))
    assert len(reports) > 10
    assert reports == sorted(reports)
    assert {numbers[1] for numbers in reports} == {total}
    assert reports[-1][0] == total
    assert 0 < reports[0][2] < reports[-1][2] == corpus.num_words

    monkeypatch.setattr(corpus_module, "_BATCH_WORDS", 3)
    reports = []
    read_corpus(SENTENCES, report=lambda *numbers: reports.append(numbers))
    assert reports == [(0, None, 5), (0, None, 7)]


def test_a_cache_is_used_again(tmp_path, monkeypatch):
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    expected = read_corpus(path, min_count=2, cache=cache)
    assert sorted(os.listdir(tmp_path)) == ["cache", "text"]
    first = cache.stat().st_ino
    monkeypatch.setattr(corpus_module, "read_pieces", None)  # nothing is read
    corpus = read_corpus(str(path), min_count=2, cache=str(cache), workers=1)
    assert cache.stat().st_ino == first
    assert as_list(corpus) == as_list(expected)
    assert corpus.vocabulary.words == expected.vocabulary.words
    assert corpus.vocabulary.counts.tolist() == expected.vocabulary.counts.tolist()
    for name in ("num_words", "num_tokens", "num_sentences"):
        assert getattr(corpus, name) == getattr(expected, name)


@pytest.mark.parametrize(
    "change",
    [
        {"min_count": 1},
        {"max_vocab_size": 5},
        {"max_final_vocab": 1},
        {"tokenizer": "words"},
        {"vocabulary": Vocabulary({"b": 2})},
        {"vocabulary": Vocabulary({})},
    ],
    ids=["min_count", "max_vocab_size", "max_final_vocab", "tokenizer", "vocabulary", "no words"],
)
def test_a_cache_of_other_settings_is_written_anew(tmp_path, change):
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    old = read_corpus(path, min_count=2, cache=cache)
    before = as_list(old)
    corpus = read_corpus(path, **{"min_count": 2, **change}, cache=cache)
    expected = read_corpus(path, **{"min_count": 2, **change})
    assert as_list(corpus) == as_list(expected)
    assert corpus.vocabulary.words == expected.vocabulary.words
    assert as_list(old) == before  # who still reads it does not notice


def test_a_cache_of_another_text_is_written_anew(tmp_path):
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    read_corpus(path, min_count=1, cache=cache)
    write(path, ["c" * len("\n".join(LINES))])  # as many bytes
    os.utime(path, ns=(0, 12345))
    assert read_corpus(path, min_count=1, cache=cache).num_words == 1
    os.utime(path, ns=(0, 12346))
    inode = cache.stat().st_ino
    assert read_corpus(path, min_count=1, cache=cache).num_words == 1
    assert cache.stat().st_ino != inode
    assert read_corpus([["z"]], min_count=1, cache=cache).vocabulary.words == ["z"]
    assert read_corpus([["y"]], min_count=1, cache=cache).vocabulary.words == ["y"]


@pytest.mark.parametrize("size", [16, 31, 40, -1])
def test_a_cache_that_is_cut_short_is_named(tmp_path, size):
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    read_corpus(path, min_count=1, cache=cache)
    cache.write_bytes(cache.read_bytes()[:size])
    with pytest.raises(ValueError, match=f"the cache {cache} is damaged .*: delete it, and"):
        read_corpus(path, min_count=1, cache=cache)


def test_no_bit_of_a_cache_can_change(tmp_path, monkeypatch):
    monkeypatch.setattr(token_file, "_CHECKED_IDS", 3)  # several checksums
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    read_corpus(path, min_count=1, cache=cache)
    content = cache.read_bytes()
    message = f"the cache {cache} is damaged|cache is {cache}, a file of another kind"
    for place in range(len(content)):
        if place == len(b"fastw2v tokens "):
            continue  # the version, see below
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        cache.write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            read_corpus(path, min_count=1, cache=cache)


def test_a_cache_of_another_version_is_written_anew(tmp_path):
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    expected = as_list(read_corpus(path, min_count=1, cache=cache))
    content = cache.read_bytes()
    cache.write_bytes(b"fastw2v tokens 1 and so on")
    assert as_list(read_corpus(path, min_count=1, cache=cache)) == expected
    assert cache.read_bytes() == content


@pytest.mark.parametrize("kind", ["fifo", "descriptor"])
@pytest.mark.parametrize("options", [{}, {"max_vocab_size": 300}], ids=str)
def test_a_pipe_is_read_once(tmp_path, kind, options):
    path = write(tmp_path / "text", running_text(1500, seed=2))
    expected = read_corpus(path, min_count=2, **options)
    content = path.read_bytes()
    if kind == "fifo":
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(content),))
    else:
        reading, writing = os.pipe()
        pipe = f"/dev/fd/{reading}"
        writer = threading.Thread(target=lambda: os.fdopen(writing, "wb").write(content))
    writer.start()
    corpus = read_corpus(pipe, min_count=2, cache=tmp_path / "cache", **options)
    writer.join()
    assert corpus.vocabulary.words == expected.vocabulary.words
    assert as_list(corpus) == as_list(expected)
    if kind == "descriptor":
        os.close(reading)
        return
    # What comes next is another text, whatever the cache holds.
    writer = threading.Thread(target=pipe.write_bytes, args=(b"other words",))
    writer.start()
    other = read_corpus(pipe, min_count=1, cache=tmp_path / "cache")
    writer.join()
    assert other.vocabulary.words == ["other", "words"]


@pytest.mark.parametrize("source", ["file", "sentences"])
def test_another_file_in_the_place_of_a_cache_stays(tmp_path, source):
    path, other = write(tmp_path / "text"), tmp_path / "other"
    other.write_text("precious")
    with pytest.raises(ValueError, match=f"cache is {other}, a file of another kind: it is left"):
        read_corpus(path if source == "file" else SENTENCES, cache=other)
    assert other.read_text() == "precious"


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ([["a"]], {"min_count": 0}, ValueError, "min_count is 0; it must be at least 1"),
        ([["a"]], {"max_vocab_size": 0}, ValueError, "max_vocab_size is 0; it must be at least 1"),
        ([["a"]], {"max_final_vocab": -1}, ValueError, "max_final_vocab is -1; it must be at"),
        ([["a"]], {"workers": 0}, ValueError, r"workers is 0; it must be in \[1, 1024\]"),
        ([["a"]], {"workers": 100_000}, ValueError, r"workers is 100000; it must be in \[1, 1024"),
        (
            [["a"]],
            {"tokenizer": "bpe"},
            ValueError,
            "tokenizer is 'bpe'; it must be \"whitespace\"",
        ),
        (["a b"], {}, TypeError, "the sentence 'a b' is a str, not a list of words"),
        ([["a"], 3.5], {}, TypeError, "the sentence 3.5 is a float, .* .sentence 2 of the text"),
        ([["a", [1]]], {}, TypeError, r"the word \[1\] is of type list, which is not hashable"),
        ([["a", float("nan")]], {}, ValueError, "the word nan does not equal itself"),
        ("missing", {}, FileNotFoundError, "missing"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(source, options, error, message):
    with pytest.raises(error, match=message):
        read_corpus(source, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"zero \0 byte", "is not text: it holds a zero byte at offset 5"),
        (
            b"\xff\xfet\0e\0x\0t\0",
            "is not UTF-8 text: byte 0xff at offset 0 is part of no character",
        ),
        (bytes(range(255, 0, -1)) * 20, "is not UTF-8 text: byte 0xff at offset 0"),
        (b"x" * 5_000_000, "is not text: its word at offset 0 has more than 1048576 bytes"),
        (gzip.compress(b"zero \0 byte", mtime=0), "is not text: it holds a zero byte at offset 5"),
        (gzip.compress(b"a b c " * 99, mtime=0)[:-9], "is damaged: "),
    ],
    ids=["zero byte", "UTF-16", "junk", "long word", "compressed zero byte", "damaged"],
)
@pytest.mark.parametrize("place", ["file", "directory"])
def test_what_is_no_text_is_named_and_leaves_nothing(tmp_path, content, message, place):
    directory = tmp_path / "texts"
    directory.mkdir()
    write(directory / "a")
    path = directory / "b"
    path.write_bytes(content)
    cache = tmp_path / "cache"
    read_corpus([["old"]], min_count=1, cache=cache)
    old = cache.read_bytes()
    with pytest.raises(ValueError, match=re.escape(f"{path} {message}")):
        read_corpus(path if place == "file" else directory, cache=cache)
    assert cache.read_bytes() == old
    assert sorted(os.listdir(tmp_path)) == ["cache", "texts"]


def test_a_cache_in_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/missing/cache"):
        read_corpus(write(tmp_path / "text"), cache=tmp_path / "missing" / "cache")


@pytest.mark.parametrize("kind", ["cache", "temporary file"])
def test_a_disk_that_is_full(tmp_path, kind):
    """The system refuses files above a megabyte, as a full disk does with another reason."""
    path = write(tmp_path / "text", ["a b c d e f"] * 60_000)
    cache = tmp_path / "cache" if kind == "cache" else None
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError) as raised:
            read_corpus(path, cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG
    assert str(cache or tempfile.gettempdir()) in str(raised.value)
    assert os.listdir(tmp_path) == ["text"]


def test_an_interruption_leaves_nothing(tmp_path):
    def sentences():
        yield ["a"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_corpus(sentences(), cache=tmp_path / "cache")
    assert os.listdir(tmp_path) == []


def test_sentences_are_gone_through_once(monkeypatch):
    monkeypatch.setattr(corpus_module, "_BATCH_WORDS", 50)
    lines = running_text(100)
    times = 0

    def sentences():
        nonlocal times
        times += 1
        yield from (line.split() for line in lines)

    class Text:
        __iter__ = staticmethod(sentences)

    corpus = read_corpus(Text(), min_count=1, max_vocab_size=20)
    assert times == 1
    expected = [[corpus.vocabulary.index.get(word, -1) for word in line.split()] for line in lines]
    expected = [[i for i in ids if i >= 0] for ids in expected]
    assert corpus.ids.tolist() == [i for ids in expected if ids for i in [*ids, -1]]


def test_words_of_any_characters():
    sentences = [["New York", "line\nend", "", "zero\0"], ["", "New York", "é漢😀"]]
    corpus = read_corpus(sentences, min_count=1)
    words = [corpus.vocabulary.words[i] if i >= 0 else None for i in corpus.ids]
    assert words == [*sentences[0], None, *sentences[1], None]


def test_words_of_any_type(tmp_path):
    sentences = [[3, "3", (1, 2)], np.array([3, 30], np.int32), iter([3.0, None]), ("3", 30)]
    corpus = read_corpus(sentences, min_count=2)
    assert corpus.vocabulary.words == [3, "3", 30]
    assert list(map(type, corpus.vocabulary.words)) == [int, str, int]
    assert corpus.vocabulary.counts.tolist() == [3, 2, 2]
    assert as_list(corpus) == [[0, 1, -1, 0, 2, -1, 0, -1, 1, 2, -1]]
    again = read_corpus([[30, "30", 3]], vocabulary=corpus.vocabulary, cache=tmp_path / "cache")
    assert again.ids.tolist() == [2, 0, -1]
    assert read_vocabulary([[3, 3, "a"]], min_count=2).words == [3]
    # The rarest are forgotten, and the text is read again from a temporary file.
    text = [[(1,)], [2, 2], [2, (1,)], [3], [4], [2], [5, (1,)]]
    corpus = read_corpus(iter(text), min_count=1, max_vocab_size=2)
    assert corpus.vocabulary.words == [2, (1,)]
    assert corpus.vocabulary.counts.tolist() == [4, 3]
    assert as_list(corpus) == [[1, -1, 0, 0, -1, 0, 1, -1, 0, -1, 1, -1]]


def test_words_that_a_cache_cannot_hold(tmp_path):
    cache = tmp_path / "cache"
    read_corpus([["a", 7]], min_count=1, cache=cache)
    before = cache.read_bytes()
    with pytest.raises(TypeError, match=r"the word \(1, 2\) is of type tuple: only words that are"):
        read_corpus([[(1, 2)]], min_count=1, cache=cache)
    assert cache.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every directory")
def test_a_directory_that_may_not_be_read(tmp_path):
    directory = tmp_path / "locked"
    directory.mkdir(mode=0)
    with pytest.raises(PermissionError, match=str(directory)):
        read_corpus(directory)


def test_where_no_thread_can_be_started(tmp_path, monkeypatch):
    path, cache = write(tmp_path / "text"), tmp_path / "cache"
    expected = as_list(read_corpus(path, min_count=2))

    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):  # the second time from the cache
        assert as_list(read_corpus(path, min_count=2, cache=cache, workers=1)) == expected
