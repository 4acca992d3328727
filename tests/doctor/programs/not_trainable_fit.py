"""A train_step that asks for the gradients of all weights, one of which is not trainable."""

import tensorflow as tf


class Regression(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = tf.keras.layers.Dense(1)
        self.offset = self.add_weight(shape=(), trainable=False)  # <- not_trainable

    def call(self, inputs):
        return self.dense(inputs) + self.offset

    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(inputs) - targets))
        variables = self.dense.weights + [self.offset]
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return {"loss": loss}


model = Regression()
model.compile(tf.keras.optimizers.SGD(0.1))
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
