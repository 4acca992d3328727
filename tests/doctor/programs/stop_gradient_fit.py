"""An encoder whose output is held back, beside a head that learns."""

import tensorflow as tf


class Probe(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = tf.keras.layers.Dense(4, use_bias=False)
        self.head = tf.keras.layers.Dense(1)

    def call(self, inputs):
        features = tf.stop_gradient(self.encoder(inputs))  # <- stop_gradient
        return self.head(features)


model = Probe()
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
