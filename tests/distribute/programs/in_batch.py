"""The softmax over the candidates of all replicas against that of one process with the whole batch,
under a MirroredStrategy of two logical CPUs."""

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

import keras  # noqa: E402
import numpy as np  # noqa: E402
from distribute.programs.refusing import raises  # noqa: E402

import fastw2v  # noqa: E402
from fastw2v.distribute import Group  # noqa: E402
from fastw2v.keras import Embedding, InBatchSoftmax, StreamingLogQ  # noqa: E402

ROWS, DIM, BATCH = 30, 6, 24
rng = np.random.default_rng(0)
QUERIES, CANDIDATES = rng.normal(size=[2, BATCH, DIM])
IDS, LOG_Q = rng.integers(9, size=BATCH), rng.normal(size=BATCH)
NEGATIVES = rng.normal(size=[5, DIM])


def of_replicas(array):
    half = BATCH // 2
    return STRATEGY.experimental_distribute_values_from_function(
        lambda context: tf.constant(array[half * context.replica_id_in_sync_group :][:half])
    )


def check_function(**options):
    sources = [tf.constant(QUERIES), tf.constant(CANDIDATES)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        right = fastw2v.in_batch_softmax_loss(
            *sources, candidate_ids=IDS, log_q=LOG_Q, reduction="mean", **options
        )
    expected = tape.gradient(right, sources)
    with STRATEGY.scope():
        group = Group()

    @tf.function
    def step(*arguments):
        def of_one(queries, candidates, ids, log_q):
            with tf.GradientTape() as tape:
                tape.watch([queries, candidates])
                loss = fastw2v.in_batch_softmax_loss(
                    queries,
                    candidates,
                    candidate_ids=ids,
                    log_q=log_q,
                    group=group,
                    reduction="mean",
                    **options,
                )
            gradients = tape.gradient(loss, [queries, candidates])
            return loss, *map(tf.convert_to_tensor, gradients)

        return STRATEGY.run(of_one, arguments)

    loss, *gradients = step(*map(of_replicas, (QUERIES, CANDIDATES, IDS, LOG_Q)))
    parts = STRATEGY.experimental_local_results
    np.testing.assert_allclose(sum(parts(loss)), right, rtol=1e-10)
    for got, whole in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(np.concatenate(parts(got)), whole, rtol=1e-8, atol=1e-12)


check_function()
check_function(symmetric=True)
check_function(num_hard_negatives=4)
check_function(negatives=NEGATIVES, negative_ids=np.arange(5) + 5, negative_log_q=np.zeros(5))


def model(all_replicas):
    keras.utils.set_random_seed(1)
    users, items = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    log_q = StreamingLogQ(ROWS)(items)
    losses = InBatchSoftmax(all_replicas=all_replicas)(
        Embedding(ROWS, DIM)(users), Embedding(ROWS, DIM)(items), candidate_ids=items, log_q=log_q
    )
    made = keras.Model([users, items], losses)
    made.compile(fastw2v.optimizers.SGD(1.0))
    return made


DATA = [rng.integers(ROWS, size=BATCH * 5), rng.integers(ROWS, size=BATCH * 5)]
alone = model(False)
with STRATEGY.scope():
    together = model(True)
for each in (alone, together):
    each.fit(DATA, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
for one, other in zip(alone.get_weights(), together.get_weights(), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)

outside = InBatchSoftmax(all_replicas=True)
raises(
    RuntimeError,
    "was made outside of its scope",
    lambda: STRATEGY.run(lambda: outside(tf.ones([2, 3]), tf.ones([2, 3]))),
)
with STRATEGY.scope():
    group = Group()


def with_strings():
    fastw2v.in_batch_softmax_loss(
        tf.ones([2, 3]), tf.ones([2, 3]), candidate_ids=["a", "b"], group=group
    )


raises(ValueError, "expected integers where a group is given", lambda: STRATEGY.run(with_strings))
print("all checks passed")
