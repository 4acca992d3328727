"""A graph of TensorFlow 1 with two networks, each minimized for its own variables."""

import tensorflow.compat.v1 as tf

with tf.Graph().as_default(), tf.Session() as session:
    inputs = tf.placeholder(tf.float32, [None, 3])
    steps = []
    for name in ("first", "second"):
        with tf.variable_scope(name):
            weights = tf.get_variable("weights", [3, 1])
            loss = tf.reduce_mean(tf.square(inputs @ weights - 1.0))
            optimizer = tf.train.AdamOptimizer(0.1)
            variables = tf.trainable_variables(name)
            steps += [optimizer.minimize(loss, var_list=variables), tf.gradients(loss, weights)]
    session.run(tf.global_variables_initializer())
    session.run(steps, {inputs: [[1.0, 2.0, 3.0]]})
