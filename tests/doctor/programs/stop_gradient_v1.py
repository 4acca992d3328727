"""A target network, held back on purpose, among the variables to be minimized by mistake."""

import tensorflow.compat.v1 as tf

with tf.Graph().as_default(), tf.Session() as session:
    states = tf.placeholder(tf.float32, [None, 3])
    online = tf.get_variable("online", [3, 2])
    target = tf.get_variable("target", [3, 2])
    goal = tf.stop_gradient(tf.reduce_max(states @ target, axis=1))  # <- stop_gradient
    loss = tf.reduce_mean(tf.square(tf.reduce_max(states @ online, axis=1) - goal))
    step = tf.train.AdamOptimizer().minimize(loss, var_list=[online, target])
    session.run(tf.global_variables_initializer())
    session.run(step, {states: [[1.0, 2.0, 3.0]]})
