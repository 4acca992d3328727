"""The slope as a loss, whose gradient is taken when the outer tape is closed."""

import tensorflow as tf


class Critic(tf.keras.Sequential):
    def train_step(self, inputs):
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                score = self(inputs)
        slope = inner.gradient(score, inputs)  # <- inner_gradient_outside
        gradients = tape.gradient(slope, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": tf.reduce_mean(slope)}


model = Critic([tf.keras.layers.Dense(1, use_bias=False)])
model.compile(tf.keras.optimizers.SGD(0.1))
model.fit(tf.random.normal([8, 3]), verbose=0)
