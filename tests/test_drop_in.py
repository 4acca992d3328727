"""sampled_softmax_loss and nce_loss in the place of their namesakes in tf.nn."""

from __future__ import annotations

import inspect

import numpy as np
import problems
import pytest
import tensorflow as tf
from problems import given

import fastw2v

NAMES = ("sampled_softmax_loss", "nce_loss")
CLASSES, DIM, BATCH, NUM_SAMPLED = 50, 12, 9, 15

each_loss = pytest.mark.parametrize("name", NAMES)


def arguments(num_true=1, dtype="float32", labels_dtype="int64"):
    """Tables by name, and the other arguments by name."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, CLASSES, [BATCH, num_true])
    sampled_values = tf.random.log_uniform_candidate_sampler(
        labels, num_true, NUM_SAMPLED, unique=True, range_max=CLASSES, seed=1
    )
    # The sampled classes hit labels, some of them those of several examples.
    labels[::2, 0] = sampled_values[0].numpy()[[0, 1, 2, 3, 3]]
    candidates, true_count, sampled_count = sampled_values
    counts = (tf.cast(true_count, dtype), tf.cast(sampled_count, dtype))
    tables = {
        "weights": tf.cast(rng.normal(size=[CLASSES, DIM]), dtype),
        "biases": tf.cast(rng.normal(size=[CLASSES]), dtype),
        "activations": tf.cast(rng.normal(size=[BATCH, DIM]), dtype),
    }
    others = {
        "labels": tf.cast(labels, labels_dtype),
        "num_sampled": NUM_SAMPLED,
        "num_classes": CLASSES,
        "num_true": num_true,
        "sampled_values": (candidates, *counts),
    }
    upstream = tf.cast(rng.normal(size=BATCH), dtype)
    return tables, others, upstream


def value_and_gradients(function, tables, others, upstream, form):
    forms = given(tables, form)
    sources = {name: table.sources for name, table in forms.items()}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = function(
            weights=forms["weights"].argument,
            biases=forms["biases"].argument,
            inputs=forms["activations"].argument,
            **others,
        )
    gradients = tape.gradient(loss, sources, output_gradients=upstream)
    dense = {}
    for name, parts in gradients.items():
        parts = [tf.convert_to_tensor(part) for part in parts]  # those of tf.nn repeat rows
        dense[name] = tf.cast(tf.concat(parts, axis=0), tf.float64)
    return loss, dense


@pytest.mark.parametrize("hits", [None, False, True, np.True_])
@pytest.mark.parametrize("form", ["variable", "tensor", "shards"])
@pytest.mark.parametrize("labels_dtype", ["int64", "int32", "float32"])
@pytest.mark.parametrize("num_true", [1, 3])
@each_loss
def test_the_numbers_of_tf_nn(name, num_true, labels_dtype, form, hits):
    tables, others, upstream = arguments(num_true, "float32", labels_dtype)
    if hits is not None:
        others["remove_accidental_hits"] = hits
    theirs, their_gradients = value_and_gradients(
        getattr(tf.nn, name), tables, others, upstream, form
    )
    ours, our_gradients = value_and_gradients(
        getattr(fastw2v, name), tables, others, upstream, form
    )
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)
    for table, gradient in their_gradients.items():
        np.testing.assert_allclose(
            our_gradients[table], gradient, rtol=1e-5, atol=2e-6, err_msg=table
        )


@pytest.mark.parametrize("num_true", [1, 3])
@each_loss
def test_the_numbers_of_tf_nn_in_double_precision(name, num_true):
    tables, others, upstream = arguments(num_true, "float64")
    theirs, their_gradients = value_and_gradients(
        getattr(tf.nn, name), tables, others, upstream, "variable"
    )
    ours, our_gradients = value_and_gradients(
        getattr(fastw2v, name), tables, others, upstream, "variable"
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for table, gradient in their_gradients.items():
        np.testing.assert_allclose(our_gradients[table], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@each_loss
def test_half_precision_is_as_good_as_that_of_tf_nn(name, dtype):
    tables, others, upstream = arguments(1, dtype)
    others["remove_accidental_hits"] = False  # tf.nn's way to remove them gives NaN here
    exact = {key: tf.cast(table, tf.float64) for key, table in tables.items()}
    candidates, *counts = others["sampled_values"]
    doubles = (candidates, *(tf.cast(count, tf.float64) for count in counts))
    truth, true_gradients = value_and_gradients(
        getattr(tf.nn, name),
        exact,
        {**others, "sampled_values": doubles},
        tf.cast(upstream, tf.float64),
        "tensor",
    )
    naive, naive_gradients = value_and_gradients(
        getattr(tf.nn, name), tables, others, upstream, "tensor"
    )
    op, gradients = value_and_gradients(getattr(fastw2v, name), tables, others, upstream, "tensor")
    assert op.dtype == naive.dtype
    kept = {"dtype": tf.float32, "output_dtype": dtype}
    doubled = [tf.cast(value, tf.float64) for value in (op, naive, truth)]
    problems.assert_as_accurate(*doubled, **kept)
    for table, gradient in gradients.items():
        problems.assert_as_accurate(gradient, naive_gradients[table], true_gradients[table], **kept)


@each_loss
def test_parameters_in_the_same_order_with_the_same_defaults(name):
    theirs = inspect.signature(getattr(tf.nn, name)).parameters
    ours = inspect.signature(getattr(fastw2v, name)).parameters
    positional = [p for p in ours.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert [p.name for p in positional] == list(theirs)
    for parameter in positional:
        if parameter.name != "name":  # where None stands for the name of the function
            assert parameter.default == theirs[parameter.name].default, parameter.name


@each_loss
def test_positional_arguments(name):
    tables, others, _ = arguments()
    given_by_position = (
        tables["weights"],
        tables["biases"],
        others["labels"],
        tables["activations"],
        NUM_SAMPLED,
        CLASSES,
        1,
        others["sampled_values"],
        True,
    )
    ours = getattr(fastw2v, name)(*given_by_position)
    theirs = getattr(tf.nn, name)(*given_by_position)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)


@each_loss
def test_inside_a_function_with_its_own_sampling(name):
    """The default sampler is tf.nn's, so that losses agree on average."""
    tables, others, _ = arguments()
    del others["sampled_values"]

    @tf.function
    def mean(function_name):
        module = fastw2v if function_name == "ours" else tf.nn
        losses = [
            getattr(module, name)(
                tables["weights"], tables["biases"], inputs=tables["activations"], **others
            )
            for _ in range(50)
        ]
        return tf.reduce_mean(losses)

    ours = np.mean([mean("ours") for _ in range(10)])
    theirs = np.mean([mean("theirs") for _ in range(10)])
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@each_loss
def test_samples_of_some_classes_only(name):
    """num_classes below the rows of weights: a table padded to a round size."""
    tables, others, _ = arguments()
    others["num_classes"] = CLASSES - 10
    others["labels"] = others["labels"] % (CLASSES - 10)
    del others["sampled_values"]
    weights, biases = tf.Variable(tables["weights"]), tf.Variable(tables["biases"])
    with tf.GradientTape() as tape:
        loss = getattr(fastw2v, name)(weights, biases, inputs=tables["activations"], **others)
    met = tape.gradient(loss, weights).indices
    assert tf.reduce_max(met) < CLASSES - 10


@each_loss
def test_counts_of_an_example_serve_all_its_labels(name):
    tables, others, upstream = arguments(num_true=3)
    candidates, _, sampled_count = others["sampled_values"]
    others["sampled_values"] = (candidates, tf.fill([BATCH, 1], 0.5), sampled_count)
    ours, theirs = (
        value_and_gradients(getattr(library, name), tables, others, upstream, "tensor")[0]
        for library in (fastw2v, tf.nn)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    others["sampled_values"] = (candidates, tf.fill([BATCH, 2], 0.5), sampled_count)
    with pytest.raises(ValueError, match=r"true_expected_count, has shape \(9, 2\), expected one"):
        value_and_gradients(getattr(fastw2v, name), tables, others, upstream, "tensor")


@each_loss
def test_partition_strategy(name):
    tables, others, _ = arguments()
    inputs = tables.pop("activations")
    loss = getattr(fastw2v, name)
    for strategy in ("div", "mod"):  # of a whole table both are the same
        got = loss(inputs=inputs, **tables, **others, partition_strategy=strategy)
        np.testing.assert_array_equal(got, loss(inputs=inputs, **tables, **others))
    tables["weights"] = tf.split(tables["weights"], 2)
    with pytest.raises(ValueError, match='partition_strategy = "mod", which .* expected "div"'):
        loss(inputs=inputs, **tables, **others, partition_strategy="mod")
