"""A custom gradient that forgets its second argument."""

import tensorflow as tf


@tf.custom_gradient
def scaled(x, scale):
    def gradient(upstream):
        return upstream * scale, None

    return x * scale, gradient


x, scale = tf.Variable(2.0), tf.Variable(3.0)

with tf.GradientTape() as tape:
    loss = scaled(x, scale) ** 2  # <- custom_gradient
print(tape.gradient(loss, [x, scale]))
