"""The loss is computed by NumPy."""

import numpy as np
import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
inputs, targets = np.ones([8, 3], "float32"), np.ones([8, 1], "float32")

with tf.GradientTape() as tape:
    predictions = tf.matmul(inputs, weights)
    errors = predictions.numpy() - targets  # <- numpy
    loss = tf.reduce_mean(tf.constant(errors) ** 2)
print(tape.gradient(loss, weights))
