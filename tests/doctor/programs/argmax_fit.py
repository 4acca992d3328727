"""Accuracy as a loss."""

import tensorflow as tf


def accuracy(labels, logits):
    classes = tf.argmax(logits, axis=-1)  # <- argmax
    hits = tf.equal(tf.cast(labels, classes.dtype), classes)
    return 1.0 - tf.reduce_mean(tf.cast(hits, tf.float32))


model = tf.keras.Sequential([tf.keras.layers.Dense(5)])
model.compile("adam", accuracy)
model.fit(tf.random.normal([8, 3]), tf.zeros([8], tf.int32), verbose=0)
