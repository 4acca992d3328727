"""A learned threshold that is only compared with."""

import tensorflow as tf

threshold = tf.Variable(0.5)
weights = tf.Variable(tf.random.normal([3, 1]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs):
    with tf.GradientTape() as tape:
        outputs = inputs @ weights
        loss = tf.reduce_sum(tf.where(outputs > threshold, outputs**2, 0.0))  # <- comparison
    variables = [threshold, weights]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.random.normal([8, 3])))
