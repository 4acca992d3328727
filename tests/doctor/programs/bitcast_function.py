"""The sign bit of a float is read from its bits."""

import tensorflow as tf

weights = tf.Variable([[1.0, -2.0], [3.0, -4.0]])


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        bits = tf.bitcast(weights, tf.int32)  # <- bitcast
        negative = tf.cast(tf.bitwise.right_shift(bits, 31), tf.float32)
        loss = tf.reduce_sum(negative)
    return tape.gradient(loss, weights)


print(gradient())
