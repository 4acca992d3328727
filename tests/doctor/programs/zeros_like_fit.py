"""A loss that was left empty."""

import tensorflow as tf


def loss(targets, predictions):
    return tf.zeros_like(predictions)  # <- zeros_like


model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False)])
model.compile("adam", loss)
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
