"""Duplicates are removed from a list of values, in a compiled step."""

import tensorflow as tf

values = tf.Variable([1.0, 2.0, 1.0])


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        distinct, _ = tf.unique(values)  # <- no_gradient_registered
        loss = tf.reduce_sum(distinct**2)
    return tape.gradient(loss, values)


print(gradient())
