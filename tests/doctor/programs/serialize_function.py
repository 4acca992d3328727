"""Weights travel through their serialized form in a compiled step."""

import tensorflow as tf

weights = tf.Variable([1.0, 2.0])
bias = tf.Variable(0.5)
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step():
    with tf.GradientTape() as tape:
        message = tf.io.serialize_tensor(weights)  # <- serialize
        received = tf.ensure_shape(tf.io.parse_tensor(message, tf.float32), [2])
        loss = tf.reduce_sum(received + bias)
    variables = [weights, bias]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step())
