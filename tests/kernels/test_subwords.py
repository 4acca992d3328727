"""N-grams of words against their definition, and training on words that are bags of rows."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.word2vec_definition import WORDS, only_noise, tables, train, with_noise, with_tree

ROWS = 45  # of the embeddings: those of 30 words and 15 of n-grams


def fnv(data):
    """FNV-1a of 32 bits, with bytes extended by their sign as fastText has it."""
    value = 2166136261
    for byte in data:
        value ^= byte if byte < 128 else byte + 0xFFFFFF00
        value = value * 16777619 % 2**32
    return value


def ngrams(word, low, high):
    """By Python's characters, which are runs of bytes here."""
    if word == "</s>":
        return []
    marked = f"<{word}>"
    found = []
    for begin in range(len(marked)):
        for n in range(max(low, 1), high + 1):
            is_bracket = n == 1 and (begin == 0 or begin == len(marked) - 1)
            if begin + n <= len(marked) and not is_bracket:
                found.append(marked[begin : begin + n])
    return found


@pytest.mark.parametrize("low, high", [(3, 6), (1, 2), (0, 3), (4, 4), (5, 3), (20, 30)])
@pytest.mark.parametrize(
    "word", ["where", "a", "", "naïve", "日本語", "a\U0001f600b", "</s>", "<>"]
)
def test_ngrams(kernels, word, low, high):
    got = kernels.subwords(word.encode(), low, high, 1000)
    assert got.tolist() == [fnv(each.encode()) % 1000 for each in ngrams(word, low, high)]


def test_ngrams_are_those_of_gensim(kernels):
    fasttext = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed")
    for word in ("where", "naïve", "日本語", "x", "counterrevolutionaries"):
        for low, high, bucket in ((3, 6, 2_000_000), (1, 3, 50), (2, 12, 999)):
            expected = list(fasttext.ft_ngram_hashes(word, low, high, bucket))
            assert kernels.subwords(word.encode(), low, high, bucket).tolist() == expected


def test_bytes_that_are_no_text_have_ngrams(kernels):
    got = kernels.subwords(b"\xff\x80\xfe", 1, 1, 1000)  # a character begins where no 10xxxxxx is
    assert got.tolist() == [fnv(b"\xff\x80") % 1000, fnv(b"\xfe") % 1000]


def test_bags(kernels):
    splits, rows = kernels.word_bags([b"up", b"</s>", b"down"], 3, 3, 100)
    assert splits.tolist() == [0, 3, 4, 9]
    assert rows[[0, 3, 4]].tolist() == [0, 1, 2]
    assert (rows[5:] - 3).tolist() == [fnv(each) % 100 for each in (b"<do", b"dow", b"own", b"wn>")]
    for name, rules in (("min_n", (-1, 3, 5)), ("max_n", (1, -3, 5)), ("bucket", (1, 3, -5))):
        with pytest.raises(ValueError, match=f"{name} = -. is not in"):
            kernels.word_bags([b"up"], *rules)
    with pytest.raises(ValueError, match=r"2\^31 - 1 rows"):
        kernels.word_bags([b"up"], 3, 3, 2**31 - 1)
    with pytest.raises(TypeError, match="bytes"):
        kernels.word_bags(["up"], 3, 3, 5)


def test_means(kernels):
    table = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    splits, rows = np.array([0, 2, 3, 6]), np.array([4, 4, 8, 0, 1, 2])
    got = kernels.mean_rows(table, splits, rows, num_threads=2)
    expected = [table[bag].mean(axis=0) for bag in ([4, 4], [8], [0, 1, 2])]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    for wrong in (np.array([0, 2, 2, 6]), np.array([0, 2, 3, 7])):
        with pytest.raises(ValueError, match="empty bag|row_splits"):
            kernels.mean_rows(table, wrong, rows)
    with pytest.raises(ValueError, match=r"not in \[0, 9\)"):
        kernels.mean_rows(table, splits, rows + 3)


def bags_of(seed=5):
    """A bag for each word: its own row and up to six of n-grams, some of them twice."""
    rng = np.random.default_rng(seed)
    bags = [[word, *rng.integers(WORDS, ROWS, size=rng.integers(7))] for word in range(WORDS)]
    bags[3] = [3, WORDS, WORDS, WORDS + 1]
    splits = np.cumsum([0, *map(len, bags)])
    return bags, (splits, np.concatenate(bags).astype(np.int32))


def embeddings_of(seed=0, dim=20):
    rows, _ = tables(seed, dim, ROWS)
    return rows, tables(seed, dim)[1]


FORMS = {
    "skip-gram": {},
    "cbow": {"cbow": True},
    "cbow sums": {"cbow": True, "mean": False},
}
TEXT = np.array([3, 4, -1, 7, 7, 8, 9, 10, 11, 3, 3, 5, -1, 2, 3, 2, 6, 1, 12, 29, 28], np.int32)


@pytest.mark.parametrize("dim", [1, 20, 100, 300])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("has_tree", [False, True])
def test_training_equals_the_definition(kernels, form, has_tree, dim):
    bags, given = bags_of()
    embeddings, weights = embeddings_of(dim=dim)
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    tree = kernels.huffman_tree(np.arange(1.0, WORDS + 1)) if has_tree else None
    noise = None if has_tree else only_noise(kernels)
    got = kernels.train_word2vec(
        *(embeddings, weights, TEXT, None, noise, [1, 2]),
        **{"tree": tree, "bags": given, "window": 3, "shrink_windows": False, "negative": 4},
        **{"group": 3, "shared": 2, "start_alpha": 0.05, "end_alpha": 0.02},
        **FORMS[form],
    )
    classes = with_tree(tree) if has_tree else with_noise(4)
    loss, examples, _ = train(
        *(TEXT, *truth, 3, classes, 3, 0.05, 0.02),
        **{"bags": bags, "words_are_classes": not has_tree, **FORMS[form]},
    )
    assert got[:2] == (pytest.approx(loss, rel=1e-5), examples)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_steps_that_would_overshoot_are_shortened(kernels, form):
    """Words share most of their rows, so that a step of one is a step of all."""
    bags = [[word, 30, 31, 32, 33, 34, 35, 36] for word in range(WORDS)]
    given = (np.arange(WORDS + 1) * 8, np.concatenate(bags).astype(np.int32))
    ids = np.random.default_rng(3).integers(WORDS, size=60).astype(np.int32)
    embeddings, weights = embeddings_of()
    truth = [table.astype(np.float64) for table in (embeddings, weights)]
    got = kernels.train_word2vec(
        *(embeddings, weights, ids, None, only_noise(kernels), [1, 2]),
        **{"bags": given, "window": 4, "shrink_windows": False, "negative": 4, "group": 16},
        **{"shared": 3, "start_alpha": 0.5, "end_alpha": 0.5},
        **FORMS[form],
    )
    loss, _, lengths = train(
        *(ids, *truth, 4, with_noise(4), 16, 0.5, 0.5), bags=bags, **FORMS[form]
    )
    assert lengths[0] == 16 and min(lengths) < 8
    assert got[0] == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(embeddings, truth[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(weights, truth[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_bags_of_one_row_are_words(kernels, form):
    given = (np.arange(WORDS + 1), np.arange(WORDS, dtype=np.int32))
    ids = np.random.default_rng(1).integers(WORDS, size=500, dtype=np.int32)
    trained = []
    for bags in (None, given):
        found = tables()
        kernels.train_word2vec(
            *(*found, ids, None, only_noise(kernels), [1, 2]), bags=bags, **FORMS[form]
        )
        trained.append(found)
    np.testing.assert_allclose(trained[0], trained[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_deterministic_for_any_number_of_threads(kernels, form):
    rng = np.random.default_rng(4)
    ids = rng.integers(WORDS, size=12_000, dtype=np.int32)
    ids[rng.random(ids.size) < 0.1] = -1
    _, given = bags_of()

    def trained(threads):
        found = embeddings_of()
        result = kernels.train_word2vec(
            *(*found, ids, None, only_noise(kernels), [1, 2]),
            **{"bags": given, "deterministic": True, "num_threads": threads, **FORMS[form]},
        )
        return result, *found

    first = trained(1)
    for threads in (2, 5):
        for one, other in zip(first, trained(threads), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("threads, deterministic", [(1, False), (4, False), (4, True)])
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_no_rate_leads_to_infinity(kernels, form, threads, deterministic, rate):
    rng = np.random.default_rng(4)
    ids = np.minimum(rng.geometric(0.3, size=4_000), WORDS - 1).astype(np.int32)
    bags = [[word, 30, 31, 32, 33, 34] for word in range(WORDS)]
    given = (np.arange(WORDS + 1) * 6, np.concatenate(bags).astype(np.int32))
    embeddings, weights = embeddings_of()
    counts = np.bincount(ids, minlength=WORDS).astype(np.float64)
    for epoch in range(2):
        loss, *_ = kernels.train_word2vec(
            *(embeddings, weights, ids, None, kernels.noise_table(counts, 0.75), [1, epoch]),
            **{"bags": given, "window": 20, "negative": 20, "group": 24, "shared": 24},
            **{"start_alpha": rate, "end_alpha": rate, "deterministic": deterministic},
            **{"num_threads": threads, **FORMS[form]},
        )
        assert np.isfinite(loss)
    assert np.linalg.norm(np.concatenate([embeddings, weights]), axis=1).max() < 1000


@pytest.mark.parametrize(
    "splits, rows, message",
    [
        ([0, 1, 1], [0, 1], "bag_splits goes from 0 to 1, expected 0 to 2"),
        ([1, 1, 2], [0, 1], "bag_splits goes from 1 to 2"),
        ([0, 0, 2], [0, 1], r"bag_splits\[1\] = 0 is not above the one before, 0"),
        ([0, 3, 2], [0, 1], r"bag_splits\[2\] = 2 is not above the one before, 3"),
        ([0, 1, 2], [0, 3], r"bag_rows\[1\] = 3 is not in \[0, 3\)"),
        ([0, 1, 2], [-1, 0], r"bag_rows\[0\] = -1 is not in"),
    ],
)
def test_refuses_bags_that_are_none(kernels, splits, rows, message):
    embeddings, weights = np.zeros((3, 4), np.float32), np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match=message):
        kernels.train_word2vec(
            *(embeddings, weights, np.zeros(2, np.int32), None),
            *(kernels.noise_table(np.ones(2), 1.0), [1, 2]),
            bags=(np.array(splits), np.array(rows, np.int32)),
        )
