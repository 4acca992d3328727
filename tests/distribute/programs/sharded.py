"""Sharded tables against whole ones: losses, gradients, lookups, top_k and steps of optimizers.

With an argument under a MirroredStrategy of so many logical CPUs, else as one of the workers of
TF_CONFIG.
"""

import sys

import numpy as np
import tensorflow as tf

MIRRORED = int(sys.argv[1]) if len(sys.argv) > 1 else 0
if MIRRORED:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * MIRRORED
    )

from distribute.programs.refusing import raises  # noqa: E402

import fastw2v  # noqa: E402
from fastw2v.distribute import Group, ShardedTable  # noqa: E402

if MIRRORED:
    STRATEGY = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(MIRRORED)])
else:
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
N = STRATEGY.num_replicas_in_sync
GROUP = Group(STRATEGY)
RNG = np.random.default_rng(0)
DIM, BATCH = 5, 6


def normal(dtype, *shape):
    return RNG.normal(size=shape).astype(dtype)


def run(function, *arguments):
    """{replica: function(its part of each argument [N, ...])}, of the replicas of this process."""
    values = [
        STRATEGY.experimental_distribute_values_from_function(
            lambda context, part=part: tf.constant(part[int(context.replica_id_in_sync_group)])
        )
        for part in arguments
    ]

    def in_replica(*mine):
        context = tf.distribute.get_replica_context()
        replica = tf.constant(int(tf.get_static_value(context.replica_id_in_sync_group)))
        return replica, function(*mine)

    replicas, results = tf.function(lambda: STRATEGY.run(in_replica, args=values))()
    local = STRATEGY.experimental_local_results
    parts = [local(part) for part in tf.nest.flatten(results)]
    return {
        int(replica): tf.nest.pack_sequence_as(results, list(each))
        for replica, each in zip(local(replicas), zip(*parts, strict=True), strict=True)
    }


def assert_close(name, found, expected, tolerance):
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(np.abs(expected).max(initial=0), 1e-30)
    assert found.shape == expected.shape, (name, found.shape, expected.shape)
    worst = np.abs(found - expected).max(initial=0) / scale
    assert worst <= tolerance, (name, worst)


def dense(gradient, shape):
    if not isinstance(gradient, tf.IndexedSlices):
        return np.asarray(gradient)
    total = np.zeros(shape, gradient.values.dtype.as_numpy_dtype)
    np.add.at(total, np.asarray(gradient.indices), np.asarray(gradient.values))
    return total


def part_of(table, array, replica):
    rank = replica % table.group.size
    return array[table.cut.first_row(rank) : table.cut.first_row(rank + 1)]


def compare(name, loss, tables, arguments, tolerance):
    """Losses and gradients by arrays, as sharded tables and as whole variables."""
    dtype = tables[0].dtype
    upstream = normal(dtype, N, BATCH)
    whole = [tf.Variable(array) for array in tables]
    with STRATEGY.scope():
        sharded = [ShardedTable(array.shape, array, dtype) for array in tables]

    def in_replica(upstream, *mine):
        with tf.GradientTape() as tape:
            value = loss(sharded, *mine)
        gradients = tape.gradient(value, sharded, upstream)
        return value, [
            tf.convert_to_tensor(gradient)
            if not isinstance(gradient, tf.IndexedSlices)
            else tf.math.unsorted_segment_sum(
                gradient.values, gradient.indices, table.variable.shape[0]
            )
            for gradient, table in zip(gradients, sharded, strict=True)
        ]

    found = run(in_replica, upstream, *arguments)
    flat = [np.concatenate(list(part)) for part in (upstream, *arguments)]
    with tf.GradientTape() as tape:
        value = loss(whole, *flat[1:])
    expected = tape.gradient(value, whole, flat[0])
    for replica, (got, gradients) in found.items():
        mine = slice(replica * BATCH, (replica + 1) * BATCH)
        assert_close(name, got, value[mine], tolerance)
        for table, gradient, right in zip(sharded, gradients, expected, strict=True):
            right = part_of(table, dense(right, table.shape), replica)
            assert_close(f"{name}, {table}", gradient, right, tolerance)


OPTIONS = {
    "ignore_label": -9,
    "label_smoothing": 0.1,
    "z_loss": 1e-2,
    "logit_softcap": 4.0,
    "margin": 0.3,
}


def exact(tables, ids, labels):
    return fastw2v.softmax_loss(*tables, ids, labels)


def sampled(tables, ids, labels):
    classes = tables[1].shape[0]
    candidates = np.arange(7) * 5 % classes, None, None
    return fastw2v.softmax_loss(*tables, ids, labels, sampled_values=candidates)


def with_options(tables, ids, labels):
    return fastw2v.softmax_loss(*tables, ids, labels, **OPTIONS)


def linear(tables, labels):
    hidden = tf.ones([tf.shape(labels)[0], DIM], tables[0].dtype)
    return fastw2v.linear_cross_entropy(labels, hidden, *tables)


def losses():
    rows, classes = 23, 31
    ids, labels = RNG.integers(rows, size=[N, BATCH]), RNG.integers(classes, size=[N, BATCH])
    bags, several = RNG.integers(-1, rows, size=[N, BATCH, 4]), np.stack([labels, ids, ids], 2)
    bags[..., 0], several[0, 1], several[-1, 2, 0] = 3, -9, -9
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
        tables = normal(dtype, rows, DIM), normal(dtype, classes, DIM), normal(dtype, classes)
        compare("options", with_options, tables, (bags, several), tolerance)
        compare("sampled", sampled, tables, (ids, labels), tolerance)
    if not MIRRORED:
        return
    tables, tolerance = [normal("float64", *table.shape) for table in tables], 1e-12
    compare("one class", exact, tables, (ids, np.zeros_like(labels)), tolerance)
    compare("no embeddings", linear, tables[1:], (labels,), tolerance)
    compare(
        "no biases", lambda t, *batch: exact([*t, None], *batch), tables[:2], (ids, labels), 1e-12
    )
    few = [table[: N - 1] for table in tables]  # so that a replica has none
    for loss in (exact, sampled):
        compare("few rows", loss, few, (ids % (N - 1), labels % (N - 1)), tolerance)


def lookups():
    table = normal("float32", 23, DIM)
    with STRATEGY.scope():
        sharded = ShardedTable(table.shape, table)
    ids = RNG.integers(23, size=[N, BATCH])
    for replica, rows in run(lambda ids: fastw2v.lookup(sharded, ids), ids).items():
        np.testing.assert_array_equal(rows, table[ids[replica]])
    hidden, biases = normal("float32", N, BATCH, DIM), normal("float32", 23)
    with STRATEGY.scope():
        weights, offsets = ShardedTable(table.shape, table), ShardedTable([23], biases)
    for k in (1, 9, 23):
        found = run(lambda rows, k=k: fastw2v.top_k(rows, weights, offsets, k), hidden)
        for replica, (values, classes) in found.items():
            right = fastw2v.top_k(hidden[replica], table, biases, k)
            assert_close("top_k", values, right[0], 1e-6)
            np.testing.assert_array_equal(classes, right[1])


OPTIMIZERS = {
    "SGD": lambda: fastw2v.optimizers.SGD(0.1),
    "momentum": lambda: fastw2v.optimizers.SGD(0.1, momentum=0.9),
    "Adagrad": lambda: fastw2v.optimizers.Adagrad(0.1),
    "RowwiseAdagrad": lambda: fastw2v.optimizers.RowwiseAdagrad(0.1),
    "Adam": lambda: fastw2v.optimizers.Adam(0.01),
    "lazy Adam": lambda: fastw2v.optimizers.Adam(0.01, lazy=True),
    "Adam with averages": lambda: fastw2v.optimizers.Adam(0.01, use_ema=True),
    "AdamW": lambda: fastw2v.optimizers.AdamW(0.01, weight_decay=0.1),
    "Lion": lambda: fastw2v.optimizers.Lion(0.01, weight_decay=0.1),
    "Ftrl": lambda: fastw2v.optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
}


def steps():
    arrays = [normal("float32", 23, DIM), normal("float32", 31, DIM), normal("float32", 31)]
    batches = [
        (RNG.integers(23, size=[N, BATCH]), RNG.integers(31, size=[N, BATCH])) for _ in range(20)
    ]
    for name, make in OPTIMIZERS.items():
        if not MIRRORED and name not in ("RowwiseAdagrad", "Adam"):
            continue
        candidates = {"sampled_values": (np.arange(7), None, None)}
        for options in ({}, candidates) if name in ("Adagrad", "Adam") else ({},):
            whole, alone = [tf.Variable(array) for array in arrays], make()
            alone.build(whole)
            with STRATEGY.scope():
                sharded = [ShardedTable(array.shape, array) for array in arrays]
                optimizer = make()
                optimizer.build(sharded)

            @tf.function
            def step(ids, labels, optimizer=optimizer, sharded=sharded, options=options):
                def in_replica(ids, labels):
                    return fastw2v.train_step(
                        optimizer, fastw2v.softmax_loss, *sharded, ids, labels, **options
                    )

                return STRATEGY.run(in_replica, args=(ids, labels))

            for batch in batches:
                mine = [
                    STRATEGY.experimental_distribute_values_from_function(
                        lambda context, part=part: tf.constant(
                            part[int(context.replica_id_in_sync_group)]
                        )
                    )
                    for part in batch
                ]
                step(*mine)
                flat = [part.reshape(-1) for part in batch]
                fastw2v.train_step(alone, fastw2v.softmax_loss, *whole, *flat, **options)
            optimizer.finalize()
            alone.finalize()
            for table, right in zip(sharded, whole, strict=True):
                for (rank, _), variable in zip(GROUP.members_here(), table.variables, strict=True):
                    expected = right.numpy()[
                        table.cut.first_row(rank) : table.cut.first_row(rank + 1)
                    ]
                    assert_close(f"{name}, {table}", variable, expected, 2e-6)


def refusals():
    with STRATEGY.scope():
        weights = ShardedTable([23, DIM], "zeros", name="weights")
    hidden, labels = tf.ones([BATCH, DIM]), tf.zeros([BATCH], tf.int64)

    if N > 1:
        raises(
            RuntimeError,
            f"sharded over {N} replicas of {type(STRATEGY).__name__}, but is read outside",
            lambda: fastw2v.linear_cross_entropy(labels, hidden, weights, None),
        )
    raises(
        ValueError,
        "weights is sharded: use one of fastw2v.optimizers",
        lambda: tf.keras.optimizers.Adam().build([weights]),
    )
    raises(
        ValueError,
        "clipnorm = 1.0 does not work for sharded tables",
        lambda: fastw2v.optimizers.Adam(clipnorm=1.0).build([weights]),
    )

    @tf.function(jit_compile=True)
    def compiled():
        return STRATEGY.run(lambda: fastw2v.linear_cross_entropy(labels, hidden, weights, None))

    raises(ValueError, "leave jit_compile off", compiled)

    @tf.function
    def served():
        with fastw2v.tensorflow_ops():
            return fastw2v.linear_cross_entropy(labels, hidden, weights, None)

    raises(ValueError, "what is served has whole tables", served)
    raises(ValueError, "shape = [3, 4, 5]", lambda: ShardedTable([3, 4, 5]))
    raises(
        ValueError, "initializer has shape (2, 2)", lambda: ShardedTable([3, 2], np.ones([2, 2]))
    )


for check in (losses, lookups, steps, refusals):
    check()
    print(check.__name__, "passed", flush=True)
print("all checks passed")
