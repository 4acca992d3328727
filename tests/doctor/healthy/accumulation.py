"""Gradients of several batches are added up in variables before they are applied."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
total = tf.Variable(tf.zeros([3, 1]), trainable=False)
average = tf.Variable(weights, trainable=False)


@tf.function
def accumulate(inputs):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((inputs @ weights) ** 2)
    total.assign_add(tape.gradient(loss, weights))


for _ in range(4):
    accumulate(tf.random.normal([8, 3]))
weights.assign_sub(0.1 * total / 4.0)
average.assign(0.9 * average + 0.1 * weights)
total.assign(tf.zeros_like(total))
