"""tf.gradients of a class, in a graph of TensorFlow 1 with a reference variable."""

import tensorflow.compat.v1 as tf

with tf.Graph().as_default():
    inputs = tf.placeholder(tf.float32, [None, 3])
    weights = tf.get_variable("weights", [3, 5], use_resource=False)
    classes = tf.argmax(inputs @ weights, axis=1)  # <- argmax
    loss = tf.reduce_mean(tf.cast(classes, tf.float32))
    print(tf.gradients(loss, weights))
