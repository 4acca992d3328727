"""A language model: embedding with a mask, LSTM, softmax over words."""

import tensorflow as tf

model = tf.keras.Sequential(
    [
        tf.keras.layers.Embedding(20, 8, mask_zero=True),
        tf.keras.layers.LSTM(8, return_sequences=True),
        tf.keras.layers.Dense(20),
    ]
)
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
words = tf.random.uniform([8, 7], 0, 20, tf.int32)
model.fit(words[:, :-1], words[:, 1:], verbose=0)
