"""A convolutional autoencoder with a functional model."""

import tensorflow as tf

inputs = tf.keras.Input([8, 8, 1])
code = tf.keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
code = tf.keras.layers.MaxPooling2D()(code)
outputs = tf.keras.layers.UpSampling2D(2)(code)
outputs = tf.keras.layers.Conv2DTranspose(1, 3, strides=2, padding="same")(outputs)
model = tf.keras.Model(inputs, outputs)
model.compile("rmsprop", "mae")
pictures = tf.random.uniform([4, 8, 8, 1])
model.fit(pictures, pictures, verbose=0)
