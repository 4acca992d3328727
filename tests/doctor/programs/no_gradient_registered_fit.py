"""A loss over the different predictions."""

import tensorflow as tf


def spread(targets, predictions):
    distinct, _ = tf.unique(tf.reshape(predictions, [-1]))  # <- no_gradient_registered
    return tf.reduce_mean(distinct)


model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
model.compile("adam", spread)
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), verbose=0)
