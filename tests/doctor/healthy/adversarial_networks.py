"""A generator and a discriminator, each with a tape of its own."""

import tensorflow as tf

generator = tf.keras.Sequential([tf.keras.layers.Dense(8, "relu"), tf.keras.layers.Dense(2)])
discriminator = tf.keras.Sequential([tf.keras.layers.Dense(8, "relu"), tf.keras.layers.Dense(1)])
cross_entropy = tf.keras.losses.BinaryCrossentropy(from_logits=True)
generator_optimizer = tf.keras.optimizers.Adam(1e-3)
discriminator_optimizer = tf.keras.optimizers.Adam(1e-3)


@tf.function
def step(real):
    noise = tf.random.normal([tf.shape(real)[0], 4])
    with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
        fake = generator(noise, training=True)
        on_real, on_fake = discriminator(real), discriminator(fake)
        generator_loss = cross_entropy(tf.ones_like(on_fake), on_fake)
        discriminator_loss = cross_entropy(tf.ones_like(on_real), on_real) + cross_entropy(
            tf.zeros_like(on_fake), on_fake
        )
    for tape, loss, model, optimizer in (
        (generator_tape, generator_loss, generator, generator_optimizer),
        (discriminator_tape, discriminator_loss, discriminator, discriminator_optimizer),
    ):
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return generator_loss, discriminator_loss


print(step(tf.random.normal([8, 2])))
