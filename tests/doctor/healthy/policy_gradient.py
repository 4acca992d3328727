"""REINFORCE: actions are drawn, and the logarithm of their probability is the loss."""

import tensorflow as tf

policy = tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.Dense(3)])
states = tf.random.normal([8, 4])

with tf.GradientTape() as tape:
    logits = policy(states)
    actions = tf.random.categorical(logits, 1)[:, 0]
    rewards = tf.cast(actions == 1, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(actions, logits)
    loss = tf.reduce_mean(losses * rewards)
print(tape.gradient(loss, policy.trainable_variables))
