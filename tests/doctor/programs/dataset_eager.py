"""Features are computed by a layer inside tf.data."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 1]))
data = tf.data.Dataset.from_tensor_slices(tf.random.normal([8, 3])).batch(4)

with tf.GradientTape() as tape:
    outputs = data.map(lambda batch: batch @ weights)  # <- dataset
    loss = tf.add_n([tf.reduce_sum(output**2) for output in outputs])
print(tape.gradient(loss, weights))
