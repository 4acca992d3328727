"""A large negative bias keeps every unit of a layer at zero."""

import tensorflow as tf

weights = tf.Variable(tf.random.stateless_normal([3, 4], seed=(1, 2)))
inputs = tf.random.stateless_normal([8, 3], seed=(3, 4))
optimizer = tf.keras.optimizers.SGD(0.1)

for _ in range(5):
    with tf.GradientTape() as tape:
        hidden = tf.nn.relu(inputs @ weights - 50.0)  # <- zero_gradient
        loss = tf.reduce_mean((tf.reduce_sum(hidden, axis=1) - 1.0) ** 2)
    optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
    print(loss.numpy())
