"""A model that computes in float16 and scales its loss."""

import tensorflow as tf

policy = tf.keras.mixed_precision.Policy("mixed_float16")
model = tf.keras.Sequential(
    [
        tf.keras.layers.Dense(8, activation="relu", dtype=policy),
        tf.keras.layers.Dense(1, dtype="float32"),
    ]
)
model.compile(tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(0.1)), "mse")
model.fit(tf.random.normal([16, 4]), tf.random.normal([16, 1]), batch_size=8, verbose=0)
