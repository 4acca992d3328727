"""The first derivative is taken when both tapes are closed."""

import tensorflow as tf

x = tf.Variable(2.0)

with tf.GradientTape() as outer:
    with tf.GradientTape() as inner:
        y = x**3
first = inner.gradient(y, x)  # <- inner_gradient_outside
print(first, outer.gradient(first, x))
