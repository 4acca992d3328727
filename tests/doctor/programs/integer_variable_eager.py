"""A point given in whole numbers."""

import tensorflow as tf

point = tf.Variable([3, 4])  # <- integer_variable

with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.square(tf.cast(point, tf.float32)))
print(tape.gradient(loss, point))
