"""Results equal those of gensim, on its own test files and on words that are hard to match."""

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath
from scipy import stats

from fastw2v.word2vec.vectors import WordVectors, evaluation

OPTIONS = [
    {},
    {"restrict_vocab": 1500},
    {"case_insensitive": False},
    {"dummy4unknown": True},
    {"restrict_vocab": 1500, "case_insensitive": False, "dummy4unknown": True},
]


def both(words, matrix):
    vectors = WordVectors(words, matrix)
    keyed = KeyedVectors(vectors.vector_size)
    keyed.add_vectors(vectors.words, vectors.vectors)
    return vectors, keyed


@pytest.fixture(scope="module")
def test_words():
    """Vectors for most words of gensim's test files, in several spellings.

    The second word of a pair in questions-words is the first one, a step that all pairs of the
    section share, and noise: about half of the questions are answered right.
    """
    rng = np.random.default_rng(0)
    table = {}
    for name in ("questions-words.txt", "wordsim353.tsv", "simlex999.txt"):
        with open(datapath(name), encoding="utf8") as file:
            for line in file:
                if line.startswith((":", "#")):
                    step = rng.normal(size=8) * 2
                    continue
                first, second = line.split()[:2]
                table.setdefault(first, rng.normal(size=8))
                table.setdefault(second, table[first] + step + rng.normal(size=8) / 2)
    words = list(table)
    rng.shuffle(words)
    words = words[: len(words) * 9 // 10]
    for word in words[::7]:
        table.setdefault(word.upper(), rng.normal(size=8))
        table.setdefault(word.lower(), table[word] + rng.normal(size=8) / 3)
    words = list(dict.fromkeys([*words, *map(str.upper, words[::7]), *map(str.lower, words[::7])]))
    rng.shuffle(words)
    return both(words, np.array([table[word] for word in words]))


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
def test_word_pairs_are_those_of_gensim(name, options, test_words):
    vectors, keyed = test_words
    found = vectors.evaluate_word_pairs(datapath(name), **options)
    pearson, spearman, oov_ratio = keyed.evaluate_word_pairs(datapath(name), **options)
    np.testing.assert_allclose(found.pearson, pearson, rtol=1e-4)
    np.testing.assert_allclose(found.spearman, spearman, rtol=1e-4)
    assert found.oov_ratio == pytest.approx(oov_ratio) and oov_ratio > 0
    assert found[1][0] == found.spearman.statistic


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_analogies_are_those_of_gensim(options, test_words, tmp_path):
    lines = open(datapath("questions-words.txt"), encoding="utf8").read().splitlines()
    path = tmp_path / "questions"
    # Every 20th question, and lines of other forms.
    path.write_text(
        "\n".join(
            line for number, line in enumerate(lines) if line.startswith(":") or number % 20 == 0
        )
        + "\none two three\n\n: an empty section\n"
    )
    vectors, keyed = test_words
    score, sections = vectors.evaluate_word_analogies(path, **options)
    expected_score, expected_sections = keyed.evaluate_word_analogies(str(path), **options)
    assert score == expected_score
    assert sections == expected_sections
    assert len(sections) == 16 and sections[-1]["section"] == "Total accuracy"
    assert 0 < len(sections[-1]["correct"]) < len(sections[-1]["incorrect"])


def test_arguments_by_position_are_those_of_gensim(test_words, tmp_path):
    vectors, keyed = test_words
    path = tmp_path / "pairs"
    path.write_text(open(datapath("wordsim353.tsv"), encoding="utf8").read().replace("\t", ";"))
    arguments = (";", "utf8", 1500, False, True)
    found = vectors.evaluate_word_pairs(path, *arguments)
    expected = keyed.evaluate_word_pairs(str(path), *arguments)
    np.testing.assert_allclose(found.spearman, expected[1], rtol=1e-4)
    questions = tmp_path / "questions"
    questions.write_text(": s\nAthens Greece Baghdad Iraq\nAthens Greece Bangkok Thailand\n")
    arguments = (1500, False, True, "most_similar")
    assert vectors.evaluate_word_analogies(questions, *arguments) == keyed.evaluate_word_analogies(
        str(questions), *arguments
    )
    with pytest.raises(ValueError, match="similarity_function = 'most_similar_cosmul' is not"):
        vectors.evaluate_word_analogies(questions, similarity_function="most_similar_cosmul")


def test_what_is_found_is_logged(test_words, caplog):
    vectors, _ = test_words
    with caplog.at_level("INFO"):
        pairs = vectors.evaluate_word_pairs(datapath("wordsim353.tsv"))
        vectors.log_evaluate_word_pairs((0.25, 0.1), (0.5, 0.1), 12.5, "some pairs")
        vectors.log_accuracy({"section": "capitals", "correct": [1, 2], "incorrect": [3]})
        vectors.log_accuracy({"section": "empty", "correct": [], "incorrect": []})
    assert f"wordsim353.tsv: {pairs.spearman.statistic:.4f}" in caplog.text
    assert "some pairs: 0.2500" in caplog.text and "unknown word: 12.5%" in caplog.text
    assert "capitals: 66.7% (2/3)" in caplog.text and "empty" not in caplog.text


def test_words_that_are_numbers_are_those_that_a_file_spells(tmp_path):
    (tmp_path / "pairs").write_text("1\t2\t3\n2\t3\t1\n1\t3\t9\n")
    (tmp_path / "questions").write_text(": s\n1 2 3 1\n1 2 3 4\n")
    matrix = np.random.default_rng(0).normal(size=(4, 3))
    numbers, texts = WordVectors([1, 2, 3, 4], matrix), WordVectors(list("1234"), matrix)
    for name, path in (("evaluate_word_pairs", "pairs"), ("evaluate_word_analogies", "questions")):
        found, expected = (getattr(each, name)(tmp_path / path) for each in (numbers, texts))
        assert found == expected


def test_blocks_do_not_change_the_answers(test_words, tmp_path, monkeypatch):
    vectors, _ = test_words
    path = tmp_path / "questions"
    lines = open(datapath("questions-words.txt"), encoding="utf8").read().splitlines()
    path.write_text("\n".join(lines[:300]))
    expected = vectors.evaluate_word_analogies(path)
    monkeypatch.setattr(evaluation, "_BLOCK_QUESTIONS", 7)
    assert vectors.evaluate_word_analogies(path) == expected


def test_answers_that_are_spelled_as_the_question(tmp_path):
    """Where all five nearest words are other spellings of the question's, gensim takes the last."""
    words = "a b c d A B C aA Aa AA bB Bb BB cC cc CC".split()
    rng = np.random.default_rng(3)
    path = tmp_path / "questions"
    path.write_text(
        ": s\na b c d\na b c a\na aa b bb\naa bb cc a\naa bb cc aa\nbb aa cc bb\naa aa aa aa\n"
    )
    some_right = 0
    for _ in range(20):
        vectors, keyed = both(words, rng.normal(size=(len(words), 2)))
        for insensitive in (True, False):
            expected = keyed.evaluate_word_analogies(str(path), case_insensitive=insensitive)
            found = vectors.evaluate_word_analogies(path, case_insensitive=insensitive)
            assert found == expected
            some_right += expected[0] > 0
    assert some_right > 3


def test_no_known_question(tmp_path):
    vectors = WordVectors(["a"], [[1.0, 2.0]])
    path = tmp_path / "questions"
    path.write_text(": s\na b c d\n")
    score, sections = vectors.evaluate_word_analogies(path)
    assert score == 0.0
    assert sections[0] == {"section": "s", "correct": [], "incorrect": []}
    _, sections = vectors.evaluate_word_analogies(path, dummy4unknown=True)
    assert sections[0]["incorrect"] == [("A", "B", "C", "D")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b c d\n", "questions, line 1: expected the name of a section"),
        (b"", "questions holds no questions"),
        (b": s\na b c\n", "questions holds no questions"),
        (b": s\na b c \xff\n", "questions is not utf8 text"),
    ],
)
def test_analogies_that_are_refused(content, message, tmp_path):
    (tmp_path / "questions").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordVectors(["a"], [[1.0]]).evaluate_word_analogies(tmp_path / "questions")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pairs: 0 of 0 pairs have vectors"),
        (b"a\tb\t1\n", "pairs: 1 of 1 pairs have vectors"),
        (b"a\tb\t1\na\tx\t1\n", "pairs: 1 of 2 pairs have vectors"),
        (b"a b 1\na b 2\n", "pairs: 0 of 0 pairs have vectors.*separated by"),
        (b"a\xff\tb\t1\n", "pairs is not utf8 text"),
    ],
)
def test_pairs_that_are_refused(content, message, tmp_path):
    (tmp_path / "pairs").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordVectors(["a", "b"], np.eye(2)).evaluate_word_pairs(tmp_path / "pairs")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 30, 1000, 100_000])
def test_correlations_are_those_of_scipy(n):
    rng = np.random.default_rng(n)
    for noise in (0.01, 1, 30):
        x = rng.normal(size=n).round(1)  # with ties
        y = x + rng.normal(size=n) * noise
        found = evaluation._pearson(x, y)
        expected = stats.pearsonr(x, y)
        np.testing.assert_allclose(found, (expected.statistic, expected.pvalue), 1e-6, 1e-200)
        np.testing.assert_array_equal(evaluation._ranks(x), stats.rankdata(x))
    with np.errstate(all="raise"):
        assert np.isnan(evaluation._pearson(np.ones(3), np.arange(3.0))).all()
