"""A discrete code is drawn in the middle of an autoencoder."""

import tensorflow as tf


class Draw(tf.keras.layers.Layer):
    def call(self, logits):
        code = tf.random.stateless_categorical(logits, 1, [1, 2])  # <- random_draw
        return tf.cast(code, tf.float32)


model = tf.keras.Sequential(
    [tf.keras.layers.Dense(4, use_bias=False), Draw(), tf.keras.layers.Dense(3)]
)
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 3]), verbose=0)
