"""A normalised copy of the weights becomes a variable of its own."""

import tensorflow as tf

weights = tf.Variable([3.0, 4.0])

with tf.GradientTape() as tape:
    normalised = tf.Variable(weights / tf.norm(weights))  # <- new_variable
    loss = tf.reduce_sum(normalised * [1.0, 2.0])
print(tape.gradient(loss, weights))
