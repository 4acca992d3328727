"""Two ways through the same weights, both stopped."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))


@tf.function
def gradient(inputs):
    with tf.GradientTape() as tape:
        first = tf.stop_gradient(inputs @ weights)  # <- stop_gradient
        second = tf.reduce_sum(tf.stop_gradient(weights))  # <- stop_gradient
        loss = tf.reduce_mean(first) + second
    return tape.gradient(loss, weights)


print(gradient(tf.random.normal([8, 3])))
