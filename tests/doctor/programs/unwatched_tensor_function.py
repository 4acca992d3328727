"""An adversarial example: the gradient of the loss for the picture."""

import tensorflow as tf

model = tf.keras.Sequential([tf.keras.Input([6]), tf.keras.layers.Dense(3)])
cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def adversarial(picture, label):
    with tf.GradientTape() as tape:
        logits = model(picture)  # <- unwatched_tensor
        loss = cross_entropy(label, logits)
    return picture + 0.1 * tf.sign(tape.gradient(loss, picture))


print(adversarial(tf.random.normal([2, 6]), tf.constant([0, 2])))
