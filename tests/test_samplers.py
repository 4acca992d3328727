"""The samplers in TensorFlow: expected counts, seeds, every way of running, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fastw2v import samplers
from fastw2v._core.library import ops

V = 50
COUNTS = [(7 * k) % 13 + 1 for k in range(V)]
EVERY_CLASS = np.arange(V, dtype=np.int64).reshape(-1, 2)
LABELS = [[3], [0]]


def make(name, unique=True):
    if name == "unigram":
        return samplers.Unigram(COUNTS, power=0.75, unique=unique)
    return samplers.resolve(name, V, unique)


def tensorflow_sampler(name, unique, num_sampled, seed):
    """TensorFlow's own sampler of the same distribution."""
    options = {
        "true_classes": EVERY_CLASS,
        "num_true": 2,
        "num_sampled": num_sampled,
        "unique": unique,
        "range_max": V,
        "seed": seed,
    }
    if name == "uniform":
        return tf.random.uniform_candidate_sampler(**options)
    if name == "log_uniform":
        return tf.random.log_uniform_candidate_sampler(**options)
    return tf.random.fixed_unigram_candidate_sampler(unigrams=COUNTS, distortion=0.75, **options)


def num_tries_of(true_count, num_sampled, p):
    """The number of draws behind the expected counts of every class."""
    if np.allclose(true_count, num_sampled * p, rtol=1e-5):
        return num_sampled
    rarest = np.argmin(p)
    return round(np.log1p(-true_count[rarest]) / np.log1p(-p[rarest]))


NAMES = ("uniform", "log_uniform", "unigram")
each_sampler = pytest.mark.parametrize("name", NAMES)
each_form = pytest.mark.parametrize("per_example", [False, True])


@each_sampler
def test_expected_counts_with_replacement_are_tensorflows(name):
    values = make(name, unique=False).sample(EVERY_CLASS, 20)
    sampled, true_count, sampled_count = tensorflow_sampler(name, False, 20, seed=1)
    np.testing.assert_allclose(values.true_expected_count, true_count, rtol=2e-6)
    of_class = true_count.numpy().ravel()
    np.testing.assert_allclose(sampled_count, of_class[sampled.numpy()], rtol=1e-6)
    np.testing.assert_allclose(
        values.sampled_expected_count, of_class[values.sampled_candidates.numpy()], rtol=2e-6
    )


@each_sampler
def test_unique_expected_counts_are_tensorflows(name):
    """Where both drew the same number of times, by chance, for several such numbers."""
    num_sampled = 6
    p = make(name, unique=False).sample(EVERY_CLASS, 1).true_expected_count.numpy().ravel()
    ours, theirs = {}, {}
    for seed in range(1, 60):
        values = make(name).sample(EVERY_CLASS, num_sampled, seed=(seed, 0))
        for triple, by_tries in (
            (values, ours),
            (tensorflow_sampler(name, True, num_sampled, seed), theirs),
        ):
            sampled, true_count, sampled_count = (x.numpy() for x in triple)
            assert len(set(sampled.tolist())) == num_sampled
            true_count = true_count.ravel()
            np.testing.assert_allclose(sampled_count, true_count[sampled], rtol=1e-6)
            by_tries[num_tries_of(true_count, num_sampled, p)] = true_count
    common = ours.keys() & theirs.keys()
    assert num_sampled in common and len(common) >= 3
    for tries in common:
        np.testing.assert_allclose(ours[tries], theirs[tries], rtol=5e-6)


@each_sampler
def test_frequencies_are_tensorflows(name):
    draws = 100_000
    values = make(name, unique=False).sample(LABELS, draws, seed=(3, 4))
    observed = np.bincount(values.sampled_candidates, minlength=V)
    _, true_count, _ = tensorflow_sampler(name, False, draws, seed=1)
    expected = true_count.numpy().ravel()
    chi_square = np.sum((observed - expected) ** 2 / expected)
    # Mean V - 1 and standard deviation sqrt(2 (V - 1)).
    assert abs(chi_square - (V - 1)) < 4 * np.sqrt(2 * (V - 1))


@each_sampler
@each_form
def test_shapes_and_dtypes(name, per_example):
    values = make(name).sample(LABELS, 5, per_example=per_example)
    shape = (2, 5) if per_example else (5,)
    assert values.sampled_candidates.shape == values.sampled_expected_count.shape == shape
    assert values.true_expected_count.shape == (2, 1)
    theirs = samplers.SampledValues(*tensorflow_sampler(name, True, 5, seed=1))
    assert [x.dtype for x in values] == [x.dtype for x in theirs]
    assert values.sampled_candidates.dtype == tf.int64


@each_sampler
@each_form
def test_unique_candidates_differ_and_repeats_are_found(name, per_example):
    labels = np.zeros((8, 1), np.int32)
    for unique in (True, False):
        values = make(name, unique).sample(labels, 40, seed=(1, 2), per_example=per_example)
        lists = np.atleast_2d(values.sampled_candidates)
        assert len(lists) == (8 if per_example else 1)
        for row in lists:
            assert row.min() >= 0 and row.max() < V
            assert (len(set(row.tolist())) == 40) == unique


def candidates(values):
    return tuple(np.asarray(values.sampled_candidates).ravel().tolist())


@each_sampler
@each_form
def test_a_pair_decides_the_draw(name, per_example):
    def draw(seed):
        return candidates(make(name).sample(LABELS, 10, seed=seed, per_example=per_example))

    expected = draw((1, 2))
    tf.random.set_seed(99)
    forms = (
        [1, 2],
        np.array([1, 2]),
        np.array([1, 2], np.int32),
        tf.constant([1, 2]),
        tf.constant([1, 2], tf.int64),
        (tf.constant(1, tf.int64), 2),
        tf.Variable([1, 2]),
    )
    for seed in forms:
        assert draw(seed) == expected
    others = [(2, 1), (1, 3), (0, 2), (-1, -2), (2**63 - 1, -(2**63)), (1 + 2**32, 2)]
    assert len({expected, *map(draw, others)}) == 7


@each_form
def test_a_pair_decides_the_draw_in_a_graph(per_example):
    def draw(seed):
        return make("log_uniform").sample(LABELS, 10, seed=seed, per_example=per_example)

    traced = tf.function(draw)
    assert candidates(traced(tf.constant([5, 6]))) == candidates(draw([5, 6]))
    assert candidates(traced(tf.constant([6, 5]))) != candidates(draw([5, 6]))


def sequence(seed, in_graph, length=4):
    """The candidates of successive calls."""
    sampler = samplers.Uniform(10**9)

    def draw():
        return sampler.sample(LABELS, 5, seed=seed)

    if in_graph:
        draw = tf.function(draw)
    return [candidates(draw()) for _ in range(length)]


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("seed", [None, 0, 7, -3, np.int64(11)])
def test_calls_differ_and_set_seed_repeats_them(seed, in_graph):
    tf.random.set_seed(1)
    first = sequence(seed, in_graph)
    tf.random.set_seed(1)
    assert sequence(seed, in_graph) == first
    tf.random.set_seed(2)
    other = sequence(seed, in_graph)
    assert len({*first, *other}) == 8


@pytest.mark.parametrize("in_graph", [False, True])
def test_integer_seeds_decide_the_sequence(in_graph):
    def restarted(seed):
        tf.random.set_seed(1)
        return sequence(seed, in_graph)

    assert len({*restarted(7), *restarted(8), *restarted(None)}) == 12


def test_two_draws_of_one_function_differ():
    sampler = samplers.Uniform(10**9)

    @tf.function
    def twice():
        return [sampler.sample(LABELS, 5).sampled_candidates for _ in range(2)]

    one, other = twice()
    assert not np.array_equal(one, other)


def test_candidates_in_a_data_pipeline():
    sampler = make("unigram")
    labels = tf.data.Dataset.from_tensor_slices(np.zeros((6, 3, 1), np.int64))
    drawn = [v.sampled_candidates for v in labels.map(lambda x: sampler.sample(x, 10, seed=5))]
    assert len({tuple(x.numpy()) for x in drawn}) == 6
    pairs = tf.data.Dataset.zip(labels, tf.data.Dataset.range(6))
    for i, values in enumerate(
        pairs.map(lambda x, i: sampler.sample(x, 10, (0, i), per_example=True))
    ):
        expected = sampler.sample(np.zeros((3, 1), np.int64), 10, (0, i), per_example=True)
        for one, other in zip(values, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@each_sampler
@each_form
def test_unknown_static_shapes(name, per_example):
    sampler = make(name)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int32)])
    def unknown_rank(labels):
        values = sampler.sample(labels, 5, seed=(1, 2), per_example=per_example)
        assert values.sampled_candidates.shape.as_list() == ([None, 5] if per_example else [5])
        assert values.true_expected_count.shape.as_list() == [None, None]
        return values

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.int64)])
    def unknown_batch(labels):
        values = sampler.sample(labels, 5, seed=(1, 2), per_example=per_example)
        assert values.true_expected_count.shape.as_list() == [None, 1]
        return values

    eager = sampler.sample(LABELS, 5, seed=(1, 2), per_example=per_example)
    for function in (unknown_rank, unknown_batch):
        for one, other in zip(function(LABELS), eager, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(tf.errors.InvalidArgumentError, match="true_classes has shape"):
        unknown_rank([1, 2])


@each_sampler
@each_form
def test_an_empty_batch(name, per_example):
    values = make(name).sample(np.zeros((0, 1), np.int64), 5, per_example=per_example)
    shape = (0, 5) if per_example else (5,)
    assert values.sampled_candidates.shape == values.sampled_expected_count.shape == shape
    assert values.true_expected_count.shape == (0, 1)


def test_all_classes_and_more_than_a_million_candidates():
    size = 2**20 + 1
    values = samplers.Uniform(size).sample([[size - 1]], size, seed=(1, 2))
    np.testing.assert_array_equal(np.sort(values.sampled_candidates), np.arange(size))
    values = samplers.Unigram(np.ones(1000), unique=False).sample([[0]], 2**21, seed=(1, 2))
    assert np.ptp(np.bincount(values.sampled_candidates)) < 2**21 / 1000 / 4


@pytest.mark.parametrize("loss", [tf.nn.sampled_softmax_loss, tf.nn.nce_loss])
@each_sampler
def test_candidates_serve_tensorflows_losses(loss, name):
    rng = np.random.default_rng(0)
    weights = tf.constant(rng.normal(size=(V, 4)), tf.float32)
    arguments = {
        "weights": weights,
        "biases": tf.zeros(V),
        "labels": tf.constant([[1, 2], [3, 4], [0, 9]], tf.int64),
        "inputs": tf.constant(rng.normal(size=(3, 4)), tf.float32),
        "num_sampled": 8,
        "num_classes": V,
        "num_true": 2,
    }
    values = make(name).sample(arguments["labels"], 8, seed=(1, 2))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        losses = loss(**arguments, sampled_values=values)
    assert np.isfinite(losses).all() and losses.shape == (3,)
    assert tape.gradient(losses, weights) is not None
    np.testing.assert_array_equal(losses, loss(**arguments, sampled_values=tuple(values)))


@each_sampler
def test_no_gradient_and_no_error(name):
    counts = tf.Variable(COUNTS, dtype=tf.float32)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            weights = tf.convert_to_tensor(counts)
            sampler = samplers.Unigram(weights) if name == "unigram" else make(name)
            values = sampler.sample(LABELS, 5)
            loss = tf.reduce_sum(values.true_expected_count) + tf.reduce_sum(counts)
        return tape.gradient(loss, counts)

    np.testing.assert_array_equal(gradient(), np.ones(V))


@pytest.mark.parametrize(
    "counts",
    [
        tuple(COUNTS),
        np.array(COUNTS, np.int64),
        np.array(COUNTS, np.uint16),
        np.array(COUNTS, np.float32),
        tf.constant(COUNTS, tf.float16),
        tf.constant(COUNTS, tf.int64),
        tf.Variable(COUNTS, dtype=tf.float64),
    ],
    ids=lambda counts: type(counts).__name__ + str(getattr(counts, "dtype", "")),
)
def test_counts_of_every_kind(counts):
    expected = make("unigram").sample(EVERY_CLASS, 9, seed=(1, 2))
    values = samplers.Unigram(counts).sample(EVERY_CLASS, 9, seed=(1, 2))
    for one, other in zip(values, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_unigram_sampler_made_inside_a_function():
    made = []

    @tf.function
    def draw():
        made.append(samplers.Unigram(COUNTS))
        return made[-1].sample(LABELS, 9, seed=(1, 2))

    @tf.function(input_signature=[tf.TensorSpec([V], tf.float32)])
    def draw_from(counts):
        return samplers.Unigram(counts).sample(LABELS, 9, seed=(1, 2))

    expected = candidates(make("unigram").sample(LABELS, 9, seed=(1, 2)))
    assert candidates(draw()) == expected
    assert candidates(draw_from(tf.constant(COUNTS, tf.float32))) == expected
    # The first outlives its trace.
    assert candidates(made[0].sample(LABELS, 9, seed=(1, 2))) == expected


def test_a_change_of_the_counts_has_no_effect_on_the_sampler():
    counts = tf.Variable(COUNTS)
    sampler = samplers.Unigram(counts)
    counts.assign(tf.reverse(counts, [0]))
    expected = candidates(make("unigram").sample(LABELS, 9, seed=(1, 2)))
    assert candidates(sampler.sample(LABELS, 9, seed=(1, 2))) == expected


def test_a_saved_model_keeps_the_table(tmp_path):
    sampler = make("unigram")
    module = tf.Module()
    module.draw = tf.function(
        lambda labels: sampler.sample(labels, 9, seed=(1, 2))._asdict(),
        input_signature=[tf.TensorSpec([None, 1], tf.int64)],
    )
    tf.saved_model.save(module, str(tmp_path))
    values = tf.saved_model.load(str(tmp_path)).draw(tf.constant(LABELS, tf.int64))
    expected = sampler.sample(LABELS, 9, seed=(1, 2))
    for field, tensor in expected._asdict().items():
        np.testing.assert_array_equal(values[field], tensor)


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize(
    ("sampler", "labels", "num_sampled", "message"),
    [
        (samplers.Uniform(5), [[0], [5]], 2, r"true_classes\[1, 0\] = 5 is not in \[0, 5\)"),
        (samplers.Uniform(5), [[0, -1]], 2, r"true_classes\[0, 1\] = -1 is not in \[0, 5\)"),
        (samplers.LogUniform(5), [[2**40]], 2, r"\[0, 0\] = 1099511627776 is not in \[0, 5\)"),
        (samplers.Uniform(5), [[0]], 6, r"num_sampled = 6 is not in \[1, 5\].*unique"),
        (samplers.Unigram([1, 0, 1, 0]), [[0]], 3, r"num_sampled = 3 is not in \[1, 2\].*counts"),
    ],
    ids=("past the end", "negative", "large", "too many", "too few counts"),
)
def test_bad_values_are_named(sampler, labels, num_sampled, message, in_graph):
    def draw(labels):
        return sampler.sample(labels, num_sampled).sampled_candidates

    draw = tf.function(draw) if in_graph else draw
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        draw(tf.constant(labels, tf.int64))
    # The sampler works on.
    assert sampler.sample([[0]], 1).sampled_candidates.shape == (1,)


def test_a_search_that_does_not_end_is_given_up():
    counts = np.ones(10)
    counts[0] = 1e15
    with pytest.raises(tf.errors.ResourceExhaustedError, match=r"num_sampled = 5.*unique=False"):
        samplers.Unigram(counts, power=1).sample([[0]], 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_sampled": 0}, r"num_sampled = 0 is not a Python integer in \[1, "),
        ({"num_sampled": -4}, r"num_sampled = -4 is not"),
        ({"num_sampled": 2.0}, r"num_sampled = 2\.0 is not"),
        ({"num_sampled": True}, r"num_sampled = True is not"),
        ({"num_sampled": 2**80}, r"num_sampled = 1208925819614629174706176 is not"),
        (
            {"true_classes": [1, 2]},
            r"true_classes has shape \(2,\), expected integers of shape \[None, None\]",
        ),
        ({"true_classes": 1}, r"true_classes has shape \(\), expected integers"),
        ({"true_classes": [[1.0]]}, "true_classes has dtype float32, expected integers"),
        ({"true_classes": [["a"]]}, "true_classes has dtype string, expected integers"),
        (
            {"true_classes": tf.ragged.constant([[1], [2, 3]])},
            "(?s)true_classes = .*, expected integers",
        ),
        ({"true_classes": None}, "true_classes = None, expected integers"),
        ({"seed": 1.5}, r"seed = 1\.5 is not None, an integer or a pair"),
        ({"seed": "one"}, r"seed = 'one' is not"),
        ({"seed": True}, r"seed = True is not"),
        ({"seed": [1]}, r"seed has shape \(1,\), expected integers of shape \[2\]"),
        ({"seed": (1, 2, 3)}, r"seed has shape \(3,\), expected integers of shape \[2\]"),
        ({"seed": (1.0, 2.0)}, r"seed has dtype float32, expected integers of shape \[2\]"),
        ({"seed": (1, 2**63)}, r"seed = \(1, 9223.*, expected integers of shape \[2\]"),
        ({"seed": tf.constant(3)}, r"seed has shape \(\), expected integers of shape \[2\]"),
        (
            {"seed": np.zeros([2, 2], int)},
            r"seed has shape \(2, 2\), expected integers of shape \[2\]",
        ),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"true_classes": LABELS, "num_sampled": 2, **change}
    with pytest.raises(ValueError, match=message):
        samplers.Uniform(9).sample(**arguments)


def test_lists_that_no_memory_holds_end_in_an_error():
    with pytest.raises(tf.errors.ResourceExhaustedError):
        samplers.Uniform(9, unique=False).sample([[0]], 2**50)
    with pytest.raises(tf.errors.InvalidArgumentError, match="overflow"):
        labels = np.zeros((2**12, 1), np.int64)
        samplers.Uniform(9, unique=False).sample(labels, 2**53, per_example=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: [], 'table has 0 tensors; the sampler "unigram" takes 4'),
        (lambda table: table[:3], "table has 3 tensors"),
        (lambda table: [table[0], *table[:3]], r"table\[2\] has dtype double and shape \[50\]"),
        (lambda table: [t[:-1] for t in table[:3]] + table[3:], r"table\[0\] .* \[49\]; .* = 50"),
    ],
)
def test_the_op_refuses_other_tables(change, message):
    table = list(ops.fastw2v_unigram_table(counts=COUNTS, power=0.75))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.fastw2v_candidate_sampler(
            true_classes=LABELS,
            seed=[1, 2],
            table=change(table),
            sampler="unigram",
            num_sampled=3,
            range_max=V,
            unique=True,
            per_example=False,
        )


def test_a_seed_of_the_wrong_shape_at_run_time():
    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64)])
    def draw(seed):
        return samplers.Uniform(9).sample(LABELS, 2, seed=seed).sampled_candidates

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"seed has shape \[3\]"):
        draw(tf.constant([1, 2, 3], tf.int64))


@pytest.mark.parametrize("sampler", [samplers.Uniform, samplers.LogUniform])
@pytest.mark.parametrize("num_classes", [0, -1, 3.0, "9", None, 2**53 + 1])
def test_bad_numbers_of_classes(sampler, num_classes):
    with pytest.raises(ValueError, match="num_classes = .* is not a Python integer in"):
        sampler(num_classes)


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ([], ValueError, r"counts has shape \(0,\), expected a vector of numbers"),
        (5, ValueError, r"counts has shape \(\), expected a vector of numbers"),
        ([[1, 2]], ValueError, r"counts has shape \(1, 2\), expected a vector of numbers"),
        ([[1], [2, 3]], ValueError, r"counts = \[\[1\], \[2, 3\]\], expected a vector of numbers"),
        (["a"], ValueError, "counts has dtype string, expected a vector of numbers"),
        ([True, False], ValueError, "counts has dtype bool, expected a vector of numbers"),
        (None, ValueError, "counts .*, expected a vector of numbers"),
        ({3: 1}, ValueError, "counts .*, expected a vector of numbers"),
        ([1, float("nan")], tf.errors.InvalidArgumentError, r"counts\[1\] = nan is not in"),
        ([1, -2], tf.errors.InvalidArgumentError, r"counts\[1\] = -2 is not in"),
        ([float("inf")], tf.errors.InvalidArgumentError, r"counts\[0\] = inf is not in"),
        ([0, 0], tf.errors.InvalidArgumentError, "counts are all 0"),
    ],
)
def test_bad_counts_are_named(counts, error, message):
    with pytest.raises(error, match=message):
        samplers.Unigram(counts)


def test_counts_of_unknown_length_are_refused():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def draw(counts):
        return samplers.Unigram(counts).sample(LABELS, 2)

    with pytest.raises(ValueError, match=r"counts has shape \(None,\), expected a vector"):
        draw(tf.ones(3))


def test_bad_powers_are_named():
    with pytest.raises(ValueError, match="power = 'x' is not a number"):
        samplers.Unigram(COUNTS, power="x")
    with pytest.raises(tf.errors.InvalidArgumentError, match="power = nan is not finite"):
        samplers.Unigram(COUNTS, power=float("nan"))


def test_resolve():
    for name, sampler in (("uniform", samplers.Uniform), ("log_uniform", samplers.LogUniform)):
        for unique in (True, False):
            resolved = samplers.resolve(name, V, unique)
            assert type(resolved) is sampler
            assert (resolved.num_classes, resolved.unique) == (V, unique)
    unigram = make("unigram", unique=False)
    assert samplers.resolve(unigram, V, unique=True) is unigram
    with pytest.raises(ValueError, match=r"num_classes = 50; .* 49 classes"):
        samplers.resolve(unigram, V - 1)
    with pytest.raises(ValueError, match=r'zipf.* "uniform", "log_uniform".*Unigram\(counts\)'):
        samplers.resolve("zipf", V)
    with pytest.raises(ValueError, match=r"counts.*fastw2v\.samplers\.Unigram\(counts\)"):
        samplers.resolve("unigram", V)
    with pytest.raises(ValueError, match="sampler = None is not one of"):
        samplers.resolve(None, V)


def test_samplers_are_shown_with_what_they_are():
    assert repr(samplers.Uniform(3)) == "Uniform(num_classes=3, unique=True)"
    assert repr(make("unigram")) == "Unigram(num_classes=50, power=0.75, unique=True)"
