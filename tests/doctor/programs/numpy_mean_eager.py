"""np.mean is given a tensor."""

import numpy as np
import tensorflow as tf

model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1, use_bias=False)])
optimizer = tf.keras.optimizers.Adam()
inputs = tf.random.normal([8, 3])

with tf.GradientTape() as tape:
    loss = tf.convert_to_tensor(np.mean(model(inputs) ** 2))  # <- numpy
gradients = tape.gradient(loss, model.trainable_variables)
optimizer.apply_gradients(zip(gradients, model.trainable_variables))
