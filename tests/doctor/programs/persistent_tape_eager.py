"""Two gradients from one tape."""

import tensorflow as tf

first, second = tf.Variable(1.0), tf.Variable(2.0)

with tf.GradientTape() as tape:
    loss = first * second
print(tape.gradient(loss, first))
print(tape.gradient(loss, second))  # <- persistent_tape
