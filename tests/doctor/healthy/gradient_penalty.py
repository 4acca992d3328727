"""A critic whose slope is part of its loss."""

import tensorflow as tf

critic = tf.keras.Sequential([tf.keras.layers.Dense(8, "tanh"), tf.keras.layers.Dense(1)])
inputs = tf.random.normal([8, 3])
critic(inputs)

with tf.GradientTape() as tape:
    with tf.GradientTape() as inner:
        inner.watch(inputs)
        scores = critic(inputs)
    slope = inner.gradient(scores, inputs)
    loss = tf.reduce_mean(scores) + tf.reduce_mean((tf.norm(slope, axis=1) - 1.0) ** 2)
kernels = [layer.kernel for layer in critic.layers]
print([gradient.shape for gradient in tape.gradient(loss, kernels)])
