"""tf.map_fn, tf.scan, tf.foldl and tf.vectorized_map."""

import tensorflow as tf

weights = tf.Variable([0.5, 1.5])
inputs = tf.random.normal([4, 2])

with tf.GradientTape() as tape:
    mapped = tf.map_fn(lambda row: row * weights, inputs)
    scanned = tf.scan(lambda state, row: state * weights + row, inputs)
    folded = tf.foldl(lambda state, row: state * weights + row, inputs)
    vectorized = tf.vectorized_map(lambda row: row * weights, inputs)
    loss = sum(tf.reduce_sum(value) for value in (mapped, scanned, folded, vectorized))
print(tape.gradient(loss, weights))
