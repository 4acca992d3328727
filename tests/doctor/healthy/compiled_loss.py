"""A compiled function inside an eager tape, called with variables and with tensors."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 2]))


@tf.function
def loss_of(values, inputs):
    return tf.reduce_mean(tf.nn.relu(inputs @ values) ** 2)


with tf.GradientTape() as tape:
    loss = loss_of(weights, tf.ones([4, 3])) + loss_of(2.0 * weights, tf.ones([4, 3]))
print(tape.gradient(loss, weights))
