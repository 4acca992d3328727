"""Second derivatives: a product with a vector and a forward accumulator."""

import tensorflow as tf

x, direction = tf.Variable([1.0, 2.0]), tf.constant([1.0, 0.0])

with tf.GradientTape() as outer:
    with tf.GradientTape() as inner:
        y = tf.reduce_sum(x**3)
    first = inner.gradient(y, x)
print(outer.gradient(first, x, output_gradients=direction))

with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(x**3)
    gradient = tape.gradient(y, x)
print(accumulator.jvp(gradient))
