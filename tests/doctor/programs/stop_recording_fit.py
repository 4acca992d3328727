"""A train_step that runs the encoder while the tape does not record."""

import tensorflow as tf


class Classifier(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = tf.keras.layers.Dense(4)
        self.head = tf.keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.encoder(inputs))

    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape() as tape:
            with tape.stop_recording():
                features = self.encoder(inputs)  # <- stop_recording
            loss = tf.reduce_mean(tf.square(self.head(features) - targets))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}


model = Classifier()
model.compile(tf.keras.optimizers.SGD(0.1))
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
