"""A word that occurs twice in a batch is updated twice by Adam, and not once by the sum."""

import tensorflow as tf

embeddings = tf.Variable(tf.random.stateless_normal([100, 8], seed=(1, 2)))
optimizer = tf.keras.optimizers.Adam()

with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.gather(embeddings, [7, 7, 3]) ** 2)
gradient = tape.gradient(loss, embeddings)
optimizer.apply_gradients([(gradient, embeddings)])  # <- repeated_rows
print(embeddings.shape)
