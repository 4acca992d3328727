"""Attention with a causal mask, layer normalization and residual connections."""

import tensorflow as tf


class Block(tf.keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = tf.keras.layers.MultiHeadAttention(2, 4)
        self.norms = [tf.keras.layers.LayerNormalization() for _ in range(2)]
        self.feed_forward = tf.keras.layers.Dense(8, activation="gelu")

    def call(self, inputs):
        normed = self.norms[0](inputs)
        inputs += self.attention(normed, normed, use_causal_mask=True)
        return inputs + self.feed_forward(self.norms[1](inputs))


model = tf.keras.Sequential([tf.keras.layers.Embedding(20, 8), Block(), tf.keras.layers.Dense(20)])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
words = tf.random.uniform([4, 7], 0, 20, tf.int32)
model.fit(words[:, :-1], words[:, 1:], verbose=0)
