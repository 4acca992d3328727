"""The critic's predict is given what the actor computes; it returns NumPy arrays."""

import tensorflow as tf

actor = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(2, use_bias=False)])
critic = tf.keras.Sequential([tf.keras.Input([5]), tf.keras.layers.Dense(1)])
optimizer = tf.keras.optimizers.Adam()
states = tf.random.normal([8, 3])

with tf.GradientTape() as tape:
    actions = actor(states)
    values = critic.predict(tf.concat([states, actions], axis=1), verbose=0)  # <- numpy
    loss = -tf.reduce_mean(values)
gradients = tape.gradient(loss, actor.trainable_variables)
optimizer.apply_gradients(zip(gradients, actor.trainable_variables))
