"""fastw2v.data in TensorFlow: every form of text, seeds, tf.data, bad input, training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from gensim.models import Word2Vec
from kernels.skipgram_definition import Text, define_bags, define_pairs

import fastw2v
from fastw2v import _kernels, data
from fastw2v._core.library import ops

V = 50
COUNTS = np.arange(1, V + 1) ** 3
IDS = np.random.default_rng(2).integers(-2, V, 500)
SEED = (7, 2**40)
FUNCTIONS = {"skipgrams": data.skipgrams, "cbow": data.cbow}
each_function = pytest.mark.parametrize("make", FUNCTIONS.values(), ids=FUNCTIONS)


def arrays(examples):
    return tuple(np.asarray(tensor) for tensor in examples)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def define(make, text, window, **options):
    """The examples by definition, with word2vec's formula of subsampling."""
    if options.pop("counts", None) is not None:
        # A Python number of an option is kept in float32.
        sample = float(np.float32(options.pop("sample", 1e-3)))
        ratio = sample * COUNTS.sum() / COUNTS
        keep = np.minimum(1, np.sqrt(ratio) + ratio).astype(np.float32)
        options["keep_probability"] = keep
    if make is data.cbow:
        return define_bags(_kernels, text, window, **options)
    pairs = define_pairs(_kernels, text, window, **options)
    return pairs[:, 0], pairs[:, 1]


@each_function
@pytest.mark.parametrize("window", [1, 5, 600])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"counts": COUNTS},
        {"counts": COUNTS, "sample": 0.05, "shrink_windows": False, "shuffle": True},
    ],
    ids=("plain", "subsampled", "every option"),
)
def test_examples_are_those_of_the_definition(make, window, options):
    found = make(IDS, window, seed=SEED, **options)
    assert_same(found, define(make, Text(IDS), window, seed=SEED, **options))
    assert [tensor.dtype for tensor in found] == [tf.int64, tf.int64]


SENTENCES = [[3, 4, 5], [], [6], [7, -1, 8, 9], []]


@each_function
@pytest.mark.parametrize(
    "ids",
    [
        tf.ragged.constant(SENTENCES, tf.int64),
        tf.ragged.constant(SENTENCES, tf.int32, row_splits_dtype=tf.int32),
        tf.ragged.constant(SENTENCES).to_tensor(-1),
        tf.ragged.constant(SENTENCES).to_tensor(-1).numpy().tolist(),
        tf.constant([3, 4, 5, -1, 6, -7, 7, -1, 8, 9], tf.int32),
    ],
    ids=("ragged", "ragged of int32", "matrix", "lists", "vector"),
)
def test_sentences_in_every_form(make, ids):
    found = make(ids, 2, shrink_windows=False)
    text = Text(np.array([3, 4, 5, -1, 6, -1, 7, -1, 8, 9]))
    assert_same(found, define(make, text, 2, shrink_windows=False))


@each_function
@pytest.mark.parametrize("dtype", [tf.int8, tf.uint8, tf.int32, tf.uint32, tf.int64])
def test_every_type_of_integers(make, dtype):
    ids = np.abs(IDS)
    assert_same(make(tf.constant(ids, dtype), 3, seed=SEED), make(ids, 3, seed=SEED))


ALONE = {
    "no words": [],
    "one word": [5],
    "an end": [-1],
    "apart": [5, -1, 6],
    "no sentences": np.zeros([0, 4], np.int64),
    "empty sentences": np.zeros([3, 0], np.int64),
    "empty ragged sentences": tf.ragged.constant([[], []], dtype=tf.int64),
    "sentences of one word": tf.ragged.constant([[1], [2]]),
}


@each_function
@pytest.mark.parametrize("ids", ALONE.values(), ids=ALONE)
def test_texts_without_neighbors(make, ids):
    first, second = make(ids, 3)
    assert first.shape == ((0, 6) if make is data.cbow else (0,))
    assert second.shape == (0,)


@each_function
def test_ids_of_any_size(make):
    ids = np.array([2**62, 5, 2**63 - 1])
    assert_same(make(ids, 2, seed=SEED), define(make, Text(ids), 2, seed=SEED))


def test_windows_are_shortened_evenly():
    size, window = 20_000, 4
    centers, contexts = arrays(data.skipgrams(np.arange(size), window, seed=SEED))
    distances = np.bincount(np.abs(centers - contexts), minlength=window + 1)
    # A word at distance d is met by draws of d and more: a share (window + 1 - d) / window of them.
    for distance in range(1, window + 1):
        share = (window + 1 - distance) / window
        deviation = 2 * math.sqrt(size * share * (1 - share))  # both sides follow one draw
        assert abs(distances[distance] - 2 * size * share) <= 4 * deviation + 2 * window


def test_frequent_words_are_thinned_out_as_gensim_does():
    frequencies = {"the": 50_000, "of": 9000, "often": 3000, "seldom": 70, "once": 1}
    model = Word2Vec(min_count=1, sample=1e-2)
    model.build_vocab_from_freq(frequencies)
    keep = [model.wv.get_vecattr(word, "sample_int") / 2**32 for word in frequencies]
    counts = np.array(list(frequencies.values()))
    found = ops.fastw2v_keep_probabilities(counts=counts, sample=1e-2)
    np.testing.assert_allclose(found, keep, atol=1e-6)

    occurrences = 10_000
    # Each word between two words that stay, as all do that are not counted.
    ids = np.full(3 * 5 * occurrences, 5)
    ids[1::3] = np.tile(np.arange(5), occurrences)
    _, labels = data.cbow(ids, 1, counts=[*counts, 0], sample=1e-2, shrink_windows=False, seed=SEED)
    stayed = np.bincount(labels, minlength=6)
    assert stayed[5] == 2 * 5 * occurrences
    for found, probability in zip(stayed[:5], keep, strict=True):
        deviation = math.sqrt(occurrences * probability * (1 - probability))
        assert abs(found - occurrences * probability) <= 4 * deviation + 1e-3
    assert 0.1 < keep[0] < 0.2 and keep[-1] > 0.999


def test_a_shuffle_keeps_the_pairs():
    plain = np.stack(data.skipgrams(IDS, 5, seed=SEED), axis=1)
    mixed = np.stack(data.skipgrams(IDS, 5, seed=SEED, shuffle=True), axis=1)
    assert not np.array_equal(plain, mixed)
    assert sorted(map(tuple, plain)) == sorted(map(tuple, mixed))


def test_bags_hold_the_contexts_of_the_pairs():
    centers, contexts = arrays(data.skipgrams(IDS, 5, counts=COUNTS, seed=SEED))
    bags, labels = arrays(data.cbow(IDS, 5, counts=COUNTS, seed=SEED))
    np.testing.assert_array_equal(bags[bags >= 0], contexts)
    np.testing.assert_array_equal(np.repeat(labels, (bags >= 0).sum(axis=1)), centers)


@each_function
def test_seeds(make):
    def draw(seed):
        return tuple(map(bytes, arrays(make(IDS, 5, counts=COUNTS, seed=seed))))

    expected = draw((1, 2))
    for same in ([1, 2], np.array([1, 2]), tf.constant([1, 2]), (1, tf.constant(2, tf.int64))):
        assert draw(same) == expected
    assert draw((1, 3)) != expected
    for seed in (None, 5):
        tf.random.set_seed(11)
        first, second = draw(seed), draw(seed)
        assert first != second
        tf.random.set_seed(11)
        assert (draw(seed), draw(seed)) == (first, second)


def test_where_nothing_is_drawn_no_seed_is_needed():
    @tf.function
    def pairs(ids):
        return data.skipgrams(ids, 2, shrink_windows=False)

    pairs(tf.constant([1, 2, 3]))
    kinds = {
        op.type for op in pairs.get_concrete_function(tf.constant([1, 2, 3])).graph.get_operations()
    }
    assert "Fastw2v>SkipGrams" in kinds and "RandomUniformInt" not in kinds


@each_function
@pytest.mark.parametrize(
    "signature",
    [
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec(None, tf.int64),
        tf.TensorSpec([None, None], tf.int32),
        tf.RaggedTensorSpec([None, None], tf.int64),
    ],
    ids=("any length", "any shape", "matrix", "ragged"),
)
def test_in_a_function(make, signature):
    @tf.function(input_signature=[signature])
    def examples(ids):
        first, second = make(ids, 3, counts=COUNTS, shuffle=True, seed=SEED)
        assert first.shape.as_list() == ([None, 6] if make is data.cbow else [None])
        assert second.shape.as_list() == [None]
        return first, second

    ids = tf.constant(IDS)
    if isinstance(signature, tf.RaggedTensorSpec):
        ids = tf.RaggedTensor.from_row_lengths(ids, [200, 0, 300])
    elif signature.shape.rank == 2:
        ids = tf.cast(tf.reshape(ids, [5, 100]), tf.int32)
    assert_same(examples(ids), make(ids, 3, counts=COUNTS, shuffle=True, seed=SEED))


def test_counts_in_a_function():
    """Constants are evaluated once; counts that are arguments at each call."""
    constant = tf.function(lambda ids: data.skipgrams(ids, 3, counts=COUNTS, seed=SEED))
    given = tf.function(lambda ids, counts: data.skipgrams(ids, 3, counts=counts, seed=SEED))
    ids = tf.constant(IDS)
    expected = data.skipgrams(IDS, 3, counts=COUNTS, seed=SEED)
    for examples, arguments in ((constant, (ids,)), (given, (ids, tf.constant(COUNTS)))):
        assert_same(examples(*arguments), expected)
        graph = examples.get_concrete_function(*arguments).graph
        evaluated = "Fastw2v>KeepProbabilities" in {op.type for op in graph.get_operations()}
        assert evaluated == (examples is given)


@each_function
def test_parallel_calls_of_a_dataset(make):
    """Each element has its own seed: its number, here or behind a repeat."""
    blocks = tf.data.Dataset.from_tensor_slices(IDS).batch(64)
    counts = tf.constant(COUNTS)

    def examples(i, ids):
        return make(ids, 4, counts=counts, shuffle=True, seed=(7, i))

    expected = [
        arrays(examples(tf.constant(i, tf.int64), IDS[start : start + 64]))
        for i, start in enumerate([*range(0, 500, 64)] * 3)
    ]
    for calls in (None, 1, 4, tf.data.AUTOTUNE):
        dataset = blocks.repeat(3).enumerate().map(examples, num_parallel_calls=calls)
        found = list(dataset.as_numpy_iterator())
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    passes = np.array_split(np.arange(24), 3)
    assert not np.array_equal(expected[passes[0][0]][1], expected[passes[1][0]][1])


def test_seeds_from_a_dataset_of_random_numbers():
    blocks = tf.data.Dataset.from_tensors(IDS).repeat(4)
    seeds = tf.data.Dataset.random(seed=3).batch(2)
    dataset = tf.data.Dataset.zip(blocks, seeds).map(
        lambda ids, seed: data.skipgrams(ids, 4, seed=seed), num_parallel_calls=4
    )
    first, again = ([bytes(contexts.numpy()) for _, contexts in dataset] for _ in range(2))
    assert first == again and len(set(first)) == 4


def test_a_pipeline_of_batches():
    """Sentences one by one, to shuffled batches of one size."""
    ragged = tf.RaggedTensor.from_row_lengths(IDS, [10] * 50)
    batches = (
        tf.data.Dataset.from_tensor_slices(ragged)
        .ragged_batch(20)
        .enumerate()
        .map(lambda i, ids: data.skipgrams(ids, 3, shuffle=True, seed=(7, i)))
        .rebatch(64)
    )
    found = [arrays(batch) for batch in batches]
    expected = [
        arrays(data.skipgrams(ragged[start : start + 20], 3, shuffle=True, seed=(7, i)))
        for i, start in enumerate((0, 20, 40))
    ]
    assert all(len(centers) == len(contexts) == 64 for centers, contexts in found[:-1])
    for k in range(2):
        np.testing.assert_array_equal(
            np.concatenate([batch[k] for batch in found]),
            np.concatenate([block[k] for block in expected]),
        )


def test_a_dataset_is_saved_and_loaded(tmp_path):
    module = tf.Module()
    module.examples = tf.function(
        lambda ids: data.cbow(ids, 3, counts=COUNTS, seed=SEED),
        input_signature=[tf.TensorSpec([None], tf.int64)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert_same(loaded.examples(tf.constant(IDS)), data.cbow(IDS, 3, counts=COUNTS, seed=SEED))


@each_function
def test_examples_train(make):
    """Words of two topics that never meet in a sentence come apart."""
    rng = np.random.default_rng(5)
    topics = rng.integers(0, 2, [400, 1])
    sentences = rng.integers(0, 10, [400, 8]) + 10 * topics
    embeddings = tf.Variable(tf.random.stateless_uniform([20, 8], (1, 2), -0.5, 0.5))
    weights = tf.Variable(tf.zeros([20, 8]))
    optimizer = tf.keras.optimizers.Adam(0.02)
    batches = (
        tf.data.Dataset.from_tensors(sentences)
        .repeat(4)
        .enumerate()
        .map(lambda i, ids: make(ids, 3, shuffle=True, seed=(7, i)))
        .rebatch(256)
    )

    @tf.function(reduce_retracing=True)
    def step(inputs, labels):
        with tf.GradientTape() as tape:
            loss = fastw2v.negative_sampling_loss(
                embeddings,
                weights,
                inputs,
                labels,
                num_sampled=5,
                sampler="uniform",
                reduction="mean",
                seed=SEED,
            )
        variables = [embeddings, weights]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    losses = [float(step(*batch)) for batch in batches]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    rows = tf.math.l2_normalize(embeddings, axis=1)
    cosines = tf.matmul(rows, rows, transpose_b=True).numpy()
    same = np.arange(20) // 10 == np.arange(20)[:, None] // 10
    assert cosines[same].mean() > cosines[~same].mean() + 0.5


RAGGED = "or sentences \\[num_sentences, length\\], dense or ragged"


@each_function
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": 3}, rf"ids has shape \(\), expected ids \[size\], {RAGGED}"),
        ({"ids": np.zeros([2, 2, 2], int)}, rf"ids has shape \(2, 2, 2\), .*{RAGGED}"),
        ({"ids": tf.ragged.constant([[[1]]])}, rf"ids has shape \(1, None, None\), .*{RAGGED}"),
        ({"ids": tf.ragged.constant([[[1, 2]]], ragged_rank=1)}, rf"ids has shape .*{RAGGED}"),
        ({"ids": [1.0, 2.0]}, "ids has dtype float32, expected integer ids"),
        ({"ids": tf.ragged.constant([[1.0]])}, "ids has dtype float32, expected integer ids"),
        ({"ids": ["a"]}, "ids has dtype string, expected integer ids"),
        ({"ids": None}, "ids = None cannot be converted to a tensor"),
        ({"ids": [[1], [2, 3]]}, r"ids = \[\[1\], \[2, 3\]\] cannot be converted to a tensor"),
        ({"window": 0}, r"window = 0 is not a Python integer in \[1, 2147483647\]"),
        ({"window": 2**31}, r"window = 2147483648 is not a Python integer in \[1, 2147483647\]"),
        ({"window": 2.0}, r"window = 2\.0 is not a Python integer"),
        ({"window": None}, r"window = None is not a Python integer"),
        ({"sample": 1}, r"sample = 1 is not a Python number in \[0\.0, 1\.0\)"),
        ({"sample": -0.1}, r"sample = -0\.1 is not a Python number in \[0\.0, 1\.0\)"),
        ({"sample": "often"}, r"sample = 'often' is not a Python number"),
        ({"counts": [[1]]}, r"counts has shape \(1, 1\), expected a vector of numbers"),
        ({"counts": []}, r"counts has shape \(0,\), expected a vector of numbers"),
        ({"counts": ["a"]}, "counts has dtype string, expected a vector of numbers"),
        ({"seed": 1.5}, r"seed = 1\.5 is not None, an integer or a pair of integers"),
        ({"seed": (1, 2, 3)}, r"seed has shape \(3,\), expected integers of shape"),
        ({"seed": (1, 2, 3), "shrink_windows": False}, r"seed has shape \(3,\), expected int"),
    ],
)
def test_bad_arguments_are_named(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(**{"ids": [1, 2, 3], "window": 2, **change})


@each_function
@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize(
    ("ids", "counts", "message"),
    [
        ([1, 5], np.ones(5), r"ids\[1\] = 5 is not below 5, the number of counts"),
        ([1, 2**40], np.ones(5), r"ids\[1\] = 1099511627776 is not below 5"),
        ([1], [1, float("nan")], r"counts\[1\] = nan is not in \[0, inf\)"),
        ([1], [-3, 1], r"counts\[0\] = -3 is not in \[0, inf\)"),
    ],
)
def test_bad_values_are_named(make, in_graph, ids, counts, message):
    def examples(ids, counts):
        return make(ids, 2, counts=counts)

    examples = tf.function(examples) if in_graph else examples
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        examples(tf.constant(ids, tf.int64), tf.constant(counts, tf.float64))
    assert len(make([1, 2], 2)[1]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.zeros([3, 4], int)}, r"ids has shape \[3,4\]; expected \[size\]"),
        ({"row_splits": [[0, 3]]}, r"row_splits has shape \[1,2\]; expected"),
        ({"row_splits": [0, 4]}, r"row_splits\[1\] = 4 is not the number of ids, 3"),
        ({"row_splits": [0, 2, 1, 3]}, r"row_splits\[2\] = 1 is below row_splits\[1\] = 2"),
        ({"keep_probability": [[1.0]]}, r"keep_probability has shape \[1,1\]; expected"),
        ({"seed": [1, 2, 3]}, r"seed has shape \[3\]; expected \[2\]"),
        ({"window": 2**40}, r"window = 1099511627776 is not in \[1, 2147483647\]"),
    ],
)
@pytest.mark.parametrize("op", [ops.fastw2v_skip_grams, ops.fastw2v_cbow_bags])
def test_the_ops_check_what_the_functions_make(op, change, message):
    arguments = {"ids": [1, 2, 3], "row_splits": [], "keep_probability": [], "seed": [1, 2]}
    options = {"window": 2, "shrink_windows": True, "shuffle": False}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        op(**{**arguments, **options, **change})


def test_bags_that_no_memory_holds_end_in_an_error():
    with pytest.raises(tf.errors.ResourceExhaustedError):
        data.cbow(np.zeros(10_000, int), 2**31 - 1, shrink_windows=False)


def test_examples_have_no_gradient():
    counts = tf.Variable(tf.ones([10]))
    with tf.GradientTape() as tape:
        centers, _ = data.skipgrams([1, 2, 3], 1, counts=counts)
        total = tf.reduce_sum(tf.cast(centers, tf.float32))
    assert tape.gradient(total, counts) is None
