"""A layer that cuts the low bits of its input."""

import tensorflow as tf


class Truncated(tf.keras.layers.Layer):
    def call(self, inputs):
        bits = tf.bitcast(inputs, tf.int32)  # <- bitcast
        return tf.bitcast(tf.bitwise.bitwise_and(bits, -65536), tf.float32)


model = tf.keras.Sequential(
    [tf.keras.layers.Dense(4, use_bias=False), Truncated(), tf.keras.layers.Dense(1)]
)
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
