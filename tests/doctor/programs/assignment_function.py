"""A hypernetwork whose output is assigned to another network's weights."""

import tensorflow as tf

hyper = tf.Variable(tf.random.normal([2, 3]))
weights = tf.Variable(tf.zeros([2, 3]), trainable=False)
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs):
    with tf.GradientTape() as tape:
        weights.assign(tf.tanh(hyper))  # <- assignment
        loss = tf.reduce_mean(tf.square(inputs @ weights))
    optimizer.apply_gradients([(tape.gradient(loss, hyper), hyper)])
    return loss


step(tf.random.normal([4, 2]))
