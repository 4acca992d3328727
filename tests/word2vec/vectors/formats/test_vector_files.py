"""Saving and loading as gensim users do, with the real package on the other side.

What stands in the files is tested in test_formats.py.
"""

import gzip

import numpy as np
import pytest
from gensim.models import KeyedVectors as GensimVectors
from gensim.models import Word2Vec as GensimModel

from fastw2v.word2vec.vectors import KeyedVectors, WordVectors


@pytest.fixture
def vectors():
    table = np.random.default_rng(3).normal(size=(6, 5)).astype(np.float32)
    return WordVectors(["c", "a", "ü", "b", "e", "d"], table, [3, 9, 1, 3, 7, 0])


def assert_equal(found, expected):
    assert list(found.index_to_key) == list(expected.index_to_key)
    assert [type(word) for word in found.index_to_key] == [
        type(word) for word in expected.index_to_key
    ]
    assert dict(found.key_to_index) == dict(expected.key_to_index)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert found.vectors.dtype == expected.vectors.dtype
    assert found.expandos.keys() == expected.expandos.keys()
    for attr, values in expected.expandos.items():
        assert found.expandos[attr].dtype == values.dtype
        assert found.expandos[attr].tolist() == values.tolist()


@pytest.mark.filterwarnings("ignore:Adding single vectors")
@pytest.mark.parametrize("words", [[5, 0, 10**12, 3], ["a", "ü", "c d", ""], ["a", 7, "7", 0]])
def test_gensim_opens_our_file_and_we_open_its(words, tmp_path):
    table = np.random.default_rng(1).normal(size=(4, 3))
    vectors = WordVectors(words, table, [4, 3, 2, 1])
    vectors.set_vecattr(words[1], "weight", 0.5)
    vectors.save(tmp_path / "ours.kv")
    theirs = GensimVectors.load(str(tmp_path / "ours.kv"))
    assert_equal(theirs, vectors)
    assert theirs.most_similar(positive=[words[0]])[0][0] == vectors.most_similar([words[0]])[0][0]
    theirs.add_vector("more", table[0])
    theirs.save(str(tmp_path / "theirs.kv"))
    assert_equal(KeyedVectors.load(tmp_path / "theirs.kv"), theirs)
    theirs.save(str(tmp_path / "any name"))
    assert_equal(KeyedVectors.load(tmp_path / "any name"), theirs)


def test_vectors_of_a_file_of_their_own_are_mapped(vectors, tmp_path):
    theirs = vectors.to_gensim()
    theirs.save(str(tmp_path / "theirs.kv"), separately=["vectors"])
    loaded = KeyedVectors.load(str(tmp_path / "theirs.kv"), mmap="r")
    assert_equal(loaded, theirs)
    base = loaded.vectors
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    loaded["a"] = np.zeros(5)  # a copy from now on
    assert not loaded["a"].any()
    assert_equal(KeyedVectors.load(str(tmp_path / "theirs.kv"), mmap="r"), theirs)
    vectors.save(tmp_path / "ours.kv")
    assert_equal(KeyedVectors.load(tmp_path / "ours.kv", mmap="r"), vectors)
    with pytest.raises(ValueError, match="mmap = 'w' is not one of"):
        KeyedVectors.load(tmp_path / "ours.kv", mmap="w")


@pytest.mark.parametrize("name", ["word2vec.wordvectors", "vectors", "v.2024-01-01", "v.pkl"])
def test_any_name_will_do(name, vectors, tmp_path):
    vectors.save(tmp_path / name)
    assert_equal(KeyedVectors.load(tmp_path / name, mmap="r"), vectors)
    assert KeyedVectors.load(tmp_path / name, limit=2).words == ["c", "a"]
    with np.load(tmp_path / name) as arrays:  # NumPy's format, as documented
        np.testing.assert_array_equal(arrays["vectors"], vectors.vectors)


def test_names_of_files_that_are_not_found_or_not_known(tmp_path):
    (tmp_path / "other").write_text("This is a text.\n")
    for path in (tmp_path / "other", tmp_path / "missing"):
        with pytest.raises(ValueError, match="does not show its format"):
            KeyedVectors.load(path)


def test_formats_refuse_words_that_they_cannot_keep(tmp_path):
    vectors = WordVectors([("a", 1)], np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"the word \('a', 1\) is a tuple; the format npz holds"):
        vectors.save(tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("binary", [False, True])
def test_arguments_of_saving_are_those_of_gensim(binary, vectors, tmp_path):
    theirs = vectors.to_gensim()
    for number, options in enumerate(
        (
            {},
            {"total_vec": 99},
            {"write_header": False},
            {"prefix": "*dt_"},
            {"sort_attr": "missing"},
            {"sort_attr": "count", "prefix": "p"},
        )
    ):
        ours, other = tmp_path / f"ours{number}", tmp_path / f"theirs{number}"
        vectors.save_word2vec_format(ours, binary=binary, **options)
        theirs.save_word2vec_format(str(other), binary=binary, **options)
        if binary:  # gensim writes no line end behind a vector
            header = 0 if options.get("write_header") is False else 1
            lengths = [
                len(f"{options.get('prefix', '')}{word} ".encode()) + 20 for word in "abcüed"
            ]
            assert ours.stat().st_size == other.stat().st_size + len(lengths)
            if header:
                assert ours.read_bytes().split(b"\n")[0] == other.read_bytes().split(b"\n")[0]
            continue
        found, expected = (path.read_text().splitlines() for path in (ours, other))
        assert [line.split()[0] for line in found] == [line.split()[0] for line in expected]
        for line, expected_line in zip(found, expected, strict=True):
            np.testing.assert_array_equal(
                np.float32(line.split()[1:]), np.float32(expected_line.split()[1:])
            )
    vectors.save_word2vec_format(
        tmp_path / "v", tmp_path / "counts", binary, None, True, "x", False, "count"
    )
    assert (tmp_path / "counts").read_text() == "xa 9\nxe 7\nxc 3\nxb 3\nxü 1\nxd 0\n"


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", ["v", "v.gz"])
def test_files_are_appended_to(name, binary, vectors, tmp_path):
    path = tmp_path / name
    more = WordVectors([7, 8], np.ones((2, 5)))
    vectors.save_word2vec_format(path, binary=binary, total_vec=8)
    more.save_word2vec_format(path, binary=binary, write_header=False, append=True, prefix="*dt_")
    for cls in (WordVectors, GensimVectors):
        loaded = cls.load_word2vec_format(str(path), binary=binary)
        assert loaded.index_to_key == ["a", "e", "c", "b", "ü", "d", "*dt_7", "*dt_8"]
        np.testing.assert_array_equal(loaded["ü"], vectors["ü"])
        np.testing.assert_array_equal(loaded[["*dt_7", "*dt_8"]], np.ones((2, 5)))
    assert path.read_bytes().startswith(b"\x1f\x8b" if name.endswith(".gz") else b"8 5\n")
    more.save_word2vec_format(tmp_path / "new", append=True)
    assert (tmp_path / "new").read_text() == "2 5\n7 1 1 1 1 1\n8 1 1 1 1 1\n"
    more.save_word2vec_format(tmp_path / "n.gz", total_vec=3)
    assert gzip.decompress((tmp_path / "n.gz").read_bytes()).startswith(b"3 5\n7 1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "new", "n.gz"])


def test_rows_that_wait_for_a_word_are_not_written(tmp_path):
    vectors = WordVectors(vector_size=2, count=3)
    vectors.add_vector("a", [1, 2])
    for name in ("v.txt", "v.npz", "v.kv"):
        vectors.save(tmp_path / name)
        assert WordVectors.load(tmp_path / name).words == ["a"]


def test_arguments_of_loading_are_those_of_gensim(vectors, tmp_path):
    vectors.save_word2vec_format(tmp_path / "v.txt", tmp_path / "counts")
    arguments = (str(tmp_path / "counts"), False, "utf8", "strict", 3, np.float16, False)
    ours = KeyedVectors.load_word2vec_format(tmp_path / "v.txt", *arguments)
    theirs = GensimVectors.load_word2vec_format(str(tmp_path / "v.txt"), *arguments)
    assert_equal(ours, theirs)
    ours = KeyedVectors.load_word2vec_format(fname=tmp_path / "v.txt", datatype=np.float64)
    assert ours.vectors.dtype == np.float64 and ours.counts is None
    with pytest.raises(KeyError, match="how often the words occur is not known: assign counts"):
        ours.get_vecattr("a", "count")


@pytest.mark.parametrize("binary", [False, True])
def test_vectors_of_a_file_replace_those_of_known_words(binary, vectors, tmp_path):
    other = WordVectors(["b", "x", "ü"], np.ones((3, 5)))
    other.save_word2vec_format(tmp_path / "other", binary=binary)
    other.save_word2vec_format(tmp_path / "text")
    model = GensimModel(vector_size=5, min_count=1)
    model.build_vocab([vectors.words])
    theirs = model.wv
    theirs.vectors_lockf = np.ones(len(theirs), np.float32)
    theirs[vectors.words] = vectors.vectors
    vectors.intersect_word2vec_format(tmp_path / "other", lockf=0.25, binary=binary)
    # gensim's reading of binary files calls what NumPy 2 has no more.
    theirs.intersect_word2vec_format(str(tmp_path / "text"), lockf=0.25)
    for word in vectors.words:
        np.testing.assert_array_equal(vectors[word], theirs[word])
        assert (
            vectors.vectors_lockf[vectors.index[word]]
            == theirs.vectors_lockf[theirs.get_index(word)]
        )
    assert vectors["ü"].tolist() == [1] * 5 and "x" not in vectors
    assert vectors.most_similar("b", topn=1)[0][0] == "ü"
    assert "took 2 vectors" in vectors.lifecycle_events[-1]["msg"]
    with pytest.raises(ValueError, match="its vectors have width 5; these have width 2"):
        WordVectors(["b"], np.ones((1, 2))).intersect_word2vec_format(
            tmp_path / "other", binary=binary
        )


def test_a_part_of_the_words(vectors):
    theirs = vectors.to_gensim()
    keys = ["ü", "missing", "a", "ü", "d"]
    ours = vectors.vectors_for_all(iter(keys), copy_vecattrs=True)
    assert_equal(ours, theirs.vectors_for_all(keys, copy_vecattrs=True))
    ours["ü"] = np.zeros(5)
    assert vectors["ü"].any() and theirs["ü"].any()
    assert vectors.vectors_for_all(keys, allow_inference=False).expandos == {}
    assert len(vectors.vectors_for_all([])) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_and_from_gensim_keep_everything(dtype):
    words = ["a", 7, ("b", 1), 2.5]
    table = np.random.default_rng(1).normal(size=(4, 3))
    vectors = WordVectors(words, table, [4, 3, 2, 1], dtype=dtype)
    vectors.set_vecattr("a", "tag", "x")
    theirs = vectors.to_gensim()
    assert_equal(theirs, vectors)
    theirs.set_vecattr("a", "tag", "y")
    assert vectors.get_vecattr("a", "tag") == "x"
    again = WordVectors.from_gensim(theirs)
    assert_equal(again, theirs)
    assert again.counts.tolist() == vectors.counts.tolist()
