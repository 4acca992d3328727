"""NumPy arrays in, NumPy arrays out, the gradient in between."""

import numpy as np
import tensorflow as tf

weights = tf.Variable(np.random.default_rng(0).normal(size=[3, 1]).astype(np.float32))
inputs = np.ones([8, 3], np.float32)
scale = float(tf.norm(weights))

with tf.GradientTape() as tape:
    loss = tf.reduce_mean((inputs @ weights) ** 2) / scale
gradient = tape.gradient(loss, weights).numpy()
weights.assign_sub(0.1 * gradient)
print(np.linalg.norm(weights.numpy()))
