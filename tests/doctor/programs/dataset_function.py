"""The weights themselves are put into a dataset."""

import tensorflow as tf

weights = tf.Variable([1.0, 2.0, 3.0])


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        loss = tf.constant(0.0)
        for weight in tf.data.Dataset.from_tensor_slices(weights * 2.0):  # <- dataset
            loss += weight**2
    return tape.gradient(loss, weights)


print(gradient())
