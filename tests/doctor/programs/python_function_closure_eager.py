"""A model that is called inside of tf.numpy_function, which is given nothing."""

import numpy as np
import tensorflow as tf

actor = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1, use_bias=False)])
states = np.ones([8, 3], "float32")


def act():
    return np.tanh(actor(states))


with tf.GradientTape() as tape:
    actions = tf.numpy_function(act, [], tf.float32)  # <- python_function
    loss = tf.reduce_mean(actions**2)
print(tape.gradient(loss, actor.trainable_variables))
