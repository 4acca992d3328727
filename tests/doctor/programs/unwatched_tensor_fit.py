"""A gradient penalty in train_step, for inputs that the inner tape does not watch."""

import tensorflow as tf


class Critic(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = tf.keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)

    def train_step(self, inputs):
        with tf.GradientTape() as tape:
            with tf.GradientTape() as penalty_tape:
                score = tf.reduce_sum(self.dense(inputs))  # <- unwatched_tensor
            slope = penalty_tape.gradient(score, inputs)
            loss = tf.reduce_mean(score)
            if slope is not None:
                loss += tf.reduce_mean(tf.square(tf.norm(slope, axis=1) - 1.0))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}


model = Critic()
model.compile(tf.keras.optimizers.SGD(0.1))
model.fit(tf.random.normal([8, 3]), verbose=0)
