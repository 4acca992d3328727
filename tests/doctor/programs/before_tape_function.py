"""The model is called before the tape is opened, in a compiled step."""

import tensorflow as tf

model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1, use_bias=False)])
optimizer = tf.keras.optimizers.Adam()


@tf.function
def step(inputs, targets):
    predictions = model(inputs, training=True)  # <- before_tape
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(predictions - targets))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


step(tf.random.normal([8, 3]), tf.random.normal([8, 1]))
