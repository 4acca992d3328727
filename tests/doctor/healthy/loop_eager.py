"""A custom loop that prints its loss as a Python number and computes accuracy by argmax."""

import numpy as np
import tensorflow as tf

weights, bias = tf.Variable(tf.random.normal([6, 3])), tf.Variable(tf.zeros([3]))
inputs, labels = tf.random.normal([16, 6]), tf.random.uniform([16], 0, 3, tf.int32)
optimizer = tf.keras.optimizers.SGD(0.1)

for _ in range(3):
    with tf.GradientTape() as tape:
        logits = inputs @ weights + bias
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        accuracy = np.mean(hits.numpy())
    variables = [weights, bias]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    print(float(loss), accuracy)
