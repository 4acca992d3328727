"""The loss is computed after the tape was closed."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, targets = tf.random.normal([8, 3]), tf.random.normal([8, 1])

with tf.GradientTape() as tape:
    predictions = inputs @ weights
loss = tf.reduce_mean((predictions - targets) ** 2)  # <- after_tape
print(tape.gradient(loss, weights))
