"""A Python number is made of the loss."""

import tensorflow as tf

weights = tf.Variable([1.0, 2.0])

with tf.GradientTape() as tape:
    loss = tf.reduce_sum(weights**2)
    total = tf.constant(0.0)
    total += float(loss)  # <- numpy
print(tape.gradient(total, weights))
