"""Smoothed labels whose two values shall be learned."""

import tensorflow as tf

confidence = tf.Variable(0.9)
logits = tf.random.normal([3, 4])

with tf.GradientTape() as tape:
    labels = tf.one_hot(  # <- one_hot
        [0, 2, 1], 4, on_value=confidence, off_value=(1.0 - confidence) / 3.0
    )
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
print(tape.gradient(loss, confidence))
