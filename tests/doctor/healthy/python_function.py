"""tf.py_function computes with TensorFlow, and so it has a gradient."""

import tensorflow as tf

weights = tf.Variable([0.5, 1.5])


def logarithm(values):
    return tf.math.log(values)


with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.py_function(logarithm, [weights], tf.float32))
print(tape.gradient(loss, weights))
