"""A layer of colors that TensorFlow does not differentiate."""

import tensorflow as tf

model = tf.keras.Sequential(
    [
        tf.keras.Input([4, 4, 3]),
        tf.keras.layers.Conv2D(3, 1, activation="sigmoid"),
        tf.keras.layers.Lambda(lambda pixels: tf.image.hsv_to_rgb(pixels)),  # <- not_differentiable
    ]
)
model.compile("adam", "mse")
model.fit(tf.random.uniform([2, 4, 4, 3]), tf.random.uniform([2, 4, 4, 3]), verbose=0)
