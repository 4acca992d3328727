"""Retrieval with two towers and the other rows of the batch as negatives."""

import tensorflow as tf


def tower(size):
    return tf.keras.Sequential([tf.keras.layers.Embedding(size, 8), tf.keras.layers.Dense(4)])


users, items = tower(20), tower(30)
optimizer = tf.keras.optimizers.Adagrad(0.1)


@tf.function
def step(user_ids, item_ids):
    with tf.GradientTape() as tape:
        scores = tf.matmul(users(user_ids), items(item_ids), transpose_b=True)
        collisions = tf.equal(item_ids[:, None], item_ids[None, :])
        others = tf.logical_and(collisions, ~tf.eye(tf.shape(item_ids)[0], dtype=tf.bool))
        scores = tf.where(others, -1e9, scores)
        labels = tf.range(tf.shape(scores)[0])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        loss = tf.reduce_mean(losses)
    variables = users.trainable_variables + items.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.constant([1, 5, 7]), tf.constant([2, 2, 29])))
