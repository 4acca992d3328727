"""Predicted ratings are rounded to whole stars."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, stars = tf.random.normal([8, 3]), tf.ones([8, 1])

with tf.GradientTape() as tape:
    ratings = tf.round(inputs @ weights)  # <- rounding
    loss = tf.reduce_mean((ratings - stars) ** 2)
print(tape.gradient(loss, weights))
