"""One of two heads is never used."""

import tensorflow as tf

inputs = tf.random.normal([8, 3])
first = tf.Variable(tf.random.normal([3, 1]))
second = tf.Variable(tf.random.normal([3, 1]))  # <- unused

with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.square(inputs @ first))
print(tape.gradient(loss, [first, second]))
