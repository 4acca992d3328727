"""A layer that puts its input into bins."""

import tensorflow as tf


class Bins(tf.keras.layers.Layer):
    def build(self, shape):
        self.heights = self.add_weight(shape=(4,))

    def call(self, inputs):
        bins = tf.searchsorted([-1.0, 0.0, 1.0], tf.reshape(inputs, [-1]))  # <- searchsorted
        return tf.reshape(tf.gather(self.heights, bins), [-1, 1])


model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False), Bins()])
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
