"""The index of tf.unique goes on, its values do not."""

import tensorflow as tf

values = tf.Variable([1.0, 2.0, 1.0])

with tf.GradientTape() as tape:
    distinct, index = tf.unique(values)  # <- unique_index
    loss = tf.reduce_sum(tf.cast(index, tf.float32))
print(tape.gradient(loss, values))
