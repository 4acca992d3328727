"""Boxes whose corners shall be learned, drawn into a picture."""

import tensorflow as tf

boxes = tf.Variable([[[0.1, 0.1, 0.6, 0.7]]])


@tf.function
def gradient(pictures):
    with tf.GradientTape() as tape:
        drawn = tf.image.draw_bounding_boxes(  # <- no_gradient_registered
            pictures, boxes, [[1.0]]
        )
        loss = tf.reduce_mean(drawn)
    return tape.gradient(loss, boxes)


print(gradient(tf.zeros([1, 8, 8, 1])))
