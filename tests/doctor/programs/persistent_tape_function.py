"""Two gradients from one tape, in a compiled step."""

import tensorflow as tf

weights = tf.Variable([1.0, 2.0])


@tf.function
def gradients():
    with tf.GradientTape() as tape:
        first = tf.reduce_sum(weights**2)
        second = tf.reduce_sum(weights**3)
    return tape.gradient(first, weights), tape.gradient(second, weights)  # <- persistent_tape


print(gradients())
