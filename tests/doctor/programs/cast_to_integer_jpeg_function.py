"""A picture is compressed as JPEG before the loss."""

import tensorflow as tf

picture = tf.Variable(tf.random.uniform([8, 8, 3]))


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        pixels = tf.cast(255.0 * picture, tf.uint8)  # <- cast_to_integer
        decoded = tf.io.decode_jpeg(tf.io.encode_jpeg(pixels))
        loss = tf.reduce_mean(tf.cast(decoded, tf.float32))
    return tape.gradient(loss, picture)


print(gradient())
