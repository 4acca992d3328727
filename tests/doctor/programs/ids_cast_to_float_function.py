"""Ids of a large vocabulary pass through float32 in a compiled step."""

import tensorflow as tf

embeddings = tf.Variable(tf.zeros([17_000_000, 1]))


@tf.function
def loss_fn(features):
    rows = tf.gather(embeddings, tf.cast(features, tf.int32))  # <- ids_cast_to_float
    return tf.reduce_sum((rows - 1.0) ** 2)


with tf.GradientTape() as tape:
    loss = loss_fn(tf.cast(tf.constant([5, 16_777_217]), tf.float32))
print(tape.gradient(loss, embeddings).indices)
