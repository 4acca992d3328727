"""A train_step that asks one tape for two gradients."""

import tensorflow as tf


class Regression(tf.keras.Sequential):
    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(inputs) - targets))
        kernel, bias = self.trainable_variables
        slope = tape.gradient(loss, kernel)
        offset = tape.gradient(loss, bias)  # <- persistent_tape
        self.optimizer.apply_gradients([(slope, kernel), (offset, bias)])
        return {"loss": loss}


model = Regression([tf.keras.layers.Dense(1)])
model.compile(tf.keras.optimizers.SGD(0.1))
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
