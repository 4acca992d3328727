"""A program that says itself that a missing gradient shall be zero."""

import tensorflow as tf

used, unused = tf.Variable(1.0), tf.Variable(2.0)

with tf.GradientTape() as tape:
    loss = used**2
print(tape.gradient(loss, [used, unused], unconnected_gradients="zero"))
