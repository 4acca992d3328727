"""Rounding in both branches of a condition on a tensor."""

import tensorflow as tf

weights = tf.Variable([0.37, 1.42])


@tf.function
def gradient(up):
    with tf.GradientTape() as tape:
        if up:
            rounded = tf.math.ceil(weights)  # <- rounding
        else:
            rounded = tf.math.floor(weights)  # <- rounding
        loss = tf.reduce_sum(rounded)
    return tape.gradient(loss, weights)


print(gradient(tf.constant(True)))
