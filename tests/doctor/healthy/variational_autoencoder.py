"""Noise that depends on no variable, with a loss added by a layer."""

import tensorflow as tf


class Sample(tf.keras.layers.Layer):
    def call(self, moments):
        mean, logarithm = tf.split(moments, 2, axis=-1)
        divergence = tf.exp(logarithm) + mean**2 - 1.0 - logarithm
        self.add_loss(0.5 * tf.reduce_mean(divergence))
        return mean + tf.exp(0.5 * logarithm) * tf.random.normal(tf.shape(mean))


model = tf.keras.Sequential([tf.keras.layers.Dense(4), Sample(), tf.keras.layers.Dense(6)])
model.compile("adam", "mse")
inputs = tf.random.normal([8, 6])
model.fit(inputs, inputs, verbose=0)
