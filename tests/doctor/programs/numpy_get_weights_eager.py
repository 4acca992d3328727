"""The weights of a layer are taken by get_weights(), which copies them into NumPy arrays."""

import tensorflow as tf

hidden = tf.keras.layers.Embedding(20, 4)
output = tf.keras.layers.Dense(20)
output.build([None, 4])
words, contexts = tf.constant([1, 2, 3]), tf.constant([[4], [5], [6]])

with tf.GradientTape() as tape:
    weights, biases = output.get_weights()  # <- numpy
    loss = tf.reduce_mean(
        tf.nn.nce_loss(tf.transpose(weights), biases, contexts, hidden(words), 2, 20)
    )
print([g is None for g in tape.gradient(loss, hidden.weights + output.trainable_variables)])
