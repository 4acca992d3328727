"""Groups are made of equal values."""

import tensorflow as tf

keys = tf.Variable([1.0, 2.0, 1.0])
weights = tf.Variable([0.5, 1.5, 2.5])
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step():
    with tf.GradientTape() as tape:
        _, groups = tf.unique(keys)  # <- unique_index
        sums = tf.math.unsorted_segment_sum(weights, groups, 3)
        loss = tf.reduce_sum(sums**2)
    variables = [keys, weights]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step())
