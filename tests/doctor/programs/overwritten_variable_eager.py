"""Gradient descent by hand, where a tensor takes the place of the variable."""

import tensorflow as tf

w = tf.Variable([1.0, 2.0])
for _ in range(2):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(w * w)
    gradient = tape.gradient(loss, w)
    if gradient is not None:
        w = w - 0.1 * gradient  # <- overwritten_variable
print(gradient)
