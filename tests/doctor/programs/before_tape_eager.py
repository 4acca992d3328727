"""The model is called before the tape is opened."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, targets = tf.random.normal([8, 3]), tf.random.normal([8, 1])

predictions = inputs @ weights  # <- before_tape
with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.square(predictions - targets))
print(tape.gradient(loss, weights))
