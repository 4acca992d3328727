"""Features that were meant to be trained are computed while the tape does not record."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 4]))
head = tf.Variable(tf.random.normal([4, 1]))
inputs = tf.random.normal([8, 3])

with tf.GradientTape() as tape:
    with tape.stop_recording():
        features = inputs @ weights  # <- stop_recording
    loss = tf.reduce_mean(tf.square(features @ head))
print(tape.gradient(loss, [weights, head]))
