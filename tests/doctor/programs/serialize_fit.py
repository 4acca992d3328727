"""A layer that writes its input into bytes."""

import tensorflow as tf


class Message(tf.keras.layers.Layer):
    def call(self, inputs):
        message = tf.io.serialize_tensor(inputs)  # <- serialize
        outputs = tf.io.parse_tensor(message, tf.float32)
        return tf.ensure_shape(outputs, inputs.shape)


model = tf.keras.Sequential([tf.keras.layers.Dense(1), Message()])
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
