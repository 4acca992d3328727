"""Files of word vectors: what is written is read, by gensim too, and what is broken is refused."""

import gzip
import os
import resource
import warnings
import zipfile

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

from fastw2v.word2vec.vectors import WordVectors
from fastw2v.word2vec.vectors.formats import word2vec_format

NAMES = ["v.txt", "v.vec.gz", "v.bin", "v.bin.gz", "v.glove", "v.npz", "v.kv"]


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-30, 30, (50, 1))
    # Bytes that are white space in Unicode but none to the formats, and characters of four bytes.
    words = [f"wörd{i}" for i in range(47)] + ["a\u00a0b", "\u2028", "𝒳"]
    counts = np.arange(50, 0, -1) ** 3
    return WordVectors(words, (rng.normal(size=(50, 7)) * scales).astype(np.float32), counts)


def assert_same(loaded, vectors):
    assert loaded.words == vectors.words
    assert loaded.vectors.dtype == np.float32
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_gives_the_same_bits(name, vectors, tmp_path):
    vectors.save(tmp_path / name)
    loaded = WordVectors.load(tmp_path / name)
    assert_same(loaded, vectors)
    if name in ("v.npz", "v.kv"):
        np.testing.assert_array_equal(loaded.counts, vectors.counts)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.bin", "v.bin.gz", "v.glove"])
def test_gensim_loads_the_file(name, vectors, tmp_path):
    vectors.save(tmp_path / name)
    path = str(tmp_path / name)
    loaded = KeyedVectors.load_word2vec_format(
        path, binary=".bin" in name, no_header=".glove" in name
    )
    assert loaded.index_to_key == vectors.words
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.bin", "v.bin.gz"])
def test_loads_the_file_of_gensim(name, vectors, tmp_path):
    path = str(tmp_path / name)
    vectors.to_gensim().save_word2vec_format(path, binary=".bin" in name)
    assert_same(WordVectors.load(path), vectors)


def test_counts_are_in_a_file_of_their_own(vectors, tmp_path):
    vectors.save_word2vec_format(tmp_path / "v.bin", tmp_path / "counts", binary=True)
    loaded = WordVectors.load_word2vec_format(tmp_path / "v.bin", tmp_path / "counts", True)
    np.testing.assert_array_equal(loaded.counts, vectors.counts)
    plain = WordVectors(vectors.words[:9], vectors.vectors[:9], vectors.counts[:9])
    plain.save_word2vec_format(tmp_path / "v.bin", tmp_path / "counts", binary=True)
    keyed = KeyedVectors.load_word2vec_format(
        str(tmp_path / "v.bin"), str(tmp_path / "counts"), True
    )
    assert keyed.get_vecattr("wörd3", "count") == 47**3
    (tmp_path / "counts").write_text("a 1\nb\n")
    with pytest.raises(ValueError, match="counts, line 2: expected a word and its count"):
        WordVectors.load_word2vec_format(tmp_path / "v.bin", tmp_path / "counts", True)
    for count in (b"9223372036854775808", b"9" * 5000, b"-1"):
        (tmp_path / "counts").write_bytes(b"a 1\nb " + count + b"\n")
        with pytest.raises(ValueError, match="line 2: expected a word and its count, below 2"):
            WordVectors.load_word2vec_format(tmp_path / "v.bin", tmp_path / "counts", True)
        (tmp_path / "header").write_bytes(count + b" 2\na 1 2\n")
        with pytest.raises(ValueError, match="header.*(line 1: expected the number|format)"):
            WordVectors.load(tmp_path / "header")
    (tmp_path / "counts").write_bytes(b"a 1\n\xff 2\n")
    with pytest.raises(ValueError, match=r"counts, line 2: b'\\xff' is not utf8 text"):
        WordVectors.load_word2vec_format(tmp_path / "v.bin", tmp_path / "counts", True)
    with pytest.raises(ValueError, match="no counts"):
        WordVectors(["a"], [[1.0]]).save_word2vec_format(tmp_path / "w.txt", tmp_path / "counts")


def test_to_and_from_gensim(vectors):
    keyed = vectors.to_gensim()
    assert keyed.get_vecattr("wörd0", "count") == 50**3
    assert not np.shares_memory(keyed.vectors, vectors.vectors)
    again = WordVectors.from_gensim(keyed)
    assert_same(again, vectors)
    np.testing.assert_array_equal(again.counts, vectors.counts)
    without_counts = WordVectors.from_gensim(WordVectors(["a", "b"], np.eye(2)).to_gensim())
    assert without_counts.counts is None


def test_from_a_model_of_gensim(tmp_path):
    model = Word2Vec([["to", "be", "or", "not", "to", "be"]] * 5, vector_size=4, min_count=1)
    assert_same(WordVectors.from_gensim(model), WordVectors.from_gensim(model.wv))
    model.save(str(tmp_path / "w2v.model"))
    assert_same(WordVectors.load(tmp_path / "w2v.model"), WordVectors.from_gensim(model))
    with pytest.raises(ValueError, match="dict holds no word vectors"):
        WordVectors.from_gensim({})


@pytest.mark.parametrize("binary", [False, True])
def test_many_blocks(binary, monkeypatch, tmp_path):
    """Blocks that end anywhere in a word, a number or a line give what one block gives."""
    vectors = WordVectors([f"w{i}" for i in range(300)], np.random.default_rng(0).random((300, 3)))
    vectors.save_word2vec_format(tmp_path / "v", binary=binary)
    if not binary:
        with open(tmp_path / "v", "a") as file:
            file.write("\n \n" * 20)
    for size in (5, 64, 997):
        monkeypatch.setattr(word2vec_format, "_BLOCK_BYTES", size)
        assert_same(WordVectors.load_word2vec_format(tmp_path / "v", binary=binary), vectors)
        limited = WordVectors.load_word2vec_format(tmp_path / "v", binary=binary, limit=123)
        assert limited.words == vectors.words[:123]


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        (b"2 2\r\na 1 2\r\nb 3 4\r\n", False),  # of another system
        (b"2 2\na 1 2 \nb 3 4 \n", False),  # of the original program
        (b"2 2\na  1\t2\nb 3 4", False),  # other white space, no line end
        (b"2 2\na 1 2\nb 3 4\n\n \n", False),  # empty lines at the end
        (b"2 2\na " + np.array([1, 2], "<f4").tobytes() + b"b " + np.array([3, 4], "<f4").tobytes(),
         True),
        (b"2 2\na " + np.array([1, 2], "<f4").tobytes() + b"\nb "
         + np.array([3, 4], "<f4").tobytes() + b"\n", True),
    ],
)  # fmt: skip
def test_dialects(content, binary, tmp_path):
    (tmp_path / "v").write_bytes(content)
    loaded = WordVectors.load_word2vec_format(tmp_path / "v", binary=binary)
    assert loaded.words == ["a", "b"]
    assert loaded.vectors.tolist() == [[1, 2], [3, 4]]


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path):
    mark = b"\xef\xbb\xbf"
    for name, content in (
        ("v.glove", b"the 1 2\nof 3 4\n"),
        ("v.txt", b"2 2\nthe 1 2\nof 3 4\n"),
        ("v", b"2 2\nthe 1 2\nof 3 4\n"),
    ):
        (tmp_path / name).write_bytes(mark + content)
        assert WordVectors.load(tmp_path / name).words == ["the", "of"]
    (tmp_path / "counts").write_bytes(mark + b"the 7\n")
    loaded = WordVectors.load_word2vec_format(tmp_path / "v.txt", tmp_path / "counts")
    assert loaded.counts.tolist() == [7, 0]


def test_words_of_glove_with_blanks(tmp_path):
    path = tmp_path / "v.glove"
    path.write_text("the 0.1 2 3\n. . . 4 5 6\nat name@domain.com 7 8 9 \n1 2 3 4 5 6\n")
    loaded = WordVectors.load(path)
    assert loaded.words == ["the", ". . .", "at name@domain.com", "1 2 3"]
    assert loaded.vectors[1:].tolist() == [[4, 5, 6], [7, 8, 9], [4, 5, 6]]
    path.write_text(". . . 4 5 6\nthe 1 2 3\n")
    assert WordVectors.load(path).words == [". . .", "the"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.6B.2d.txt", b"a 1 2\nb 3 4\n"),  # as GloVe's files are named
        ("vectors", b"a 1 2\nb 3 4\n"),
        ("vectors", b"2 2\na 1 2\nb 3 4\n"),
        ("vectors.gz", gzip.compress(b"2 2\na 1 2\nb 3 4\n", mtime=0)),
        ("vectors.xyz", b"2 2\na " + np.array([1, 2], "<f4").tobytes() + b"b "
         + np.array([3, 4], "<f4").tobytes()),
    ],
)  # fmt: skip
def test_what_a_file_holds_tells_its_format(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    loaded = WordVectors.load(tmp_path / name)
    assert loaded.words == ["a", "b"]
    assert loaded.vectors.tolist() == [[1, 2], [3, 4]]


def test_files_under_names_of_other_formats(vectors, tmp_path):
    vectors.save(tmp_path / "v.npz")
    vectors.save(tmp_path / "v.kv")
    for name, other in (("v.npz", "v.model"), ("v.kv", "v.txt"), ("v.npz", "v.bin")):
        (tmp_path / other).write_bytes((tmp_path / name).read_bytes())
        assert_same(WordVectors.load(tmp_path / other), vectors)
    short = WordVectors([f"word{i}" for i in range(60)], np.eye(60, 3))  # words between the digits
    short.save(tmp_path / "short.bin", "text")
    with pytest.raises(ValueError, match=r"short\.bin is not .* binary format: .*format='text'"):
        WordVectors.load(tmp_path / "short.bin", limit=2)
    vectors.save(tmp_path / "v.bin", "text")
    for limit in (None, 2):
        with pytest.raises(ValueError, match=r"v\.bin is not .* binary format: .*format='text'"):
            WordVectors.load(tmp_path / "v.bin", limit=limit)
        assert WordVectors.load(tmp_path / "v.bin", "text", limit=limit).words[0] == "wörd0"


@pytest.mark.parametrize("binary", [False, True])
def test_a_first_line_that_promises_too_many_words(binary, vectors, tmp_path):
    path = tmp_path / "v"
    vectors.save_word2vec_format(path, binary=binary)
    path.write_bytes(path.read_bytes().replace(b"50 7", b"3000000 7"))
    loaded = WordVectors.load_word2vec_format(path, binary=binary, limit=20)
    assert_same(loaded, WordVectors(vectors.words[:20], vectors.vectors[:20]))
    for limit in (None, 60):
        with pytest.raises(ValueError, match="is cut off"):
            WordVectors.load_word2vec_format(path, binary=binary, limit=limit)


def test_words_of_odd_bytes(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes(b"2 1\ncaf\xe9 1\nb 2\n")
    with pytest.raises(ValueError, match=r"v.txt, line 2: b'caf\\xe9' is not utf8 text"):
        WordVectors.load(path)
    for options, word in (
        ({"unicode_errors": "ignore"}, "caf"),
        ({"unicode_errors": "replace"}, "caf\ufffd"),
        ({"encoding": "latin1"}, "café"),
        ({"unicode_errors": "surrogateescape"}, "caf\udce9"),
    ):
        assert WordVectors.load_word2vec_format(path, **options).words == [word, "b"]
        expected = KeyedVectors.load_word2vec_format(str(path), **options)
        assert expected.index_to_key == [word, "b"]
    path.write_bytes(b"3 1\n\xff\xfe 1\nb 2\n\xff 3\n")
    with pytest.warns(UserWarning, match="1 words occur more than once, for example ''"):
        assert WordVectors.load(path, unicode_errors="ignore").words == ["", "b"]
    path.write_bytes(b"2 1\ncaf\xe9 1\nb 2\n")
    loaded = WordVectors.load_word2vec_format(path, unicode_errors="surrogateescape")
    loaded.save(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == path.read_bytes()


def test_the_first_of_equal_words_is_kept(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("4 1\na 1\nb 2\na 3\nc 4\n")
    with pytest.warns(UserWarning, match="1 words occur more than once, for example 'a'"):
        loaded = WordVectors.load(path)
    assert loaded.words == ["a", "b", "c"] and loaded.vectors.ravel().tolist() == [1, 2, 4]
    keyed = KeyedVectors.load_word2vec_format(str(path))
    assert [keyed[word].tolist() for word in loaded.words] == [[1], [2], [4]]


FLOATS = np.array([1, 2], "<f4").tobytes()
NAN = np.array([1, np.nan], "<f4").tobytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", b"", "line 1: expected the number of words and the width"),
        ("v.txt", b"a 0.5\n", "line 1: expected the number of words and the width, not 'a 0.5';"),
        ("v.txt", b"\xff" * 99 + b"\n", r"width, not '(\\\\xff){10}\.\.\.';"),
        ("v.txt", b"2 0\na\nb\n", "line 1: the width is 0"),
        ("v.txt", b"2 2\na 1 2\nb 1\n", "line 3: expected a word and 2 numbers, found 1 numbers"),
        ("v.txt", b"3 1\na 1\nb 2  \n", "line 4: .* found the end of the file; it is cut off"),
        ("v.txt", b"2 1\na 1\nb 2\nc 3\n", "line 4: expected the end after the 2 words"),
        ("v.txt", b"2 1\na 1\n\n", "line 3: expected a word and 1 numbers, found 0 numbers"),
        ("v.txt", b"1 1\na one\n", "line 2: could not convert"),
        ("v.txt", b"2 3\na 1  2\nb 3\t4 5 6\n", "line 2: expected a word and 3 numbers, found 2"),
        ("v.txt", b"2 2\na 1-2\nb 3 4\n", "line 2: expected a word and 2 numbers, found 1"),
        ("v.txt", b"a b\n", "a text that begins with a word.* of the format glove"),
        ("v.txt", b"2 1\n\na 1\n", "line 2: expected a word and 1 numbers"),
        ("v.txt", b"2 1\na 1\nb nan\n", "the vector of word 2, 'b', holds a number that is not"),
        ("v.txt", b"1 2\na 1e400 1\n", "the vector of word 1, 'a', holds a number that is not"),
        ("v.txt", b"9000000000 100\na 1\n", "cut off, .* line 1 promises 9,000,000,000 words"),
        ("v.txt", b"1 2\na " + FLOATS, "line 2: expected a word and 2 numbers, found"),
        ("v.txt", b"1 1\n" + b"a" * 100, "line 2: expected a word and 1 numbers, found 0"),
        ("v.glove", b"", "the file is empty"),
        ("v.glove", b"a 1 2\nb 1\n", "line 2: expected a word and 2 numbers, found 1"),
        ("v.bin", b"", "line 1: expected the number of words and the width"),
        ("v.bin", b"1000000000 100\nabc", "cut off, .* line 1 promises 1,000,000,000 words"),
        ("v.bin", b"2 2\na " + FLOATS + b"b " + FLOATS[:-1], "ends in word 2 of 2"),
        ("v.bin", b"1 2\na " + FLOATS + b"more", "does not end after the 1 words"),
        ("v.bin", b"2 2\na " + FLOATS + b"b " + NAN, "the vector of word 2, 'b', holds a number"),
        ("v.bin", b"1 2\n " + FLOATS + b"  ", "word 1: the word is empty"),
        ("v.bin", b"2 2\na " + FLOATS + b"\xff " + FLOATS, r"word 2: b'\\xff' is not utf8 text"),
        ("v.bin", b"\x80\x04\x95\n", "is not a file of gensim, or is damaged"),
        ("v.npz", b"", "is not a file of word vectors, or is damaged"),
        ("v.npz", b"PK\x03\x04 and no more", "is not a file of word vectors, or is damaged"),
        ("v.kv", b"no pickle", "v.kv is not a file of gensim, or is damaged"),
        ("v.kv", b"N.", "v.kv is not a file of gensim, or is damaged"),
        ("v.xyz", b"", "does not show its format: it ends in none of .txt"),
        ("v", b"", "does not show its format"),
        ("v.gz", b"", "does not show its format"),
        ("v.npz.gz", b"", "does not show its format"),
    ],
)
def test_load_refuses(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        WordVectors.load(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize("name", ["v.bin.gz", "v.txt.gz", "v.npz", "v.bin", "v.txt"])
def test_a_file_that_is_cut_off_anywhere_is_refused(name, vectors, tmp_path):
    path = tmp_path / name
    vectors.save(path)
    whole = path.read_bytes()
    # The last number of a text may have lost digits, and nobody can tell.
    end = whole.rfind(b" ") if name == "v.txt" else len(whole) - 2
    for length in np.linspace(0, end, 40, dtype=int).tolist():
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=name):
            WordVectors.load(path)


def test_a_file_that_is_changed_anywhere_is_refused_or_read(tmp_path):
    """Whatever the bytes are, an error is a ValueError of one line."""
    rng = np.random.default_rng(0)
    for name in ("v.bin", "v.txt", "v.npz", "v.bin.gz"):
        path = tmp_path / name
        WordVectors([f"w{i}" for i in range(9)], rng.random((9, 3))).save(path)
        whole = bytearray(path.read_bytes())
        for _ in range(150):
            changed = whole.copy()
            changed[rng.integers(len(whole))] = rng.integers(256)
            path.write_bytes(changed)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert WordVectors.load(path).vectors.shape[1] >= 1
            except ValueError as error:
                assert "\n" not in str(error)


def test_words_of_npz(tmp_path):
    words = ["x" * 100_000, "a\0", "", "two words", "\ud800", "caf\udce9", "日本語", 7, "7", -3]
    path = tmp_path / "v.npz"
    WordVectors(words, np.eye(10)).save(path)
    assert path.stat().st_size < 110_000
    assert WordVectors.load(path).words == words
    WordVectors([], np.empty((0, 3))).save(path)
    assert WordVectors.load(path).vectors.shape == (0, 3)
    np.savez_compressed(
        path, words=np.array(["ab", "c"]), vectors=np.eye(2), counts=np.uint8([2, 1])
    )
    loaded = WordVectors.load(path)
    assert loaded.words == ["ab", "c"] and loaded.counts.tolist() == [2, 1]


def test_npz_that_would_expand_out_of_proportion(tmp_path):
    path = tmp_path / "v.npz"
    np.savez_compressed(path, words=np.array(["a"]), vectors=np.zeros((1, 2**24 + 1), np.float32))
    with pytest.raises(ValueError, match=r"v\.npz .* bytes would expand to 67,"):
        WordVectors.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("words", np.array(["a"])), ("vectors", np.eye(1))):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
                file.write(b"\0" * 10_000)
    with pytest.raises(ValueError, match=r"words\.npy has 10,132 bytes, and by its header .* 132"):
        WordVectors.load(path)


def test_npz_of_other_arrays(tmp_path):
    path = tmp_path / "v.npz"
    one = np.ones(1, np.int64)
    for arrays, message in (
        ({"words": np.array(["a"])}, "it holds no array 'vectors'"),
        ({"words": np.array([1]), "vectors": np.eye(1)}, "words must be a vector of text"),
        ({"words": np.array(["a"]), "vectors": np.eye(2)}, "with a row for each of the 1 words"),
        ({"words": np.array(["a"], object), "vectors": np.eye(1)}, "v.npz is not a file of word"),
        ({"words": np.array(["a", "a"]), "vectors": np.eye(2)}, "the word 'a' occurs more than"),
        ({"words": np.array(["a"]), "vectors": np.eye(1, dtype=int)}, "vectors must be floats"),
        ({"words": np.array(["a"]), "vectors": np.ones((1, 0))}, "the width of the vectors is 0"),
        ({"words": np.array(["a"]), "vectors": np.eye(1), "counts": -one}, "at least 0"),
        (
            {"words": np.array(["a"]), "vectors": np.eye(1), "counts": np.ones(2, int)},
            "counts must",
        ),
        ({"words_utf8": np.uint8([97]), "vectors": np.eye(1)}, "no array 'word_lengths'"),
        ({"words_utf8": np.uint8([97]), "word_lengths": 2 * one, "vectors": np.eye(1)}, "fit"),
        ({"words_utf8": np.uint8([255]), "word_lengths": one, "vectors": np.eye(1)}, "decode"),
        (
            {
                "words_utf8": np.uint8([97]),
                "word_lengths": one,
                "vectors": np.eye(1),
                "word_is_integer": np.array([True]),
            },
            "invalid literal",
        ),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=message):
            WordVectors.load(path)
    np.save(tmp_path / "v.npy", np.eye(2))
    with pytest.raises(ValueError, match="it holds a single array"):
        WordVectors.load(tmp_path / "v.npy", "npz")


@pytest.mark.parametrize("word", ["", "two words", "line\n", "tab\t"])
@pytest.mark.parametrize("name", ["v.txt", "v.bin", "projector"])
def test_words_that_the_format_cannot_hold(word, name, tmp_path):
    with pytest.raises(ValueError, match="is empty or holds white space"):
        WordVectors([word], [[1.0]]).save(tmp_path / name, format=None if "." in name else name)
    assert not list(tmp_path.rglob("*.*"))


def test_formats_that_are_refused(tmp_path):
    vectors = WordVectors(["a"], [[1.0]])
    with pytest.raises(ValueError, match="format = 'csv' is not one of text, binary"):
        vectors.save(tmp_path / "v", "csv")
    with pytest.raises(ValueError, match="the format projector can only be written"):
        WordVectors.load(tmp_path, "projector")
    with pytest.raises(FileNotFoundError):
        WordVectors.load(tmp_path / "v.bin")
    for name in ("v.bin", "v.npz"):
        vectors.save(tmp_path / name)
        with pytest.raises(ValueError, match="limit is 0; it must be at least 1"):
            WordVectors.load(tmp_path / name, limit=0)


# ---- What was there before -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v.txt", "v.bin.gz", "v.npz", "v.kv"])
def test_a_full_disk_leaves_the_old_file_whole(name, tmp_path):
    path = tmp_path / name
    WordVectors(["a"], [[1.0]]).save(path)
    before = path.read_bytes()
    large = WordVectors([f"w{i}" for i in range(1000)], np.random.default_rng(0).random((1000, 50)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # as a disk that is full after 20 KB
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            large.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_places_where_nothing_can_be_written(tmp_path):
    vectors = WordVectors(["a"], [[1.0]])
    for path, message in (
        (tmp_path / "no" / "v.txt", "No such file or directory"),
        ("/dev/full", "No space left on device"),
    ):
        with pytest.raises(OSError, match=message) as caught:
            vectors.save(path, "text")
        assert caught.value.filename == str(path)


def test_gzip_bytes_depend_on_the_vectors_alone(vectors, tmp_path):
    for name in ("a.bin.gz", "b.bin.gz"):
        vectors.save(tmp_path / name)
    assert (tmp_path / "a.bin.gz").read_bytes() == (tmp_path / "b.bin.gz").read_bytes()
    vectors.save(tmp_path / "a.bin")
    with gzip.open(tmp_path / "a.bin.gz") as file:
        assert file.read() == (tmp_path / "a.bin").read_bytes()


# ---- TensorBoard ---------------------------------------------------------------------------------


@pytest.mark.parametrize("counted", [True, False])
def test_tensorboard_loads_the_projector(counted, vectors, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.projector import projector_plugin
    from werkzeug.test import Client

    vectors = WordVectors(vectors.words, vectors.vectors, vectors.counts if counted else None)
    vectors.save(tmp_path / "log", "projector")

    class Flags:
        logdir = str(tmp_path / "log")

    plugin = projector_plugin.ProjectorPlugin(
        base_plugin.TBContext(logdir=Flags.logdir, flags=Flags(), multiplexer=None)
    )
    apps = plugin.get_plugin_apps()
    embeddings = Client(apps["/info"]).get("/?run=.").get_json()["embeddings"]
    assert [each["tensorName"] for each in embeddings] == ["words"]
    query = "/?run=.&name=words"
    tensor = Client(apps["/tensor"]).get(query + "&num_rows=1000")
    assert tensor.status_code == 200
    np.testing.assert_array_equal(
        np.frombuffer(tensor.get_data(), np.float32).reshape(50, 7), vectors.vectors
    )
    lines = Client(apps["/metadata"]).get(query).get_data().decode().split("\n")
    if counted:
        assert lines[0] == "word\tcount" and lines[1] == f"wörd0\t{50**3}"
        lines = [line.split("\t")[0] for line in lines[1:]]
    assert [line for line in lines if line] == vectors.words
