"""The loss is a method that hands the predictions on to a function of NumPy, by name."""

import numpy as np
import tensorflow as tf


def error(values, scale=1.0):
    return scale * np.mean(np.square(values))  # <- numpy


class Regression:
    def __init__(self):
        self.weights = tf.Variable(tf.ones([3, 1]))

    def forward(self, inputs):
        return inputs @ self.weights

    def loss(self, targets, predictions):
        return tf.constant(error(values=predictions)) + 0.0 * tf.reduce_sum(targets)


regression = Regression()
with tf.GradientTape() as tape:
    outputs = regression.forward(tf.ones([8, 3]))
    loss = regression.loss(tf.zeros([8, 1]), outputs)
print(tape.gradient(loss, regression.weights))
