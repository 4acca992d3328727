"""The hard choice is inside a compiled function that an eager tape calls."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 5]))


@tf.function
def predict(inputs):
    logits = inputs @ weights
    return tf.cast(tf.argmax(logits, axis=1), tf.float32)  # <- argmax


with tf.GradientTape() as tape:
    loss = tf.reduce_mean(predict(tf.random.normal([8, 3])))
print(tape.gradient(loss, weights))
