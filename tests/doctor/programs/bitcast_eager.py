"""The bits of a float are read as integers and back."""

import tensorflow as tf

x = tf.Variable([1.0, 2.0])

with tf.GradientTape() as tape:
    bits = tf.bitcast(x, tf.uint32)  # <- bitcast
    y = tf.bitcast(bits & 0xFFFF0000, tf.float32)
    loss = tf.reduce_sum(y**2)
print(tape.gradient(loss, x))
