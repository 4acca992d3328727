"""An embedding that was frozen for an experiment and forgotten, in a compiled step."""

import tensorflow as tf

embedding = tf.Variable(tf.random.normal([10, 4]), trainable=False)  # <- not_trainable
weights = tf.Variable(tf.random.normal([4, 1]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(ids):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(tf.gather(embedding, ids) @ weights))
    variables = [embedding, weights]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step(tf.constant([1, 5, 7])))
