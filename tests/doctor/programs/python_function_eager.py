"""A NumPy function wrapped by tf.numpy_function."""

import numpy as np
import tensorflow as tf

x = tf.Variable([0.1, 0.2])

with tf.GradientTape() as tape:
    y = tf.numpy_function(np.sin, [x], tf.float32)  # <- python_function
    loss = tf.reduce_sum(y)
print(tape.gradient(loss, x))
