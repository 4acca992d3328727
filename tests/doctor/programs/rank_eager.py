"""One word is looked up, and the matrix product wants a batch of them."""

import tensorflow as tf

embeddings = tf.Variable(tf.random.stateless_normal([100, 8], seed=(1, 2)))
weights = tf.Variable(tf.random.stateless_normal([8, 100], seed=(3, 4)))

with tf.GradientTape() as tape:
    logits = tf.matmul(tf.gather(embeddings, 50), weights)  # <- rank
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(7, logits)
print(tape.gradient(loss, [embeddings, weights]))
