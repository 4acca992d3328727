"""Bidirectional GRU with a mask and a time-distributed layer."""

import tensorflow as tf

model = tf.keras.Sequential(
    [
        tf.keras.layers.Masking(),
        tf.keras.layers.Bidirectional(tf.keras.layers.GRU(3, return_sequences=True)),
        tf.keras.layers.TimeDistributed(tf.keras.layers.Dense(1)),
    ]
)
model.compile("sgd", "mse")
model.fit(tf.random.normal([4, 5, 2]), tf.random.normal([4, 5, 1]), verbose=0)
