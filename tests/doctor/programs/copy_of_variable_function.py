"""The gradient is asked for a tensor read from the variable, in a compiled step."""

import tensorflow as tf

weights = tf.Variable([1.0, 2.0])


@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(weights**2)
    gradient = tape.gradient(loss, weights.read_value())  # <- copy_of_variable
    if gradient is not None:
        weights.assign_sub(0.1 * gradient)
    return loss


print(step())
