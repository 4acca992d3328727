"""A graph of TensorFlow 1 with two networks; minimize is left to find the variables."""

import tensorflow.compat.v1 as tf

with tf.Graph().as_default(), tf.Session() as session:
    inputs = tf.placeholder(tf.float32, [None, 3])
    losses = []
    for name in ("first", "second"):
        weights = tf.get_variable(name, [3, 1], use_resource=name == "first")
        losses.append(tf.reduce_mean(tf.square(inputs @ weights - 1.0)))
    steps = [tf.train.GradientDescentOptimizer(0.1).minimize(loss) for loss in losses]
    session.run(tf.global_variables_initializer())
    session.run(steps, {inputs: [[1.0, 2.0, 3.0]]})
