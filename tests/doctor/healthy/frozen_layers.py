"""Transfer learning: the base is frozen on purpose, first in fit, then in a loop."""

import tensorflow as tf

base = tf.keras.Sequential([tf.keras.layers.Dense(8, activation="relu")])
base.trainable = False
model = tf.keras.Sequential([tf.keras.Input([4]), base, tf.keras.layers.Dense(1)])
model.compile("adam", "mse")
inputs, targets = tf.random.normal([8, 4]), tf.random.normal([8, 1])
model.fit(inputs, targets, verbose=0)

with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.square(model(inputs) - targets))
print(tape.gradient(loss, model.trainable_variables))
