"""Rows are kept in a table and looked up again."""

import tensorflow as tf

weights = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
memory = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, [0.0, 0.0])
ids = tf.constant([7, 9], tf.int64)

with tf.GradientTape() as tape:
    memory.insert(ids, weights * 2.0)  # <- hash_table
    loss = tf.reduce_sum(memory.lookup(ids) ** 2)
print(tape.gradient(loss, weights))
