"""The colors of a picture, set by an op that TensorFlow does not differentiate."""

import tensorflow as tf

hsv = tf.Variable(tf.random.uniform([4, 4, 3]))

with tf.GradientTape() as tape:
    rgb = tf.image.hsv_to_rgb(hsv)  # <- not_differentiable
    loss = tf.reduce_mean(rgb**2)
print(tape.gradient(loss, hsv))
