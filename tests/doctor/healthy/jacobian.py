"""Jacobians of a batch and of a variable."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 2]))
inputs = tf.random.normal([4, 3])

with tf.GradientTape(persistent=True) as tape:
    tape.watch(inputs)
    outputs = tf.tanh(inputs @ weights)
print(tape.jacobian(outputs, weights).shape, tape.batch_jacobian(outputs, inputs).shape)
