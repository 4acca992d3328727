"""A functional model with two outputs, two losses and their weights."""

import tensorflow as tf

inputs = {
    "words": tf.keras.Input([5], dtype="int32", name="words"),
    "age": tf.keras.Input([1], name="age"),
}
words = tf.keras.layers.GlobalAveragePooling1D()(tf.keras.layers.Embedding(20, 4)(inputs["words"]))
hidden = tf.keras.layers.Concatenate()([words, inputs["age"]])
outputs = {
    "score": tf.keras.layers.Dense(1, name="score")(hidden),
    "label": tf.keras.layers.Dense(3, name="label", activation="softmax")(hidden),
}
model = tf.keras.Model(inputs, outputs)
model.compile(
    "adam",
    {"score": "mse", "label": "sparse_categorical_crossentropy"},
    loss_weights={"score": 0.5, "label": 1.0},
    metrics={"label": ["accuracy"]},
)
data = {"words": tf.random.uniform([8, 5], 0, 20, tf.int32), "age": tf.random.normal([8, 1])}
model.fit(data, {"score": tf.zeros([8, 1]), "label": tf.zeros([8])}, verbose=0)
