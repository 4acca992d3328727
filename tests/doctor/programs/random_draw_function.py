"""An action is drawn from the policy, in a compiled step."""

import tensorflow as tf

policy = tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.Dense(3, use_bias=False)])
rewards = tf.constant([1.0, 0.0, 2.0])
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step(states):
    with tf.GradientTape() as tape:
        actions = tf.random.categorical(policy(states), 1)  # <- random_draw
        loss = -tf.reduce_mean(tf.gather(rewards, actions))
    gradients = tape.gradient(loss, policy.trainable_variables)
    optimizer.apply_gradients(zip(gradients, policy.trainable_variables))
    return loss


step(tf.random.normal([8, 4]))
