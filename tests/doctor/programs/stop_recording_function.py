"""Features that were meant to be trained are computed while the tape does not record."""

import tensorflow as tf

weights = tf.Variable(tf.random.normal([3, 4]))
head = tf.Variable(tf.random.normal([4, 1]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(inputs):
    with tf.GradientTape() as tape:
        with tape.stop_recording():
            features = inputs @ weights  # <- stop_recording
        loss = tf.reduce_mean(tf.square(features @ head))
    variables = [weights, head]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.random.normal([8, 3])))
