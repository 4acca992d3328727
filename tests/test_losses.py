"""Values of the losses: against the reference, in every form, dtype and shape of arguments."""

from __future__ import annotations

import hashlib
import math

import cases
import numpy as np
import problems
import pytest
import tensorflow as tf
from problems import Problem, given, selected

import fastw2v

# One case for each loss, for tests of something else than the loss.
every_loss = selected(names=["plain"], dtypes=["float32"])


@selected(dtypes=["float64"])
def test_the_reference_in_float64(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    value = problem.fused(problem.tables)
    expected = problem.reference(problem.tables)
    assert value.shape == problem.upstream.shape
    assert value.dtype == tf.float64
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)


@selected(dtypes=["float32", "bfloat16", "float16"])
def test_as_accurate_as_the_naive_computation(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    value = problem.fused(problem.tables)
    # tf.nn returns the dtype of its activations, the others that of the sums.
    kept = problem.dtype if loss.startswith("tf_nn") else tf.float32
    assert value.dtype == kept
    problems.assert_as_accurate(
        tf.cast(value, tf.float64),
        problem.reference(problem.tables),
        problem.reference(problem.in_float64()),
        dtype=tf.float32,
        output_dtype=kept,
    )


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("loss", cases.EXACT)
def test_one_class_costs_nothing(loss, dtype):
    problem = Problem("one class", loss, dtype)
    np.testing.assert_array_equal(problem.fused(problem.tables), np.zeros(6))


@pytest.mark.parametrize("form", problems.FORMS)
@every_loss
def test_every_form_of_table_gives_the_same_bits(case, loss, dtype, form):
    problem = Problem(case, loss, dtype)
    arguments = {name: table.argument for name, table in given(problem.tables, form).items()}
    np.testing.assert_array_equal(problem.fused(arguments), problem.fused(problem.tables))


@selected(
    names=["3000 classes", "more samples than a tile"],
    dtypes=["float64", "bfloat16"],
    losses=cases.IDS,
)
def test_shards_across_tiles(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    arguments = {name: table.argument for name, table in given(problem.tables, "shards").items()}
    np.testing.assert_array_equal(problem.fused(arguments), problem.fused(problem.tables))


def test_shards_may_differ_from_table_to_table():
    problem = Problem("plain", "exact", "float64")
    forms = {"embeddings": "shards", "weights": "variable", "biases": "tensor shards"}
    arguments = {
        name: problems.Given(table, forms[name]).argument for name, table in problem.tables.items()
    }
    np.testing.assert_array_equal(problem.fused(arguments), problem.fused(problem.tables))


def test_a_list_of_numbers_is_one_table():
    loss = fastw2v.softmax_loss([[1.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]], [0.5, 0.0], [0], [1])
    np.testing.assert_allclose(loss, [np.log1p(math.exp(2.5))], rtol=1e-6)


def test_the_formula_by_hand():
    """The reference itself, against numbers worked out on paper."""
    weights = tf.constant([[0.0], [math.log(2)], [math.log(3)]], tf.float64)  # exp: 1, 2, 3
    embeddings, biases = tf.ones([1, 1], tf.float64), tf.zeros([3], tf.float64)
    for module in (fastw2v, fastw2v.reference):
        exact = module.softmax_loss(embeddings, weights, biases, [0], [1])
        np.testing.assert_allclose(exact, [math.log(6 / 2)], rtol=1e-14)
        counts = (tf.constant([[0.5]]), tf.constant([0.25, 4.0]))  # exp: 2 / 0.5, 1 / 0.25, 3 / 4
        sampled = module.softmax_loss(
            embeddings, weights, biases, [0], [1], sampled_values=(tf.constant([0, 2]), *counts)
        )
        np.testing.assert_allclose(sampled, [math.log((4 + 4 + 0.75) / 4)], rtol=1e-14)
        nce = module.nce_loss(
            weights,
            biases,
            [[1]],
            embeddings,
            sampled_values=(tf.constant([0, 2]), *counts),
            **({"num_sampled": 2, "num_classes": 3} if module is fastw2v else {}),
        )
        np.testing.assert_allclose(nce, [math.log(5 / 4 * 5 * 1.75)], rtol=1e-14)
        negatives = module.negative_sampling_loss(
            embeddings, weights, [0], [1], sampled_values=(tf.constant([0, 2]), None, None)
        )
        np.testing.assert_allclose(negatives, [math.log(3 / 2 * 2 * 4)], rtol=1e-14)


# ---- Shapes and dtypes of ids and activations ----------------------------------------------------


@pytest.mark.parametrize(
    "integer", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]
)
@every_loss
def test_every_type_of_integers(case, loss, dtype, integer):
    problem = Problem(case, loss, dtype)
    changes = {"labels": tf.cast(problem.labels, integer)}
    if problem.sampled_values is not None:
        candidates, *counts = problem.sampled_values
        changes["sampled_values"] = (tf.cast(candidates, integer), *counts)
    if loss in cases.IDS:
        changes["inputs"] = tf.cast(problem.inputs, integer)
    value = problem.fused(problem.tables, **changes)
    np.testing.assert_array_equal(value, problem.fused(problem.tables))


@selected(names=["ragged bags"], dtypes=["float32"])
def test_ragged_bags_with_narrow_splits(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    narrow = problem.inputs.with_row_splits_dtype(tf.int32)
    value = problem.fused(problem.tables, inputs=tf.cast(narrow, tf.int32))
    np.testing.assert_array_equal(value, problem.fused(problem.tables))


@pytest.mark.parametrize("loss", cases.IDS)
def test_a_bag_of_one_is_its_row(loss):
    problem = Problem("plain", loss, "float32")
    ids = problem.fused(problem.tables)
    padded = np.stack([np.full_like(problem.inputs, -1), problem.inputs], axis=1)
    ragged = tf.RaggedTensor.from_row_lengths(problem.inputs, np.ones_like(problem.inputs))
    for bags in (padded, problem.inputs[:, np.newaxis], ragged):
        np.testing.assert_array_equal(problem.fused(problem.tables, inputs=bags), ids)


@pytest.mark.parametrize("loss", cases.IDS)
def test_scalars_in_and_a_scalar_out(loss):
    problem = Problem("scalar", loss, "float32")
    value = problem.fused(problem.tables)
    assert value.shape == ()
    one = problem.fused(
        problem.tables, inputs=[int(problem.inputs)], labels=[int(np.ravel(problem.labels)[0])]
    )
    assert one.shape == (1,)
    assert value == one[0]
    python = problem.fused(
        problem.tables, inputs=int(problem.inputs), labels=int(np.ravel(problem.labels)[0])
    )
    assert value == python
    if not loss.startswith("sampled"):  # the expected counts given are those of one label
        assert problem.fused(problem.tables, labels=[3, 5]).shape == ()


@pytest.mark.parametrize("shape", [[], [3], [2, 3], [2, 1, 3], [0, 3]])
@pytest.mark.parametrize("num_true", [None, 2])
def test_activations_of_any_rank(shape, num_true):
    rng = np.random.default_rng(1)
    weights, biases = rng.normal(size=[9, 5]), rng.normal(size=9)
    inputs = rng.normal(size=[*shape, 5])
    labels = rng.integers(0, 9, shape if num_true is None else [*shape, num_true])
    value = fastw2v.linear_cross_entropy(labels, inputs, weights, biases)
    assert value.shape == shape
    expected = fastw2v.reference.linear_cross_entropy(
        labels.reshape([-1, num_true or 1]), inputs.reshape([-1, 5]), weights, biases
    )
    np.testing.assert_allclose(value, tf.reshape(expected, shape), rtol=1e-12)


def test_activations_are_cast_to_the_dtype_of_weights():
    weights = tf.Variable(tf.random.stateless_normal([9, 5], [1, 2]))
    inputs = tf.cast(tf.random.stateless_normal([4, 5], [3, 4]), tf.bfloat16)
    value = fastw2v.linear_cross_entropy([1, 2, 3, 4], inputs, weights)
    expected = fastw2v.linear_cross_entropy([1, 2, 3, 4], tf.cast(inputs, tf.float32), weights)
    np.testing.assert_array_equal(value, expected)


# ---- Options that the reference leaves to the caller ---------------------------------------------


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("weighted", ["no", "scalar", "vector"])
@selected(names=["two labels"], dtypes=["float64"])
def test_weights_and_reductions(case, loss, dtype, weighted, ignored):
    problem = Problem(case, loss, dtype)
    labels = np.array(problem.labels)
    options = {}
    if ignored:
        labels[0], labels[2, 0] = 7, 7
        options = {"ignore_label": 7}
    options["labels"] = labels
    each = problem.fused(problem.tables, **options).numpy()
    weight = {"no": None, "scalar": 0.25, "vector": np.linspace(-0.5, 2.0, each.size)}[weighted]
    options["sample_weight"] = weight
    factor = np.broadcast_to(1.0 if weight is None else weight, each.shape)
    present = ~np.all(labels == 7, axis=1) if ignored else np.ones(each.shape, bool)
    assert np.all(each[present] != 0) and np.all(each[~present] == 0)
    expected = {
        "none": each * factor,
        "sum": np.sum(each * factor),
        "mean": np.sum(each * factor) / np.sum(factor[present]),
    }
    for reduction, value in expected.items():
        got = problem.fused(problem.tables, reduction=reduction, **options)
        assert got.shape == value.shape
        np.testing.assert_allclose(got, value, rtol=1e-12)


@every_loss
def test_the_mean_of_nothing_is_nothing(case, loss, dtype):
    problem = Problem("batch 0", loss, dtype)
    assert problem.fused(problem.tables, reduction="mean") == 0
    assert problem.fused(problem.tables, reduction="sum") == 0
    problem = Problem("ignored", loss, dtype)
    labels = np.full_like(problem.labels, -1)
    assert problem.fused(problem.tables, labels=labels, reduction="mean") == 0


def test_weights_of_activations_have_the_shape_of_the_loss():
    rng = np.random.default_rng(2)
    weights, inputs = rng.normal(size=[9, 5]), rng.normal(size=[2, 3, 5])
    labels, factor = rng.integers(0, 9, [2, 3]), rng.uniform(size=[2, 3])
    each = fastw2v.linear_cross_entropy(labels, inputs, weights)
    options = {"sample_weight": factor}
    value = fastw2v.linear_cross_entropy(labels, inputs, weights, **options)
    np.testing.assert_allclose(value, each * factor, rtol=1e-12)
    mean = fastw2v.linear_cross_entropy(labels, inputs, weights, reduction="mean", **options)
    np.testing.assert_allclose(mean, np.sum(each * factor) / np.sum(factor), rtol=1e-12)


@selected(
    names=["plain", "two labels", "97 classes", "width 33"],
    dtypes=["float32", "bfloat16", "float16"],
)
def test_products_in_bfloat16(case, loss, dtype):
    """compute_dtype rounds the operands of products, and nothing else."""
    problem = Problem(case, loss, dtype)
    rounded = problem.in_float64()
    for name in set(rounded) - {"biases"}:
        rounded[name] = tf.cast(tf.cast(rounded[name], tf.bfloat16), tf.float64)
    value = problem.fused(problem.tables, compute_dtype="bfloat16")
    kept = np.finfo(np.float16).eps if dtype == "float16" and value.dtype == tf.float16 else 1e-5
    if value.dtype == tf.bfloat16:
        kept = 2.0**-7
    np.testing.assert_allclose(
        tf.cast(value, tf.float64), problem.reference(rounded), rtol=kept, atol=1e-5
    )
    unrounded = problem.fused(problem.tables, compute_dtype=tf.float32)
    np.testing.assert_array_equal(unrounded, problem.fused(problem.tables))
    if dtype == "bfloat16":  # nothing to round; processors with such products sum in another order
        np.testing.assert_allclose(value, unrounded, rtol=1e-5)
    elif value.dtype == tf.float32:
        assert np.any(value != unrounded)


def test_compute_dtype_of_doubles():
    problem = Problem("plain", "exact", "float64")
    value = problem.fused(problem.tables, compute_dtype="float64")
    np.testing.assert_array_equal(value, problem.fused(problem.tables))


@pytest.mark.parametrize("dtype, wrong", [("float32", "float64"), ("float64", "bfloat16")])
def test_the_op_checks_its_compute_dtype(dtype, wrong):
    """By itself: a saved graph may hold anything that the attribute allows."""
    call = fastw2v.linear_cross_entropy.call([1, 2], tf.ones([2, 3], dtype), tf.ones([4, 3], dtype))
    call.attributes["compute_dtype"] = tf.as_dtype(wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match="compute_dtype = .*, expected "):
        call.value()


# ---- Sampling inside the loss --------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["uniform", "log_uniform", "unigram"])
@selected(names=["two labels"], dtypes=["float64"], losses=cases.SAMPLED)
def test_sampling_is_what_the_sampler_draws(case, loss, dtype, sampler):
    """A seed pair decides the draw, whether it is made before or inside the loss."""
    problem = Problem(case, loss, dtype)
    unique = not loss.startswith("negatives")
    drawn_by = {
        "uniform": fastw2v.samplers.Uniform(case.classes, unique),
        "log_uniform": fastw2v.samplers.LogUniform(case.classes, unique),
        "unigram": fastw2v.samplers.Unigram(np.arange(1, case.classes + 1), unique=unique),
    }[sampler]
    own = loss == "negatives_own"
    values = drawn_by.sample(problem.labels, case.num_sampled, seed=(5, 6), per_example=own)
    before = problem.fused(problem.tables, sampled_values=values)
    options = {"sampler": drawn_by if sampler == "unigram" else sampler, "seed": (5, 6)}
    if loss.startswith("negatives"):
        options["per_example"] = own
    inside = problem.fused(
        problem.tables, sampled_values=None, num_sampled=case.num_sampled, **options
    )
    np.testing.assert_array_equal(inside, before)


@selected(names=["plain"], dtypes=["float32"], losses=cases.SAMPLED)
def test_without_a_seed_every_call_draws_anew(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    options = {"sampled_values": None, "num_sampled": 3}
    values = {tuple(problem.fused(problem.tables, **options).numpy()) for _ in range(5)}
    assert len(values) > 1

    def repeated():
        tf.random.set_seed(3)
        return [problem.fused(problem.tables, seed=4, **options).numpy() for _ in range(3)]

    np.testing.assert_array_equal(repeated(), repeated())


def test_ignored_labels_are_kept_from_the_sampler():
    problem = Problem("ignored among others", "sampled", "float64")
    value = problem.fused(problem.tables, sampled_values=None, num_sampled=5, seed=(1, 2))
    ignored = np.all(problem.labels == -100, axis=1)
    assert ignored.any() and not ignored.all()
    np.testing.assert_array_equal(value.numpy() == 0, ignored)


@selected(names=["plain"], dtypes=["float64"], losses=["negatives", "negatives_own"])
def test_negatives_may_be_given_without_counts(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    alone = problem.fused(problem.tables, sampled_values=problem.sampled_values[0])
    np.testing.assert_array_equal(alone, problem.fused(problem.tables))


@selected(names=["plain"], dtypes=["float64"], losses=["sampled", "sampled_own"])
def test_candidates_without_counts(case, loss, dtype):
    problem = Problem(case, loss, dtype)
    ones = tuple(np.ones(np.shape(values), np.float32) for values in problem.sampled_values[1:])
    candidates = problem.sampled_values[0]
    without = problem.fused(problem.tables, sampled_values=(candidates, None, None))
    with_ones = problem.fused(
        problem.tables, sampled_values=(candidates, np.reshape(ones[0], [-1, 1]), ones[1])
    )
    np.testing.assert_array_equal(without, with_ones)


# ---- Tables that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@selected(names=["plain"], dtypes=["float32"], losses=("exact", "sampled", "negatives_own"))
def test_bad_rows_reach_the_examples_that_meet_them(case, loss, dtype, bad):
    problem = Problem(case, loss, dtype)
    row = int(problem.inputs[0])
    embeddings = problem.tables["embeddings"].numpy()
    embeddings[row, 2] = bad
    value = problem.fused({**problem.tables, "embeddings": embeddings})
    met = problem.inputs == row
    assert not met.all()
    expected = problem.reference({**problem.tables, "embeddings": tf.constant(embeddings)}).numpy()
    np.testing.assert_array_equal(np.isfinite(value), np.isfinite(expected))
    np.testing.assert_array_equal(np.isfinite(value), ~met)
    np.testing.assert_array_equal(value[~met], problem.fused(problem.tables)[~met])


@pytest.mark.parametrize("loss", cases.SOFTMAX)
def test_a_class_of_no_probability(loss):
    """A bias of -inf takes a class out, as it does in tf.nn.softmax."""
    problem = Problem("96 classes" if loss in cases.EXACT else "plain", loss, "float64")
    biases = problem.tables["biases"].numpy()
    out = 5 if loss in cases.EXACT else int(problem.sampled_values[0].numpy().flat[-1])
    labels = np.where(problem.labels == out, (out + 1) % problem.case.classes, problem.labels)
    biases[out] = -np.inf
    value = problem.fused({**problem.tables, "biases": biases}, labels=labels)
    biases[out] = -1e4
    expected = problem.fused({**problem.tables, "biases": biases}, labels=labels)
    assert np.all(np.isfinite(value))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


# ---- Unknown shapes, and the same bits -----------------------------------------------------------


@pytest.mark.parametrize("known", ["rank", "nothing"])
@selected(
    names=["plain", "two labels", "padded bags", "batch 0", "scalar", "ragged bags"],
    dtypes=["float32"],
)
def test_unknown_static_shapes(case, loss, dtype, known):
    problem = Problem(case, loss, dtype)
    unknown_rank = known == "nothing"

    def spec(value, none_allowed=True):
        shape = None if unknown_rank and none_allowed else [None] * np.ndim(value)
        return tf.TensorSpec(shape, tf.as_dtype(value.dtype))

    # Where labels have no rank they are [batch], or for the losses of tf.nn [batch, num_true].
    by_ids = loss in cases.IDS
    plain = case.inputs in ("ids", "padded") or not by_ids
    has_one_rank = plain and np.ndim(problem.labels) == (1 if not loss.startswith("tf_nn") else 2)
    arguments = {"labels": tf.constant(problem.labels)}
    signature = {"labels": spec(arguments["labels"], has_one_rank)}
    if isinstance(problem.inputs, tf.RaggedTensor):
        arguments["inputs"] = problem.inputs
        signature["inputs"] = tf.RaggedTensorSpec([None, None], tf.int64)
    elif by_ids:
        arguments["inputs"] = tf.constant(problem.inputs)
        signature["inputs"] = spec(arguments["inputs"], plain)
    values = problem.sampled_values
    if values is not None:
        arguments["sampled_values"] = values
        signature["sampled_values"] = tuple(spec(value) for value in values)
    signatures = {
        name: spec(table, name == "activations" and loss != "linear")
        for name, table in problem.tables.items()
    }

    @tf.function
    def call(tables, arguments):
        return problem.fused(tables, **arguments)

    concrete = call.get_concrete_function(signatures, signature)
    value = concrete(problem.tables, arguments)
    np.testing.assert_array_equal(value, problem.fused(problem.tables))


BITS = """
import sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import test_losses
print(test_losses.bits_of_losses_and_gradients())
"""


def bits_of_losses_and_gradients() -> str:
    """A fingerprint of the losses and gradients of a few problems that work in parallel."""
    digest = hashlib.sha256()
    for name in ("batch 1300", "batch 289", "3000 classes", "more samples than a tile"):
        case = cases.BY_NAME[name]
        for loss in case.losses:
            problem = Problem(case, loss, "float32")
            tables = given(problem.tables, "tensor")
            sources = [table.argument for table in tables.values()]
            with tf.GradientTape() as tape:
                tape.watch(sources)
                value = problem.fused(dict(zip(tables, sources, strict=True)))
            digest.update(value.numpy().tobytes())
            upstream = tf.cast(problem.upstream, value.dtype)
            for gradient in tape.gradient(value, sources, output_gradients=upstream):
                if isinstance(gradient, tf.IndexedSlices):
                    digest.update(gradient.indices.numpy().tobytes())
                    gradient = gradient.values
                digest.update(gradient.numpy().tobytes())
    return digest.hexdigest()


def test_the_same_bits_at_every_call_and_for_any_number_of_threads():
    here = bits_of_losses_and_gradients()
    assert here == bits_of_losses_and_gradients()
    for threads in ("1", "2", "3"):
        assert problems.run_python(BITS, threads).split()[-1] == here, f"{threads} threads"


@pytest.mark.parametrize("scale", [3.0, 1 / 0.07])
@pytest.mark.parametrize("loss", ["exact", "sampled", "linear", "tf_nn_nce"])
def test_products_in_bfloat16_are_scaled_and_not_their_operands(loss, scale):
    problem = Problem("97 classes" if loss == "linear" else "plain", loss, "float32")
    for name, table in problem.tables.items():  # numbers that rounding leaves as they are
        problem.tables[name] = tf.cast(tf.cast(table, tf.bfloat16), tf.float32)
    options = {"logit_scale": scale}
    got = problem.fused(problem.tables, compute_dtype="bfloat16", **options)
    expected = problem.fused(problem.in_float64(), **options)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-5)
