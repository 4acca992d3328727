"""model.predict is called where the model itself should be."""

import tensorflow as tf

model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1, use_bias=False)])
optimizer = tf.keras.optimizers.Adam()
inputs, targets = tf.random.normal([8, 3]), tf.random.normal([8, 1])

with tf.GradientTape() as tape:
    predictions = model.predict(inputs, verbose=0)  # <- numpy
    loss = tf.reduce_mean(tf.square(predictions - targets))
gradients = tape.gradient(loss, model.trainable_variables)
optimizer.apply_gradients(zip(gradients, model.trainable_variables))
