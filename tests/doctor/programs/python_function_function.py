"""A NumPy function wrapped by tf.numpy_function, in a compiled step."""

import numpy as np
import tensorflow as tf

weights = tf.Variable([[0.1], [0.2]])
optimizer = tf.keras.optimizers.SGD(0.1)


def median(values):
    return np.median(values).astype(np.float32)


@tf.function
def step(inputs):
    with tf.GradientTape() as tape:
        errors = tf.abs(inputs @ weights)
        loss = tf.numpy_function(median, [errors], tf.float32)  # <- python_function
    optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
    return loss


step(tf.ones([3, 2]))
