"""A point given in whole numbers, moved by a compiled step."""

import tensorflow as tf

point = tf.Variable([3, 4])  # <- integer_variable


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(tf.cast(point, tf.float32)))
    return tape.gradient(loss, point)


print(gradient())
