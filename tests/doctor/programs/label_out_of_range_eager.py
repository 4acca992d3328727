"""Labels count from 1, one_hot from 0."""

import tensorflow as tf

weights = tf.Variable(tf.random.stateless_normal([3, 10], seed=(1, 2)))
inputs = tf.random.stateless_normal([2, 3], seed=(3, 4))
labels = tf.constant([1, 10])

with tf.GradientTape() as tape:
    targets = tf.one_hot(labels, 10)  # <- label_out_of_range
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, inputs @ weights))
print(tape.gradient(loss, weights).shape)
