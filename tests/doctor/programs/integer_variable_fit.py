"""A layer whose scale is an integer weight."""

import tensorflow as tf


class Scale(tf.keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(  # <- integer_variable
            shape=(shape[-1],), dtype="int32", initializer="ones"
        )

    def call(self, inputs):
        return inputs * tf.cast(self.scale, inputs.dtype)


model = tf.keras.Sequential([tf.keras.layers.Dense(4), Scale(), tf.keras.layers.Dense(1)])
model.compile(tf.keras.optimizers.SGD(0.01), "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
