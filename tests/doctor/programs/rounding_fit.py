"""A model whose output layer rounds."""

import tensorflow as tf

inputs = tf.keras.Input([3])
hidden = tf.keras.layers.Dense(4, activation="relu")(inputs)
outputs = tf.keras.layers.Dense(1, activation=tf.round)(hidden)
model = tf.keras.Model(inputs, outputs)
model.compile("adam", "mse")
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)  # <- rounding
