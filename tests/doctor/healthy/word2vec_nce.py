"""Skip-gram with TensorFlow's own sampled losses."""

import tensorflow as tf

embedding = tf.Variable(tf.random.normal([50, 8]))
weights, biases = tf.Variable(tf.random.normal([50, 8])), tf.Variable(tf.zeros([50]))
centers, contexts = tf.constant([1, 2, 3]), tf.constant([[4], [5], [6]], tf.int64)

for function in (tf.nn.nce_loss, tf.nn.sampled_softmax_loss):
    with tf.GradientTape() as tape:
        inputs = tf.nn.embedding_lookup(embedding, centers)
        loss = tf.reduce_mean(function(weights, biases, contexts, inputs, 5, 50))
    print(tape.gradient(loss, [embedding, weights, biases]))
