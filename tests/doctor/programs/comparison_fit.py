"""The F1 score of hard decisions as a loss."""

import tensorflow as tf


def f1_loss(labels, predictions):
    chosen = tf.cast(tf.greater(predictions, 0.5), tf.float32)  # <- comparison
    hits = tf.reduce_sum(labels * chosen)
    return 1.0 - 2.0 * hits / (tf.reduce_sum(labels) + tf.reduce_sum(chosen) + 1e-7)


model = tf.keras.Sequential([tf.keras.layers.Dense(1, activation="sigmoid")])
model.compile("adam", f1_loss)
model.fit(tf.random.normal([8, 3]), tf.ones([8, 1]), verbose=0)
