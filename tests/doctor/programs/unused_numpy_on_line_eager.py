"""A part of the model is left out of the loss, on a line where NumPy makes the data."""

import numpy as np
import tensorflow as tf

used = tf.Variable(tf.ones([3, 1]))
left_out = tf.Variable(tf.ones([3, 1]))  # <- unused

with tf.GradientTape() as tape:
    first = tf.constant(np.ones([8, 3], "float32")) @ used
    second = tf.constant(np.ones([len("abcdefgh"), 3 * 1], "float32")) @ left_out
    loss = 2.0 * tf.reduce_mean(first**2)
print(tape.gradient(loss, [used, left_out]))
print(np.zeros(second.shape).sum(), np.mean(second))
