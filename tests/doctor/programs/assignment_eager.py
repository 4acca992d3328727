"""New weights are assigned to a variable and the loss is computed from it."""

import tensorflow as tf

scale = tf.Variable(2.0)
weights = tf.Variable([1.0, 2.0])

with tf.GradientTape() as tape:
    weights.assign(scale * [1.0, 2.0])  # <- assignment
    loss = tf.reduce_sum(weights**2)
print(tape.gradient(loss, scale))
