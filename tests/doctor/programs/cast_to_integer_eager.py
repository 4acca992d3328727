"""Predictions are cast to integers before the loss."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, targets = tf.random.normal([8, 3]), tf.zeros([8, 1])

with tf.GradientTape() as tape:
    counts = tf.cast(inputs @ weights, tf.int32)  # <- cast_to_integer
    loss = tf.reduce_mean((tf.cast(counts, tf.float32) - targets) ** 2)
print(tape.gradient(loss, weights))
