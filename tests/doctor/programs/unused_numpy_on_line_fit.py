"""A model with an output that has no loss, trained on data that NumPy makes in the call of fit."""

import numpy as np
import tensorflow as tf

inputs = tf.keras.Input([5])
trained = tf.keras.layers.Dense(1, use_bias=False)(inputs)
left_out = tf.keras.layers.Dense(1, use_bias=False)(inputs)  # <- unused
model = tf.keras.Model(inputs, [trained, left_out])
model.compile("adam", ["mse", None], run_eagerly=True)
history = model.fit(np.random.rand(8 * 2, 5), [np.ones([16, 1]), np.ones([16, 1])], verbose=0)
print(np.isfinite(history.history["loss"]).all())
