"""A classifier with dropout, batch normalization and metrics, trained by fit."""

import tensorflow as tf

model = tf.keras.Sequential(
    [
        tf.keras.Input([6]),
        tf.keras.layers.Dense(8, activation="relu"),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Dropout(0.5),
        tf.keras.layers.Dense(3),
    ]
)
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
labels = tf.random.uniform([16], 0, 3, tf.int32)
model.fit(tf.random.normal([16, 6]), labels, batch_size=8, verbose=0)
