"""The end of tf.range shall be learned."""

import tensorflow as tf

end = tf.Variable(2.0)


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        grid = tf.range(end)  # <- range
        loss = tf.reduce_sum(tf.sin(grid))
    return tape.gradient(loss, end)


print(gradient())
