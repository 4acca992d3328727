"""A layer that turns class scores into a one-hot choice."""

import tensorflow as tf


class HardChoice(tf.keras.layers.Layer):
    def call(self, scores):
        return tf.one_hot(tf.argmax(scores, axis=-1), scores.shape[-1])  # <- argmax


model = tf.keras.Sequential(
    [tf.keras.layers.Dense(4, use_bias=False), HardChoice(), tf.keras.layers.Dense(1)]
)
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
