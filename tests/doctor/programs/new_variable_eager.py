"""A normalized copy of the weights becomes a variable of its own."""

import tensorflow as tf

weights = tf.Variable([3.0, 4.0])

with tf.GradientTape() as tape:
    normalized = tf.Variable(weights / tf.norm(weights))  # <- new_variable
    loss = tf.reduce_sum(normalized * [1.0, 2.0])
print(tape.gradient(loss, weights))
