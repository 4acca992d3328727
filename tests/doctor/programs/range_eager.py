"""The step of tf.range shall be learned."""

import tensorflow as tf

step = tf.Variable(0.5)

with tf.GradientTape() as tape:
    grid = tf.range(0.0, 2.0, step)  # <- range
    loss = tf.reduce_sum(grid**2)
print(tape.gradient(loss, step))
