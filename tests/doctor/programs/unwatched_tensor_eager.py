"""The slope of a function at a constant."""

import tensorflow as tf

x = tf.constant(3.0)

with tf.GradientTape() as tape:
    y = x * x  # <- unwatched_tensor
print(tape.gradient(y, x))
