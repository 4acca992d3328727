"""Rounding with a gradient of its own, in two ways."""

import tensorflow as tf


@tf.custom_gradient
def rounded(values):
    return tf.round(values), lambda upstream: upstream


weights = tf.Variable([0.4, 1.7])
with tf.GradientTape(persistent=True) as tape:
    first = tf.reduce_sum(rounded(weights) ** 2)
    second = tf.reduce_sum((weights + tf.stop_gradient(tf.round(weights) - weights)) ** 2)
print(tape.gradient(first, weights), tape.gradient(second, weights))
