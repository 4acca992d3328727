"""Branches on tensors: if, tf.cond with one differentiable branch, tf.switch_case, tf.case."""

import tensorflow as tf

weights = tf.Variable([0.5, -1.5])


@tf.function
def gradient(choice):
    with tf.GradientTape() as tape:
        if choice > 0:
            values = tf.sin(weights)
        else:
            values = tf.cos(weights)
        values += tf.cond(choice > 1, lambda: weights * 2.0, lambda: tf.zeros([2]))
        values *= tf.switch_case(choice, [lambda: weights, lambda: weights**2])
        loss = tf.reduce_sum(values)
    return tape.gradient(loss, weights)


print(gradient(tf.constant(1)))
