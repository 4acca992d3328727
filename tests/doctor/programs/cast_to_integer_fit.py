"""A loss that casts predictions to the integer type of the labels."""

import tensorflow as tf


def difference(labels, predictions):
    labels = tf.cast(labels, tf.int32)
    predictions = tf.cast(predictions, tf.int32)  # <- cast_to_integer
    return tf.reduce_mean(tf.cast(tf.abs(labels - predictions), tf.float32))


model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
model.compile("adam", difference)
model.fit(tf.random.normal([8, 3]), tf.ones([8, 1], tf.int32), verbose=0)
