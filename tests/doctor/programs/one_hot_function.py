"""Smoothed labels whose two values shall be learned, in a compiled step."""

import tensorflow as tf

smoothing = tf.Variable(0.1)
weights = tf.Variable(tf.random.normal([3, 4]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs, ids):
    with tf.GradientTape() as tape:
        labels = tf.one_hot(ids, 4, 1.0 - smoothing, smoothing / 3.0)  # <- one_hot
        losses = tf.nn.softmax_cross_entropy_with_logits(labels, inputs @ weights)
        loss = tf.reduce_mean(losses)
    variables = [smoothing, weights]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.random.normal([5, 3]), tf.constant([0, 1, 2, 3, 0])))
