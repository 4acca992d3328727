"""An embedding that was frozen for an experiment and forgotten."""

import tensorflow as tf

embedding = tf.Variable(tf.random.normal([10, 4]), trainable=False)  # <- not_trainable
weights = tf.Variable(tf.random.normal([4, 1]))

with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.square(tf.gather(embedding, [1, 5, 7]) @ weights))
print(tape.gradient(loss, [embedding, weights]))
