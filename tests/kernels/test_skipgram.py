"""Skip-gram pairs and CBOW bags of the core, against their definition in plain Python."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from kernels.skipgram_definition import (
    SMALL,
    TEXTS,
    Text,
    define_bags,
    define_pairs,
)

# Half of the words stay; the first never, the last always.
KEEP = np.linspace(0, 1, 50, dtype=np.float32)
SEED = (3, -(2**40))

OPTIONS = {
    "as they are": {},
    "full windows": {"shrink_windows": False},
    "subsampled": {"keep_probability": KEEP},
    "subsampled, full windows": {"keep_probability": KEEP, "shrink_windows": False},
    "none stays": {"keep_probability": np.zeros(50, np.float32)},
    "all stay": {"keep_probability": np.ones(50, np.float32)},
    "shuffled": {"shuffle": True},
    "subsampled and shuffled": {"keep_probability": KEEP, "shuffle": True},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def check(kernels, text, window, options, num_threads=1):
    arguments = {"row_splits": text.row_splits, "num_threads": num_threads, "seed": SEED}
    pairs = np.stack(kernels.skip_grams(text.ids, window, **arguments, **options), axis=1)
    np.testing.assert_array_equal(pairs, define_pairs(kernels, text, window, seed=SEED, **options))
    assert pairs.dtype == np.int64
    if window > 10**6:
        return  # bags of this width fit into no memory
    found = kernels.cbow_bags(text.ids, window, **arguments, **options)
    expected = define_bags(kernels, text, window, seed=SEED, **options)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# One, an odd one, the last that is always run over in whole and the first that is not, and windows
# longer than any sentence.
@pytest.mark.parametrize("window", [1, 5, 16, 17, 100, 2**31 - 1])
@pytest.mark.parametrize("text", SMALL.values(), ids=SMALL)
@each_option
def test_small_texts(kernels, text, window, options):
    check(kernels, text, window, options)


@pytest.mark.parametrize("window", [2, 20])
@pytest.mark.parametrize("text", [name for name in TEXTS if name not in SMALL])
@pytest.mark.parametrize("name", ["full windows", "subsampled", "subsampled and shuffled"])
def test_texts_of_several_tasks(kernels, text, window, name):
    check(kernels, TEXTS[text], window, OPTIONS[name], num_threads=2)


def test_long_windows_over_the_end_of_a_task(kernels):
    size, window = 8400, 250
    centers, contexts = kernels.skip_grams(np.arange(size), window, shrink_windows=False)
    # Distance d is met by 2 (n - d) pairs.
    assert len(centers) == sum(2 * (size - distance) for distance in range(1, window + 1))
    for center in (8191, 8192, 8399):
        words = np.arange(center - window, min(center + window + 1, size))
        np.testing.assert_array_equal(contexts[centers == center], words[words != center])


def test_ids_of_any_size(kernels):
    text = Text(np.array([2**62, 2**63 - 1, 0, -(2**63), 2**40, 1]))
    for options in ({}, {"shrink_windows": False}, {"shuffle": True}):
        check(kernels, text, 2, options)


@each_option
def test_the_number_of_threads_does_not_matter(kernels, options):
    rng = np.random.default_rng(1)
    ids = rng.integers(-1, 50, 40_000)
    splits = np.unique(np.concatenate([[0], rng.integers(0, len(ids), 900), [len(ids)]]))
    for make, row_splits in itertools.product(
        (kernels.skip_grams, kernels.cbow_bags), (None, splits)
    ):
        expected, *others = (
            make(ids, 4, row_splits=row_splits, seed=SEED, num_threads=num_threads, **options)
            for num_threads in (1, 2, 3, 8)
        )
        for other in others:
            for one, two in zip(expected, other, strict=True):
                np.testing.assert_array_equal(one, two)


def test_draws_belong_to_positions(kernels):
    """A word more or less leaves the draws of all others as they are."""
    ids = np.arange(1, 201) % 50
    ids[100] = 0  # never stays
    options = {"keep_probability": KEEP, "seed": SEED}
    bags, labels = kernels.cbow_bags(ids, 3, **options)
    ids[100] = 49  # always stays
    more_bags, more_labels = kernels.cbow_bags(ids, 3, **options)
    place = np.flatnonzero(labels != more_labels[:-1])[0]
    assert more_labels[place] == 49
    np.testing.assert_array_equal(np.delete(more_labels, place), labels)
    far = np.abs(np.arange(len(labels)) - place) > 3
    np.testing.assert_array_equal(np.delete(more_bags, place, axis=0)[far], bags[far])


def test_seeds_matter(kernels):
    seeds = [(0, 0), (0, 1), (1, 0), (-1, 0), (2**32, 0), (0, 2**32)]
    ids = np.arange(300)
    for options in (
        {"shrink_windows": False, "keep_probability": np.full(300, 0.5, np.float32)},
        {},
        {"shrink_windows": False, "shuffle": True},
    ):
        found = {
            tuple(kernels.skip_grams(ids, 6, seed=seed, **options)[1].tolist()) for seed in seeds
        }
        assert len(found) == len(seeds)


def test_every_order_is_equally_likely(kernels):
    # Two words in two sentences: four pairs, 24 orders.
    ids = np.array([0, 1, -1, 2, 3])
    rounds = 12_000
    orders = Counter(
        tuple(kernels.skip_grams(ids, 1, seed=(seed, 5), shuffle=True)[0].tolist())
        for seed in range(rounds)
    )
    assert len(orders) == 24
    expected = rounds / 24
    chi_square = sum((count - expected) ** 2 / expected for count in orders.values())
    assert chi_square < 49.7  # 23 degrees of freedom: 1 in 1000


@pytest.mark.parametrize(
    ("counts", "sample"),
    [
        ([5000, 900, 300, 7, 1], 1e-2),
        ([10**9, 10**6, 10, 1], 1e-4),
        ([1, 1, 1], 1e-3),
        ([1e300, 1e-300], 0.5),
    ],
)
def test_keep_probabilities_are_those_of_the_formula(kernels, counts, sample):
    found = kernels.keep_probabilities(np.array(counts, np.float64), sample)
    with np.errstate(over="ignore"):
        ratio = sample * (np.sum(counts) / np.array(counts))
    np.testing.assert_allclose(found, np.minimum(1, np.sqrt(ratio) + ratio), rtol=1e-7)
    assert found.dtype == np.float32


def test_words_that_stay_always(kernels):
    found = kernels.keep_probabilities
    assert found(np.array([3.0, 2.0]), 0.0).tolist() == [1, 1]
    assert found(np.array([0.0, 1e12]), 1e-3)[0] == 1
    assert found(np.array([0.0, 0.0]), 1e-3).tolist() == [1, 1]
    assert found(np.zeros(0), 1e-3).tolist() == []


@pytest.mark.parametrize(
    ("counts", "sample", "message"),
    [
        ([1, np.nan], 0.1, r"counts\[1\] = nan is not in \[0, inf\)"),
        ([-1], 0.1, r"counts\[0\] = -1 is not in \[0, inf\)"),
        ([1, 2, np.inf], 0.1, r"counts\[2\] = inf is not in \[0, inf\)"),
        ([1], -0.5, r"sample = -0.5 is not in \[0, 1\)"),
        ([1], 1.0, r"sample = 1 is not in \[0, 1\)"),
        ([1], np.nan, r"sample = nan is not in \[0, 1\)"),
    ],
)
def test_bad_counts_are_named(kernels, counts, sample, message):
    with pytest.raises(ValueError, match=message):
        kernels.keep_probabilities(np.array(counts, np.float64), sample)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, r"window = 0 is not in \[1, 2147483647\]"),
        ({"window": 2**31}, r"window = 2147483648 is not in \[1, 2147483647\]"),
        ({"row_splits": []}, "row_splits is empty: it must hold 0 at least"),
        ({"row_splits": [1, 3]}, r"row_splits\[0\] = 1 is not 0"),
        ({"row_splits": [0, 2, 1, 3]}, r"row_splits\[2\] = 1 is below row_splits\[1\] = 2"),
        ({"row_splits": [0, -1, 3]}, r"row_splits\[1\] = -1 is below row_splits\[0\] = 0"),
        ({"row_splits": [0, 2]}, r"row_splits\[1\] = 2 is not the number of ids, 3"),
        ({"row_splits": [0, 4]}, r"row_splits\[1\] = 4 is not the number of ids, 3"),
        ({"keep_probability": np.ones(9, np.float32)}, r"ids\[2\] = 9 is not below 9, the number"),
    ],
)
def test_bad_arguments_are_named(kernels, change, message):
    arguments = {"ids": np.array([0, 8, 9]), "window": 2, **change}
    if "row_splits" in change:
        arguments["row_splits"] = np.array(change["row_splits"], np.int64)
    for make in (kernels.skip_grams, kernels.cbow_bags):
        with pytest.raises(ValueError, match=message):
            make(**arguments)


def test_of_several_bad_ids_the_first_is_named(kernels):
    ids = np.zeros(30_000, np.int64)
    ids[[9000, 9001, 20_000]] = 5
    keep = np.ones(5, np.float32)
    with pytest.raises(ValueError, match=r"ids\[9000\] = 5 is not below 5"):
        kernels.skip_grams(ids, 2, keep_probability=keep, num_threads=3)
