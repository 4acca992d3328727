"""The largest id is as large as the number of rows."""

import tensorflow as tf

embeddings = tf.Variable(tf.random.stateless_normal([100, 8], seed=(1, 2)))
ids = tf.constant([7, 100])

with tf.GradientTape() as tape:
    rows = tf.gather(embeddings, ids)  # <- ids_out_of_range
    loss = tf.reduce_sum(rows**2)
print(tape.gradient(loss, embeddings))
