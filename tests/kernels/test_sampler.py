"""The candidate samplers of the core, against their definition in plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from kernels.random_streams import integer, random_stream, real

V = 40
COUNTS = np.arange(1, V + 1, dtype=np.float64) ** 2
NO_LABELS = np.zeros((0, 1), np.int64)
SAMPLERS = ("uniform", "log_uniform", "unigram")


def probabilities(sampler, range_max=V):
    if sampler == "uniform":
        return np.full(range_max, 1 / range_max)
    k = np.arange(range_max)
    if sampler == "log_uniform":
        return np.log((k + 2) / (k + 1)) / math.log(range_max + 1)
    return COUNTS**0.75 / np.sum(COUNTS**0.75)


def expected_count(p, num_sampled, num_tries):
    if num_tries == num_sampled:
        return p * num_sampled
    return -np.expm1(num_tries * np.log1p(-p))


@pytest.fixture(scope="module")
def sample(kernels):
    table = kernels.unigram_table(COUNTS, 0.75)

    def sample(
        sampler, num_sampled, *, true_classes=NO_LABELS, seed=(1, 2), range_max=V, **options
    ):
        if sampler == "unigram":
            options.setdefault("table", table)
        return kernels.sample_candidates(
            true_classes,
            seed,
            sampler=sampler,
            range_max=range_max,
            num_sampled=num_sampled,
            **options,
        )

    return sample


def stream(kernels, seed, b):
    """The blocks of random words of list b, as the contract has them."""
    return map(random_stream(kernels, seed, b), itertools.count())


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=("zeros", "ones", "digits of pi"),
)
def test_philox_gives_the_published_answers(kernels, counter, key, words):
    assert tuple(kernels.philox(counter, key)) == words


# Each seed word and each half of it must matter; negative ones are taken bit by bit.
@pytest.mark.parametrize("seed", [(0, 0), (1, 2), (-1, 2**62 + 3), (2**40, -(2**63))])
@pytest.mark.parametrize("range_max", [1, 3, 2**32, 2**32 + 1, 2**53 - 1, 2**53])
def test_a_uniform_draw_is_the_high_half_of_a_product(kernels, sample, seed, range_max):
    sampled, *_ = sample(
        "uniform",
        20,
        true_classes=np.zeros((3, 1), np.int64),
        seed=seed,
        range_max=range_max,
        unique=False,
        per_example=True,
    )
    for b in range(3):
        blocks = itertools.islice(stream(kernels, seed, b), 20)
        assert sampled[b].tolist() == [integer(*words[:2], range_max) for words in blocks]


@pytest.mark.parametrize("range_max", [1, 2, 1000, 10**6, 10**9, 2**45, 2**53])
def test_a_log_uniform_draw_inverts_the_distribution(kernels, sample, range_max):
    sampled, *_ = sample("log_uniform", 500, range_max=range_max, unique=False)
    for k, words in zip(sampled.tolist(), stream(kernels, (1, 2), 0), strict=False):
        log_value = real(*words[:2]) * math.log1p(range_max)
        assert 0 <= k < range_max
        # Allow for the rounding of exp where the value is next to an integer.
        assert math.log(k + 1) - 1e-14 <= log_value <= math.log(k + 2) + 1e-14


def test_a_unigram_draw_accepts_a_column_or_takes_its_alias(kernels, sample):
    _, acceptance, alias, _ = kernels.unigram_table(COUNTS, 0.75)
    sampled, *_ = sample("unigram", 500, unique=False)
    for k, words in zip(sampled.tolist(), stream(kernels, (1, 2), 0), strict=False):
        column = integer(*words[:2], V)
        assert k == (column if real(*words[2:]) < acceptance[column] else alias[column])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_frequencies_follow_the_probabilities(sample, sampler):
    draws = 200_000
    sampled, *_ = sample(sampler, draws, unique=False)
    expected = probabilities(sampler) * draws
    observed = np.bincount(sampled, minlength=V)
    chi_square = np.sum((observed - expected) ** 2 / expected)
    # Mean V - 1 and standard deviation sqrt(2 (V - 1)).
    assert abs(chi_square - (V - 1)) < 4 * math.sqrt(2 * (V - 1))


# Few classes of few, few of many (hash table), nearly all (bitmap), all.
@pytest.mark.parametrize(
    ("sampler", "range_max", "num_sampled"),
    [
        ("uniform", V, 1),
        ("uniform", V, V),
        ("uniform", 10**12, 300),
        ("uniform", 5000, 4900),
        ("log_uniform", V, V),
        ("log_uniform", 10**9, 1500),
        ("unigram", V, 30),
        ("unigram", V, V),
    ],
)
@pytest.mark.parametrize("per_example", [False, True])
def test_unique_reads_the_stream_and_skips_repeats(
    sample, sampler, range_max, num_sampled, per_example
):
    options = {
        "true_classes": np.zeros((3, 1), np.int64),
        "range_max": range_max,
        "per_example": per_example,
    }
    sampled, _, _, num_tries = sample(sampler, num_sampled, **options)
    draws, *_ = sample(sampler, int(num_tries.max()), unique=False, **options)
    for row, tries, read in zip(
        np.atleast_2d(sampled), num_tries.tolist(), np.atleast_2d(draws), strict=True
    ):
        distinct = list(dict.fromkeys(read[:tries].tolist()))
        assert row.tolist() == distinct
        assert len(distinct) == num_sampled
        # The last draw read was a new class.
        assert read[tries - 1] == distinct[-1]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("num_sampled", [1, 25])
def test_expected_counts_are_those_of_the_formula(
    sample, sampler, unique, per_example, num_sampled
):
    true_classes = np.arange(V, dtype=np.int64).reshape(-1, 2)
    sampled, true_count, sampled_count, num_tries = sample(
        sampler,
        num_sampled,
        true_classes=true_classes,
        unique=unique,
        per_example=per_example,
    )
    batch = len(true_classes)
    assert sampled.shape == sampled_count.shape
    assert sampled.shape == ((batch, num_sampled) if per_example else (num_sampled,))
    assert num_tries.shape == ((batch,) if per_example else (1,))
    assert true_count.dtype == sampled_count.dtype == np.float32
    p = probabilities(sampler)
    for b in range(batch):
        tries = num_tries[b if per_example else 0]
        np.testing.assert_allclose(
            true_count[b], expected_count(p[true_classes[b]], num_sampled, tries), rtol=2e-7
        )
    for row, count, tries in zip(
        np.atleast_2d(sampled), np.atleast_2d(sampled_count), num_tries, strict=True
    ):
        np.testing.assert_allclose(count, expected_count(p[row], num_sampled, tries), rtol=2e-7)


def test_expected_counts_stay_accurate_for_rare_classes(sample):
    """log((k + 2) / (k + 1)) loses digits where k is large; 1 - (1 - p)^n where p is small."""
    k = 2**40
    _, count, _, num_tries = sample(
        "log_uniform", 4000, true_classes=np.array([[k]]), range_max=2**41
    )
    assert num_tries[0] > 4000
    p = 1 / (k + 1) / math.log(2**41 + 1)
    np.testing.assert_allclose(count, [[num_tries[0] * p]], rtol=2e-7)


@pytest.mark.parametrize("range_max", [2, 3, 10, 10**6, 2**45])
@pytest.mark.parametrize("num_sampled", [1, 2, 3000, 60_000])
def test_expected_counts_stay_accurate_everywhere(sample, range_max, num_sampled):
    """From classes that are drawn again and again to those that nobody expects."""
    num_sampled = min(num_sampled, range_max)
    k = np.unique(np.geomspace(1, range_max, 300).astype(np.int64)) - 1
    sampled, true_count, sampled_count, num_tries = sample(
        "log_uniform", num_sampled, true_classes=k[:, None], range_max=range_max
    )
    for classes, count in ((k, true_count[:, 0]), (sampled, sampled_count)):
        p = np.log1p(1 / (classes + 1)) / math.log1p(range_max)
        with np.errstate(divide="ignore"):
            expected = expected_count(p, num_sampled, num_tries[0])
        np.testing.assert_allclose(count, expected, rtol=2e-7)


def test_expected_counts_of_frequent_classes(kernels, sample):
    probability = np.array([0.1, 0.3, 0.4999, 0.5, 0.5001, 0.9, 1 - 1e-9, 1])
    for p in probability:
        table = kernels.unigram_table([p, 1 - p, 0], 1.0)
        for num_sampled in (1, 2) if p < 1 - 1e-9 else (1,):
            _, count, _, num_tries = sample(
                "unigram",
                num_sampled,
                true_classes=np.array([[0, 1, 2]]),
                range_max=3,
                table=table,
            )
            with np.errstate(divide="ignore"):
                expected = expected_count(np.array([p, 1 - p, 0]), num_sampled, num_tries[0])
            np.testing.assert_allclose(count[0], expected, rtol=2e-7)


RARE = np.array([1.0, 12e-6, 12e-6, 12e-6])  # all four take about 150,000 draws
DRAWS_BEFORE_RACE = 2**16


@pytest.fixture(scope="module")
def rare(kernels, sample):
    """Lists of the four classes of RARE, num_tries of each, and their seed."""
    seed = (3, 4)
    sampled, _, _, num_tries = sample(
        "unigram",
        4,
        true_classes=np.zeros((1000, 1), np.int64),
        seed=seed,
        range_max=4,
        table=kernels.unigram_table(RARE, 1.0),
        per_example=True,
        num_threads=2,
    )
    return sampled, num_tries, seed


def test_a_long_search_ends_in_a_race_of_clocks(kernels, sample, rare):
    lists, num_tries, seed = rare
    batch = 20
    table = kernels.unigram_table(RARE, 1.0)
    draws, *_ = sample(
        "unigram",
        DRAWS_BEFORE_RACE,
        true_classes=np.zeros((batch, 1), np.int64),
        seed=seed,
        range_max=4,
        table=table,
        unique=False,
        per_example=True,
    )
    races = 0
    for b in range(batch):
        expected = list(dict.fromkeys(draws[b].tolist()))
        block = random_stream(kernels, seed, b)
        words = [block(-1 - k) for k in range(len(RARE))]
        missing = [k for k in range(4) if k not in expected]
        clock = [-math.log1p(-real(*words[k][:2])) / table[0][k] for k in range(4)]
        missing.sort(key=clock.__getitem__)
        tries = DRAWS_BEFORE_RACE
        while missing:
            p = sum(table[0][k] for k in missing)
            k = missing.pop(0)
            expected.append(k)
            tries += 1 + math.floor(math.log1p(-real(*words[k][2:])) / math.log1p(-p))
        assert lists[b].tolist() == expected
        if tries > DRAWS_BEFORE_RACE:
            races += 1
            # The last digit of a logarithm may differ.
            assert abs(num_tries[b] - tries) <= 1
    assert races > batch / 2


def test_a_race_keeps_the_distribution(rare):
    """Of three rare classes any may be last, after the longest of three geometric times."""
    lists, num_tries, _ = rare
    last = np.bincount(lists[:, -1], minlength=4)
    assert last[0] == 0
    third = len(lists) / 3
    assert np.sum((last[1:] - third) ** 2 / third) < 13.8  # chi-square with 2 degrees: 1 in 1000

    times = np.sort(num_tries)
    p = RARE[1] / RARE.sum()
    below = -np.expm1(times * math.log1p(-p))
    exact = below**3
    steps = np.arange(len(times) + 1) / len(times)
    distance = max(np.max(exact - steps[:-1]), np.max(steps[1:] - exact))
    assert distance < 1.95 / math.sqrt(len(times))  # Kolmogorov-Smirnov: 1 in 1000


@pytest.mark.parametrize("sampler", ["uniform", "log_uniform"])
def test_nearly_all_of_many_classes(sample, sampler):
    size = 2**17
    sampled, _, count, num_tries = sample(sampler, size - 1, range_max=size, num_threads=2)
    assert len(np.unique(sampled)) == size - 1
    assert 0 <= sampled.min() and sampled.max() < size
    p = np.log1p(1 / (sampled + 1)) / math.log1p(size) if sampler == "log_uniform" else 1 / size
    np.testing.assert_allclose(count, expected_count(p, size - 1, num_tries[0]), rtol=2e-7)
    # The classes met first are those of the plain stream.
    draws, *_ = sample(sampler, 4 * size, range_max=size, unique=False)
    first = list(dict.fromkeys(draws.tolist()))
    assert len(first) < size - 1
    assert sampled[: len(first)].tolist() == first


@pytest.mark.parametrize(
    ("sampler", "range_max", "num_sampled", "batch", "options"),
    [
        ("log_uniform", 40_000, 39_000, 20_000, {}),
        ("uniform", 50_000, 50_000, 700, {}),
        ("log_uniform", 10**6, 20_000, 9000, {}),
        ("log_uniform", 10**6, 20_000, 3, {"unique": False}),
        ("unigram", V, 7, 3000, {"per_example": True}),
        ("uniform", 10**6, 500, 300, {"per_example": True}),
    ],
)
def test_the_number_of_threads_does_not_matter(
    sample, sampler, range_max, num_sampled, batch, options
):
    true_classes = (np.arange(batch, dtype=np.int64)[:, None] * 7919) % range_max
    results = [
        sample(
            sampler,
            num_sampled,
            true_classes=true_classes,
            range_max=range_max,
            num_threads=num_threads,
            **options,
        )
        for num_threads in (1, 2, 3, 8)
    ]
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            np.testing.assert_array_equal(one, other)


def test_seeds_and_lists_give_different_draws(sample):
    seeds = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (-1, 0), (2**32, 0), (0, 2**32)]
    labels = np.zeros((4, 1), np.int64)
    lists = set()
    for seed in seeds:
        sampled, *_ = sample(
            "uniform", 8, true_classes=labels, seed=seed, range_max=10**6, per_example=True
        )
        shared, *_ = sample("uniform", 8, true_classes=labels, seed=seed, range_max=10**6)
        assert sampled[0].tolist() == shared.tolist()
        lists.update(tuple(row) for row in sampled.tolist())
    assert len(lists) == 4 * len(seeds)


def test_more_than_a_million_candidates(sample):
    size = 2**20 + 3
    sampled, _, count, num_tries = sample("uniform", size, range_max=size, num_threads=2)
    np.testing.assert_array_equal(np.sort(sampled), np.arange(size))
    # The last of n classes is met after n (log n + 0.58) draws, give or take 1.3 n.
    assert abs(num_tries[0] / size - (math.log(size) + 0.58)) < 5
    np.testing.assert_allclose(count, 1, rtol=1e-5)

    for sampler, range_max in (("uniform", 2**50), ("log_uniform", 2**22)):
        sampled, *_ = sample(sampler, size, range_max=range_max, num_threads=2)
        assert len(np.unique(sampled)) == size
        assert 0 <= sampled.min() and sampled.max() < range_max
    sampled, *_ = sample("log_uniform", 2**21, unique=False, num_threads=2)
    assert np.bincount(sampled, minlength=V).sum() == 2**21


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_empty_batch(sample, sampler, per_example):
    sampled, true_count, sampled_count, num_tries = sample(sampler, 4, per_example=per_example)
    assert true_count.shape == (0, 1)
    lists = 0 if per_example else 1
    assert sampled.size == sampled_count.size == 4 * lists
    assert len(num_tries) == lists


def test_one_class(sample, kernels):
    """p = 1, and log1p(-p) is minus infinity."""
    table = kernels.unigram_table([7.0], 0.75)
    for sampler in SAMPLERS:
        for unique, num_sampled in ((True, 1), (False, 3)):
            sampled, true_count, sampled_count, _ = sample(
                sampler,
                num_sampled,
                true_classes=np.zeros((1, 1), np.int64),
                range_max=1,
                unique=unique,
                table=table,
            )
            assert sampled.tolist() == [0] * num_sampled
            assert true_count.tolist() == [[num_sampled]]
            assert sampled_count.tolist() == [num_sampled] * num_sampled


@pytest.mark.parametrize(
    ("counts", "power"),
    [
        (COUNTS, 0.75),
        (COUNTS, 0.0),
        (COUNTS, -1.5),
        (np.ones(1000), 0.75),
        ([5], 1.0),
        ([0, 3, 0, 0, 1, 0], 0.0),
        ([1e300, 1e-300, 0, 1.0], 0.01),
        ([1e300, 1e-300, 0, 1.0], -1.0),
        ([5e-324, 5e-324, 5e-324], 0.5),
        (np.random.default_rng(0).zipf(1.3, 10_000).astype(np.float64), 0.75),
    ],
)
def test_the_alias_table_holds_the_distribution(kernels, counts, power):
    counts = np.asarray(counts, np.float64)
    probability, acceptance, alias, support = kernels.unigram_table(counts, power)
    met = counts > 0
    log_weight = power * np.log(counts[met])
    expected = np.zeros(len(counts))
    expected[met] = np.exp(log_weight - log_weight.max())
    expected /= expected.sum()
    np.testing.assert_allclose(probability, expected, rtol=1e-11, atol=1e-300)
    # What the columns give: their own class where accepted, the alias otherwise.
    given = acceptance + np.bincount(alias, 1 - acceptance, minlength=len(counts))
    np.testing.assert_allclose(given / len(counts), expected, rtol=1e-9, atol=1e-15)
    assert acceptance.min() >= 0 and acceptance.max() <= 1
    assert not acceptance[~met].any() and met[alias].all()
    assert support == np.count_nonzero(probability)


def test_a_class_without_counts_is_never_drawn(kernels, sample):
    counts = np.zeros(V)
    counts[[3, 17, 30]] = [1, 1e6, 1]
    table = kernels.unigram_table(counts, 0.0)
    sampled, true_count, *_ = sample(
        "unigram", 3, true_classes=np.array([[4]]), seed=(5, 6), table=table
    )
    assert sorted(sampled.tolist()) == [3, 17, 30]
    assert true_count.tolist() == [[0]]
    with pytest.raises(ValueError, match=r"num_sampled = 4 .*\[1, 3\].* 3 of the 40 counts"):
        sample("unigram", 4, table=table)


def test_a_table_of_other_origin_leads_nowhere_else(sample):
    """Aliases outside the classes are not followed."""
    acceptance = np.zeros(V)
    for alias in (-1, V, 2**62):
        table = (np.full(V, 1 / V), acceptance, np.full(V, alias), V)
        sampled, *_ = sample("unigram", V, table=table)
        assert sorted(sampled.tolist()) == list(range(V))
    table = (np.eye(V)[3], acceptance, np.full(V, 3), V)
    with pytest.raises(RuntimeError, match="num_sampled = 20 distinct classes were not drawn"):
        sample("unigram", 20, table=table)


@pytest.mark.parametrize("per_example", [False, True])
def test_a_search_that_does_not_end_is_given_up(kernels, sample, per_example):
    counts = np.ones(V)
    counts[0] = 1e15
    table = kernels.unigram_table(counts, 1.0)
    for num_threads, num_sampled in itertools.product((1, 3), (3, 30)):
        with pytest.raises(
            RuntimeError,
            match=f"num_sampled = {num_sampled} distinct classes .*fewer.*unique=False.*power",
        ):
            sample(
                "unigram",
                num_sampled,
                true_classes=np.zeros((5, 1), np.int64),
                table=table,
                per_example=per_example,
                num_threads=num_threads,
            )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_sampled": 0}, r"num_sampled = 0 is not in \[1, 40\]"),
        ({"num_sampled": -1, "unique": False}, r"num_sampled = -1 is not in \[1, "),
        ({"num_sampled": V + 1}, r"num_sampled = 41 is not in \[1, 40\]"),
        ({"num_sampled": 2**62}, r"num_sampled = 4611686018427387904 is not in \[1, 40\]"),
        ({"range_max": 0}, r"range_max = 0 is not in \[1, 2\^53\]"),
        ({"range_max": 2**53 + 1}, r"range_max = 9007199254740993 is not in \[1, 2\^53\]"),
        ({"sampler": "zipf"}, 'sampler = "zipf" is not one of "uniform", "log_uniform"'),
        ({"true_classes": [[0, V]]}, r"true_classes\[0, 1\] = 40 is not in \[0, 40\)"),
        ({"true_classes": [[0], [-1]]}, r"true_classes\[1, 0\] = -1 is not in \[0, 40\)"),
        ({"true_classes": [[2**62]]}, r"true_classes\[0, 0\] = 4611686018427387904 is not"),
    ],
)
def test_bad_arguments_are_named(sample, change, message):
    arguments = {"sampler": "uniform", "num_sampled": 5, **change}
    with pytest.raises(ValueError, match=message):
        sample(arguments.pop("sampler"), arguments.pop("num_sampled"), **arguments)


@pytest.mark.parametrize(
    ("counts", "power", "message"),
    [
        ([], 0.75, "counts is empty"),
        ([1, math.nan], 0.75, r"counts\[1\] = nan is not in \[0, inf\)"),
        ([1, 2, -3.5], 0.75, r"counts\[2\] = -3.5 is not in \[0, inf\)"),
        ([math.inf], 0.75, r"counts\[0\] = inf is not in \[0, inf\)"),
        ([0, 0, 0], 0.75, "counts are all 0: at least one of the 3 classes"),
        ([1, 2], math.nan, "power = nan is not finite"),
        ([1, 2], math.inf, "power = inf is not finite"),
    ],
)
def test_bad_counts_are_named(kernels, counts, power, message):
    with pytest.raises(ValueError, match=message):
        kernels.unigram_table(np.asarray(counts, np.float64), power)
