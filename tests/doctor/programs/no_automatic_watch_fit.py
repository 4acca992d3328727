"""A train_step with a tape that watches nothing."""

import tensorflow as tf


class Regression(tf.keras.Sequential):
    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape(watch_accessed_variables=False) as tape:  # <- no_automatic_watch
            loss = tf.reduce_mean(tf.square(self(inputs) - targets))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}


model = Regression([tf.keras.layers.Dense(1)])
model.compile(tf.keras.optimizers.SGD(0.1))
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
