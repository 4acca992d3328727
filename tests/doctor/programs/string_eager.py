"""A number is formatted and parsed again."""

import tensorflow as tf

price = tf.Variable(9.99)

with tf.GradientTape() as tape:
    text = tf.strings.as_string(price, precision=1)  # <- string
    loss = tf.strings.to_number(text) ** 2
print(tape.gradient(loss, price))
