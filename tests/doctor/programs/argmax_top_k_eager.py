"""The indices of tf.math.top_k in place of its values."""

import tensorflow as tf

scores = tf.Variable([0.1, 0.7, 0.2])

with tf.GradientTape() as tape:
    values, indices = tf.math.top_k(scores, k=2)  # <- argmax
    loss = tf.reduce_sum(tf.cast(indices, tf.float32))
print(tape.gradient(loss, scores))
