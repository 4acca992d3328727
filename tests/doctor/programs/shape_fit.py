"""A loss that counts the predictions instead of adding them up."""

import tensorflow as tf


def loss(targets, predictions):
    return tf.cast(tf.size(predictions), tf.float32)  # <- shape


model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False)])
model.compile("adam", loss)
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
