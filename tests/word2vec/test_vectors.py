import numpy as np
import pytest
from gensim.models import KeyedVectors

from fastw2v.word2vec.vectors import WordVectors


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-30, 30, (50, 1))
    return WordVectors(
        [f"wörd{i}" for i in range(50)], (rng.normal(size=(50, 7)) * scales).astype(np.float32)
    )


def test_round_trip_gives_the_same_bits(vectors, tmp_path):
    vectors.save_word2vec_format(tmp_path / "vectors.txt")
    loaded = WordVectors.load_word2vec_format(tmp_path / "vectors.txt")
    assert loaded.words == vectors.words
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)


def test_gensim_loads_the_file(vectors, tmp_path):
    vectors.save_word2vec_format(tmp_path / "vectors.txt")
    loaded = KeyedVectors.load_word2vec_format(tmp_path / "vectors.txt")
    assert loaded.index_to_key == vectors.words
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)


def test_loads_the_file_of_gensim(vectors, tmp_path):
    keyed_vectors = KeyedVectors(7)
    keyed_vectors.add_vectors(vectors.words, vectors.vectors)
    keyed_vectors.save_word2vec_format(tmp_path / "vectors.txt")
    loaded = WordVectors.load_word2vec_format(tmp_path / "vectors.txt")
    assert loaded.words == vectors.words
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)


def test_most_similar_is_that_of_gensim():
    keyed_vectors = KeyedVectors(5)
    words = [f"w{i}" for i in range(100)]
    vectors = WordVectors(words, np.random.default_rng(1).normal(size=(100, 5)))
    keyed_vectors.add_vectors(words, vectors.vectors)
    for restrict_vocab in (None, 20):
        expected = keyed_vectors.most_similar("w50", topn=9, restrict_vocab=restrict_vocab)
        found = vectors.most_similar("w50", topn=9, restrict_vocab=restrict_vocab)
        assert [word for word, _ in found] == [word for word, _ in expected]
        np.testing.assert_allclose([c for _, c in found], [c for _, c in expected], atol=1e-6)


def test_most_similar_at_the_edges():
    vectors = WordVectors(["a", "zero", "b"], [[1, 0], [0, 0], [2, 0]])
    assert vectors.most_similar("a") == [("b", 1.0), ("zero", 0.0)]
    assert vectors.most_similar("b", topn=1) == [("a", 1.0)]
    assert vectors.most_similar("a", topn=0) == []
    with pytest.raises(KeyError, match="nowhere"):
        vectors.most_similar("nowhere")


def test_lookup():
    vectors = WordVectors(["a", "b"], [[1, 2], [3, 4]])
    assert len(vectors) == 2 and "b" in vectors and "c" not in vectors
    assert vectors["b"].tolist() == [3, 4]
    assert vectors.vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("words", "matrix", "message"),
    [
        (["a", "b"], [[1, 2]], r"vectors has shape \(1, 2\).*the 2 words"),
        (["a"], [1], r"vectors has shape \(1,\)"),
        (["a", "b", "a"], np.zeros((3, 1)), "the word 'a' occurs more than once"),
    ],
)
def test_words_and_vectors_must_agree(words, matrix, message):
    with pytest.raises(ValueError, match=message):
        WordVectors(words, matrix)


@pytest.mark.parametrize("word", ["", "two words", "line\n"])
def test_words_that_the_format_cannot_hold(word, tmp_path):
    with pytest.raises(ValueError, match="is empty or holds white space"):
        WordVectors([word], [[1.0]]).save_word2vec_format(tmp_path / "vectors.txt")
    assert not (tmp_path / "vectors.txt").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the number of words and the width"),
        ("a 0.5\n", "line 1: expected the number of words and the width"),
        ("2 2\na 1 2\nb 1\n", "line 3: expected a word and 2 numbers, found 1 numbers"),
        ("2 1\na 1\n", "line 3: expected a word and 1 numbers, found 0 numbers"),
        ("1 1\na one\n", "line 2: could not convert"),
    ],
)
def test_load_refuses(text, message, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        WordVectors.load_word2vec_format(path)
