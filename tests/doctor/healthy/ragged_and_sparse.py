"""Ragged ids, a sparse matrix and a gradient with respect to a ragged tensor."""

import tensorflow as tf

embedding = tf.Variable(tf.random.normal([10, 4]))
ids = tf.ragged.constant([[1, 2], [3], [4, 5, 6]])
matrix = tf.sparse.from_dense([[1.0, 0.0, 2.0]])

with tf.GradientTape() as tape:
    means = tf.reduce_mean(tf.gather(embedding, ids), axis=1)
    loss = tf.reduce_sum(tf.sparse.sparse_dense_matmul(matrix, means) ** 2)
print(tape.gradient(loss, embedding))

values = tf.ragged.constant([[1.0, 2.0], [3.0]])
with tf.GradientTape() as tape:
    tape.watch(values)
    loss = tf.reduce_sum(values * values)
print(tape.gradient(loss, values))
