"""tape.watch comes after the tensor was used."""

import tensorflow as tf

x = tf.constant(3.0)

with tf.GradientTape() as tape:
    y = x * x  # <- watched_too_late
    tape.watch(x)
print(tape.gradient(y, x))
