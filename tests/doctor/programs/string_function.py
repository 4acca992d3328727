"""Values become words, and words become buckets."""

import tensorflow as tf

features = tf.Variable([0.1, 0.2])
embedding = tf.Variable(tf.random.normal([10, 4]))
optimizer = tf.keras.optimizers.SGD(0.1)


@tf.function
def step():
    with tf.GradientTape() as tape:
        words = tf.strings.as_string(features)  # <- string
        ids = tf.strings.to_hash_bucket_fast(words, 10)
        loss = tf.reduce_sum(tf.gather(embedding, ids) ** 2)
    variables = [features, embedding]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


print(step())
