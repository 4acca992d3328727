"""A custom gradient that forgets its second argument, in a compiled step."""

import tensorflow as tf


@tf.custom_gradient
def clipped(x, limit):
    def gradient(upstream):
        return upstream, None

    return tf.minimum(x, limit), gradient


weights, limit = tf.Variable([1.0, 2.0]), tf.Variable(1.5)
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(clipped(weights * 2.0, limit))  # <- custom_gradient
    variables = [weights, limit]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step())
