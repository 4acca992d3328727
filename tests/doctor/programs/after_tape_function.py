"""The loss is computed after the tape was closed, in a compiled step."""

import tensorflow as tf

model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1)])
optimizer = tf.keras.optimizers.Adam()
mean_squared_error = tf.keras.losses.MeanSquaredError()


@tf.function
def step(inputs, targets):
    with tf.GradientTape() as tape:
        predictions = model(inputs, training=True)
    loss = mean_squared_error(targets, predictions)  # <- after_tape
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


step(tf.random.normal([8, 3]), tf.random.normal([8, 1]))
