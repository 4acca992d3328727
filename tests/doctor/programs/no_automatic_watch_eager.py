"""A tape that was told to watch one variable, asked for two."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([4, 2]))
bias = tf.Variable(tf.zeros([2]))

with tf.GradientTape(watch_accessed_variables=False) as tape:  # <- no_automatic_watch
    tape.watch(weights)
    loss = tf.reduce_mean(tf.square(tf.ones([3, 4]) @ weights + bias))
print(tape.gradient(loss, [weights, bias]))
