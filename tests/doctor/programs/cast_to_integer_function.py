"""A position computed by the model becomes an index."""

import tensorflow as tf

position = tf.Variable(1.7)
table = tf.constant([0.0, 1.0, 4.0, 9.0])
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step():
    with tf.GradientTape() as tape:
        index = tf.cast(position, tf.int64)  # <- cast_to_integer
        loss = tf.gather(table, index)
    optimizer.apply_gradients([(tape.gradient(loss, position), position)])
    return loss


step()
