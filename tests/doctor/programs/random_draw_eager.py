"""An action is drawn from the policy and its reward taken as the loss."""

import tensorflow as tf

logits = tf.Variable([[0.1, 0.2, 0.7]])
rewards = tf.constant([1.0, 0.0, 2.0])

with tf.GradientTape() as tape:
    action = tf.random.categorical(logits, 1)  # <- random_draw
    loss = -tf.reduce_sum(tf.gather(rewards, action))
print(tape.gradient(loss, logits))
