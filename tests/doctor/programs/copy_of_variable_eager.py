"""The gradient is asked for a tensor read from the variable."""

import tensorflow as tf

weights = tf.Variable([1.0, 2.0])

with tf.GradientTape() as tape:
    loss = tf.reduce_sum(weights**2)
print(tape.gradient(loss, tf.convert_to_tensor(weights)))  # <- copy_of_variable
