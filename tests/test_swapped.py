"""Arguments in each other's place: what the errors say, and what is let pass."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import fastw2v

EMBEDDINGS, WEIGHTS = tf.Variable(tf.ones([50, 4])), tf.Variable(tf.ones([40, 4]))
BIASES = tf.Variable(tf.zeros([40]))
IDS, LABELS = tf.constant([45, 2, 3]), tf.constant([1, 2, 3])
HIDDEN = tf.ones([3, 4])
BAGS = tf.constant([[1, -1], [2, 3], [5, -1]])
SWAPPED = "inputs and labels seem to be swapped: "
FIT = SWAPPED + "the other way around all of them are in range"
FLOATS = SWAPPED + "inputs are integers and labels are floats"

softmax_loss = fastw2v.softmax_loss
linear_cross_entropy = fastw2v.linear_cross_entropy
sampled_softmax_loss = fastw2v.sampled_softmax_loss
negative_sampling_loss = fastw2v.negative_sampling_loss

# Known by dtypes and shapes, in a graph too.
STATIC = {
    "hidden rows": (
        lambda: softmax_loss(EMBEDDINGS, WEIGHTS, BIASES, HIDDEN, LABELS),
        r"inputs has dtype float32, .* there is fastw2v\.linear_cross_entropy",
    ),
    "hidden rows, sampled": (
        lambda: softmax_loss(EMBEDDINGS, WEIGHTS, BIASES, HIDDEN, LABELS, num_sampled=5),
        r"there is fastw2v\.sampled_softmax_loss",
    ),
    "hidden rows, negatives": (
        lambda: negative_sampling_loss(EMBEDDINGS, WEIGHTS, HIDDEN, LABELS, 5),
        r"there is the layer fastw2v\.keras\.NegativeSampling",
    ),
    "bags as labels": (
        lambda: softmax_loss(
            EMBEDDINGS, WEIGHTS, BIASES, LABELS, tf.RaggedTensor.from_row_lengths(IDS, [1, 1, 1])
        ),
        SWAPPED + "labels are bags of ids",
    ),
    "order of tf.nn": (
        lambda: softmax_loss(WEIGHTS, BIASES, LABELS, IDS, num_sampled=5),
        r"'labels'; the order of arguments is softmax_loss\(embeddings, weights, biases, inputs, ",
    ),
    "order of tf.nn, negatives": (
        lambda: negative_sampling_loss(WEIGHTS, BIASES, LABELS, IDS, 5),
        r"order of arguments is negative_sampling_loss\(embeddings, weights, inputs, labels, num_",
    ),
    "biases as ids": (
        lambda: negative_sampling_loss(EMBEDDINGS, WEIGHTS, BIASES, IDS, LABELS),
        "order of arguments is negative_sampling_loss",
    ),
    "order of softmax_loss": (
        lambda: linear_cross_entropy(WEIGHTS, BIASES, HIDDEN, LABELS),
        r"order of arguments is linear_cross_entropy\(labels, inputs, weights, biases\)",
    ),
    "activations first": (
        lambda: linear_cross_entropy(HIDDEN, LABELS, WEIGHTS, BIASES),
        "labels has dtype float32, .*" + FLOATS,
    ),
    "activations first, sampled": (
        lambda: sampled_softmax_loss(WEIGHTS, BIASES, HIDDEN, LABELS[:, tf.newaxis], 5, 40),
        r"labels has shape \(3, 4\), .*" + FLOATS,
    ),
    "activations first, float labels": (
        lambda: fastw2v.nce_loss(WEIGHTS, BIASES, HIDDEN, tf.ones([3, 1]), 5, 40),
        SWAPPED + r"inputs have shape \(3, 1\), and labels \(3, 4\)",
    ),
}


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", STATIC)
def test_dtypes_and_shapes_tell(name, in_graph):
    call, message = STATIC[name]
    with pytest.raises((TypeError, ValueError), match=f"(?s){message}"):
        (tf.function(call) if in_graph else call)()


def step(*args, **kwargs):
    return fastw2v.train_step(fastw2v.optimizers.SGD(0.1), softmax_loss, *args, **kwargs)


VALUES = {
    "softmax": lambda ids, labels: softmax_loss(EMBEDDINGS, WEIGHTS, BIASES, ids, labels),
    "sampled": lambda ids, labels: softmax_loss(
        EMBEDDINGS, WEIGHTS, BIASES, ids, labels, num_sampled=5
    ),
    "negatives": lambda ids, labels: negative_sampling_loss(EMBEDDINGS, WEIGHTS, ids, labels, 5),
    "train_step": lambda ids, labels: step(EMBEDDINGS, WEIGHTS, BIASES, ids, labels),
    "shards": lambda ids, labels: softmax_loss(
        [EMBEDDINGS[:25], EMBEDDINGS[25:]], [WEIGHTS[:20], WEIGHTS[20:]], None, ids, labels
    ),
}


@pytest.mark.parametrize("loss", VALUES)
def test_values_tell(loss):
    call = VALUES[loss]
    for ids, labels in [(IDS, LABELS), (BAGS, LABELS), (IDS, LABELS[:, tf.newaxis]), (45, 1)]:
        before = WEIGHTS.numpy()
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"is not in \[0, [\s\S]*{FIT}"):
            call(labels, ids)
        np.testing.assert_array_equal(WEIGHTS, before)
        call(ids, labels)


@pytest.mark.parametrize("loss", VALUES)
@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        ([45, 2, 3], [45, 2, 3]),  # out of range in either place
        ([1, 2, 3], [1, 2, 60]),
        ([1, 2, 3], [1, -1, 3]),  # a bag that would be empty
        ([1, 2, 60], [1, 2, 3]),
    ],
)
def test_nothing_is_said_of_other_errors(loss, ids, labels):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        VALUES[loss](ids, labels)
    assert "swapped" not in str(caught.value)


def test_ignored_labels_are_no_ids():
    tables = {"embeddings": EMBEDDINGS, "weights": WEIGHTS, "biases": BIASES}
    labels = tf.constant([-7, 2, 5])
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        softmax_loss(**tables, inputs=[1, 2, 60], labels=labels, ignore_label=-7)
    assert "swapped" not in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=FIT):
        softmax_loss(**tables, inputs=labels, labels=IDS, ignore_label=-7)


def test_bags_of_one_id_are_inputs():
    """In the shape of labels [batch, 1], and yet a single id for each example."""
    loss = VALUES["softmax"]
    np.testing.assert_array_equal(loss(IDS[:, tf.newaxis], LABELS), loss(IDS, LABELS))


def test_keywords_alone_have_no_order():
    with pytest.raises(ValueError, match=r"expected \[rows, dim\]$"):
        negative_sampling_loss(
            embeddings=EMBEDDINGS, weights=BIASES, inputs=IDS, labels=LABELS, num_sampled=5
        )
    with pytest.raises(TypeError, match="argument: 'labels'$"):
        negative_sampling_loss(embeddings=EMBEDDINGS, weights=WEIGHTS, inputs=IDS, num_sampled=5)
