"""The error rate as a loss."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, labels = tf.random.normal([8, 3]), tf.ones([8, 1])

with tf.GradientTape() as tape:
    predictions = tf.sigmoid(inputs @ weights)
    wrong = tf.cast(predictions > 0.5, tf.float32) - labels  # <- comparison
    loss = tf.reduce_mean(wrong**2)
print(tape.gradient(loss, weights))
