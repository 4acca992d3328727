"""Ids of a large vocabulary pass through float32."""

import tensorflow as tf

embeddings = tf.Variable(tf.zeros([17_000_000, 1]))
features = tf.cast(tf.constant([5, 16_777_217]), tf.float32)

with tf.GradientTape() as tape:
    ids = tf.cast(features, tf.int32)
    rows = tf.gather(embeddings, ids)  # <- ids_cast_to_float
    loss = tf.reduce_sum((rows - 1.0) ** 2)
print(tape.gradient(loss, embeddings).indices)
