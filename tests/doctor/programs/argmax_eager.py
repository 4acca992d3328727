"""The class itself, rather than its probability, goes into the loss."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 5]))
inputs, labels = tf.random.normal([8, 3]), tf.zeros([8])

with tf.GradientTape() as tape:
    classes = tf.argmax(inputs @ weights, axis=1)  # <- argmax
    loss = tf.reduce_mean((tf.cast(classes, tf.float32) - labels) ** 2)
print(tape.gradient(loss, weights))
