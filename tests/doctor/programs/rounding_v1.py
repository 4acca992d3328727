"""A graph of TensorFlow 1, minimized by its optimizer."""

import tensorflow.compat.v1 as tf

with tf.Graph().as_default(), tf.Session() as session:
    inputs = tf.placeholder(tf.float32, [None, 3])
    weights = tf.get_variable("weights", [3, 1])
    loss = tf.reduce_mean(tf.square(tf.round(inputs @ weights) - 1.0))  # <- rounding
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    session.run(tf.global_variables_initializer())
    session.run(step, {inputs: [[1.0, 2.0, 3.0]]})
