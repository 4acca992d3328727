"""fit with run_eagerly=True and a learning rate schedule."""

import tensorflow as tf

schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
model = tf.keras.Sequential([tf.keras.layers.Dense(4, "relu"), tf.keras.layers.Dense(1)])
model.compile(tf.keras.optimizers.SGD(schedule, momentum=0.9), "mse", run_eagerly=True)
model.fit(tf.random.normal([8, 3]), tf.random.normal([8, 1]), batch_size=4, verbose=0)
