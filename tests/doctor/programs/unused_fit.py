"""A bias is created and forgotten."""

import tensorflow as tf


class Linear(tf.keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 1))
        self.bias = self.add_weight(shape=(1,))  # <- unused

    def call(self, inputs):
        return inputs @ self.kernel


model = tf.keras.Sequential([Linear()])
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
