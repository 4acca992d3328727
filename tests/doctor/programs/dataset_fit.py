"""An encoder is applied inside tf.data, its model trained by fit."""

import tensorflow as tf


class Classifier(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = tf.keras.layers.Dense(4, use_bias=False)
        self.encoder.build([None, 3])
        self.head = tf.keras.layers.Dense(1)

    def call(self, features):
        return self.head(features)


model = Classifier()
model.compile("adam", "mse")
data = tf.data.Dataset.from_tensors((tf.random.normal([8, 3]), tf.random.normal([8, 1])))
data = data.map(lambda inputs, targets: (model.encoder(inputs), targets))  # <- dataset
model.fit(data, verbose=0)
