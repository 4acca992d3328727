"""Q-learning: the goal comes from a second network and is held back."""

import tensorflow as tf


def network():
    return tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.Dense(2)])


online, target = network(), network()
target.set_weights(online.get_weights())
optimizer = tf.keras.optimizers.Adam()


@tf.function
def step(states, actions, rewards, following):
    best = tf.argmax(online(following), axis=1)
    goal = rewards + 0.9 * tf.gather(target(following), best, batch_dims=1)
    with tf.GradientTape() as tape:
        values = tf.reduce_sum(online(states) * tf.one_hot(actions, 2), axis=1)
        loss = tf.reduce_mean((values - tf.stop_gradient(goal)) ** 2)
    gradients = tape.gradient(loss, online.trainable_variables)
    optimizer.apply_gradients(zip(gradients, online.trainable_variables))
    return loss


states = tf.random.normal([8, 4])
print(step(states, tf.zeros([8], tf.int32), tf.ones([8]), states))
