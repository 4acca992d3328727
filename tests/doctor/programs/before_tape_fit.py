"""A train_step that calls the model before the tape is opened."""

import tensorflow as tf


class Regression(tf.keras.Sequential):
    def train_step(self, data):
        inputs, targets = data
        predictions = self(inputs, training=True)  # <- before_tape
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=targets, y_pred=predictions)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}


model = Regression([tf.keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
