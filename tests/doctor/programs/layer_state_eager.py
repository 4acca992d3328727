"""Gradients of all variables of a model, the statistics of its BatchNormalization among them."""

import tensorflow as tf

model = tf.keras.Sequential(
    [
        tf.keras.Input([3]),
        tf.keras.layers.Dense(4),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Dropout(0.1),
        tf.keras.layers.Dense(1),
    ]
)
inputs, targets = tf.random.normal([8, 3]), tf.random.normal([8, 1])

with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.square(model(inputs, training=True) - targets))
gradients = tape.gradient(loss, model.variables)  # <- layer_state
print([variable.path for variable, g in zip(model.variables, gradients) if g is None])
