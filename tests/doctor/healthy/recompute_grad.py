"""Activations are computed again in the backward pass."""

import tensorflow as tf

weights = [tf.Variable(tf.random.normal([4, 4])) for _ in range(2)]


@tf.recompute_grad
def block(inputs):
    return tf.tanh(tf.tanh(inputs @ weights[0]) @ weights[1])


with tf.GradientTape() as tape:
    loss = tf.reduce_mean(block(tf.random.normal([2, 4])) ** 2)
print(tape.gradient(loss, weights))


@tf.function
def gradients(inputs):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(block(inputs) ** 2)
    return tape.gradient(loss, weights)


print(gradients(tf.random.normal([2, 4])))
