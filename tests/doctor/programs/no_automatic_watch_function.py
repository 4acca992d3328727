"""A tape that was told to watch one variable, asked for two, in a compiled step."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([4, 2]))
bias = tf.Variable(tf.zeros([2]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs):
    with tf.GradientTape(watch_accessed_variables=False) as tape:  # <- no_automatic_watch
        tape.watch(weights)
        loss = tf.reduce_mean(tf.square(inputs @ weights + bias))
    variables = [weights, bias]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.ones([3, 4])))
