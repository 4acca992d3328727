"""The number of outputs as a loss."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 4]))

with tf.GradientTape() as tape:
    outputs = tf.ones([8, 3]) @ weights
    loss = tf.cast(tf.size(outputs), tf.float32)  # <- shape
print(tape.gradient(loss, weights))
