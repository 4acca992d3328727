"""tf.stop_gradient around the whole prediction."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, targets = tf.random.normal([8, 3]), tf.random.normal([8, 1])

with tf.GradientTape() as tape:
    predictions = tf.stop_gradient(inputs @ weights)  # <- stop_gradient
    loss = tf.reduce_mean((predictions - targets) ** 2)
print(tape.gradient(loss, weights))
