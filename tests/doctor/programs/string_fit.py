"""A model that formats its output."""

import tensorflow as tf


class Formatted(tf.keras.layers.Layer):
    def call(self, inputs):
        text = tf.strings.as_string(inputs, precision=2)  # <- string
        return tf.strings.to_number(text)


model = tf.keras.Sequential([tf.keras.layers.Dense(1), Formatted()])
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
