"""A hard choice among experts."""

import tensorflow as tf

gate = tf.Variable(tf.random.normal([3, 4]))
experts = tf.Variable(tf.random.normal([4, 3]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs):
    with tf.GradientTape() as tape:
        choice = tf.argmax(inputs @ gate, axis=1)  # <- argmax
        outputs = tf.reduce_sum(inputs * tf.gather(experts, choice), axis=1)
        loss = tf.reduce_mean(outputs**2)
    variables = [gate, experts]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


step(tf.random.normal([8, 3]))
