"""A variable that the loss does not use, in a graph of TensorFlow 1."""

import tensorflow.compat.v1 as tf

with tf.Graph().as_default(), tf.Session() as session:
    inputs = tf.placeholder(tf.float32, [None, 3])
    weights = tf.get_variable("weights", [3, 1])
    bias = tf.get_variable("bias", [1])  # <- unused
    loss = tf.reduce_mean(tf.square(inputs @ weights))
    optimizer = tf.train.AdamOptimizer()
    step = optimizer.minimize(loss, var_list=[weights, bias])
    session.run(tf.global_variables_initializer())
    session.run(step, {inputs: [[1.0, 2.0, 3.0]]})
