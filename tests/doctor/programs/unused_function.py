"""One of two heads is never used, in a compiled step."""

import tensorflow as tf

first = tf.Variable(tf.random.normal([3, 1]))
second = tf.Variable(tf.random.normal([3, 1]))  # <- unused
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs):
    with tf.GradientTape() as tape:
        outputs = inputs @ first, inputs @ second
        loss = tf.reduce_mean(tf.square(outputs[0]))
    variables = [first, second]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.random.normal([8, 3])))
