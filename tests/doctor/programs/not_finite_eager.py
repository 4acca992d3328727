"""The norm of a vector of zeros: the square root has an infinite slope at 0."""

import tensorflow as tf

weights = tf.Variable(tf.zeros([4]))
target = tf.ones([4])

with tf.GradientTape() as tape:
    norm = tf.sqrt(tf.reduce_sum(weights**2))  # <- not_finite
    loss = tf.reduce_mean((weights - target) ** 2) + 0.01 * norm
print(tape.gradient(loss, weights))
