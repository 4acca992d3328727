"""tf.floor in a compiled step."""

import tensorflow as tf

weights = tf.Variable([0.37, 1.42])
bias = tf.Variable(0.5)
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.floor(weights * 10.0) + bias)  # <- rounding
    variables = [weights, bias]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step())
