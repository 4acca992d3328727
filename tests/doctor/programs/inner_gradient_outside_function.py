"""The first derivative is taken when both tapes are closed, in a compiled function."""

import tensorflow as tf


@tf.function
def second_derivative(x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = x**3
    first = inner.gradient(y, x)  # <- inner_gradient_outside
    second = outer.gradient(first, x)
    return first if second is None else second


print(second_derivative(tf.constant(2.0)))
