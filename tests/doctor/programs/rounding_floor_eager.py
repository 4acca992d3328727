"""A quantised weight: Python's // on a tensor."""

import tensorflow as tf

weights = tf.Variable([0.37, 1.42])

with tf.GradientTape() as tape:
    quantised = (weights // 0.1) * 0.1  # <- rounding
    loss = tf.reduce_sum(quantised**2)
print(tape.gradient(loss, weights))
