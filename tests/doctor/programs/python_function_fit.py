"""A score of the kind that scikit-learn has, wrapped by tf.numpy_function, as a loss."""

import numpy as np
import tensorflow as tf


def score(targets, predictions):
    return np.float32(np.mean((targets > 0.5) == (predictions > 0.5)))


def loss(targets, predictions):
    accuracy = tf.numpy_function(score, [targets, predictions], tf.float32)  # <- python_function
    return 1.0 - tf.ensure_shape(accuracy, [])


model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False)])
model.compile("adam", loss)
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
