"""Gradient descent by hand, where a list of tensors takes the place of the list of variables."""

import tensorflow as tf

inputs, targets = tf.random.normal([8, 3]), tf.random.normal([8, 1])
parameters = [tf.Variable(tf.ones([3, 1])), tf.Variable(0.0)]
for _ in range(2):
    with tf.GradientTape() as tape:
        errors = inputs @ parameters[0] + parameters[1] - targets
        loss = tf.reduce_mean(errors**2)
    gradients = tape.gradient(loss, parameters)
    if None not in gradients:
        parameters = [p - 0.1 * g for p, g in zip(parameters, gradients)]  # <- overwritten_variable
print(gradients)
