"""The score of a beam search as a loss."""

import tensorflow as tf

logits = tf.Variable(tf.random.normal([5, 1, 4]))


@tf.function
def gradient():
    with tf.GradientTape() as tape:
        _, scores = tf.nn.ctc_beam_search_decoder(logits, [5])  # <- not_differentiable
        loss = -tf.reduce_mean(scores)
    return tape.gradient(loss, logits)


print(gradient())
