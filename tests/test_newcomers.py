"""Three programs as a newcomer writes them."""

from __future__ import annotations

import pytest
import tensorflow as tf

import fastw2v


@pytest.fixture
def variables():
    """Embeddings, weights and biases of a small skip-gram model."""
    return (
        tf.Variable(tf.random.stateless_uniform([200, 32], [1, 2], -0.5, 0.5)),
        tf.Variable(tf.random.stateless_uniform([200, 32], [3, 4], -0.5, 0.5)),
        tf.Variable(tf.zeros([200])),
    )


def test_scalar_ids_in_a_gradient_tape(variables):
    """tf.matmul refuses the gathered row, which has rank 1."""
    embeddings, weights, biases = variables
    center, context = 50, 100
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.matmul(tf.nn.embedding_lookup(embeddings, center), weights, transpose_b=True)

    with tf.GradientTape() as tape:
        loss = fastw2v.softmax_loss(embeddings, weights, biases, center, context)
    gradients = tape.gradient(loss, variables)
    assert loss.shape == ()
    assert all(gradient is not None for gradient in gradients)
    assert gradients[0].indices.numpy().tolist() == [center]
    for gradient, variable in zip(gradients, variables, strict=True):
        dense = tf.convert_to_tensor(gradient)
        assert dense.shape == variable.shape
        assert tf.reduce_any(dense != 0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_batch_and_a_step_that_lowers_the_loss(variables, optimizer):
    embeddings, weights, biases = variables
    optimizer = tf.keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.1}})
    centers = tf.constant([50, 51, 52, 50])
    contexts = tf.constant([100, 101, 102, 7])
    losses = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                fastw2v.softmax_loss(embeddings, weights, biases, centers, contexts)
            )
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        losses.append(float(loss))
    assert losses[0] > losses[1] > losses[2]


def test_an_activation_without_gradient(variables):
    embeddings, weights, biases = variables
    with tf.GradientTape() as tape:
        hidden = tf.stop_gradient(tf.nn.embedding_lookup(embeddings, [50, 51]))
        loss = fastw2v.linear_cross_entropy([100, 101], hidden, weights, biases)
    to_embeddings, to_weights, to_biases = tape.gradient(loss, variables)
    assert to_embeddings is None
    assert tf.reduce_any(to_weights != 0)
    assert tf.reduce_any(to_biases != 0)
