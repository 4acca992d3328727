"""Tables on two parameter servers, which are threads of this process: losses, gradients, steps and
lookups against the same tables in one place. Without a partitioner tables are placed in turn; with
one each is cut in two."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import nullcontext

import keras
import numpy as np
import tensorflow as tf

import fastw2v

IS_CUT = sys.argv[1] == "cut"
ROWS, CLASSES, DIM, BATCH = 31, 41, 8, 12
rng = np.random.default_rng(3)
E, W, B = (
    rng.normal(0, 0.5, shape).astype(np.float32)
    for shape in ([ROWS, DIM], [CLASSES, DIM], [CLASSES])
)
ids, labels = rng.integers(0, ROWS, BATCH), rng.integers(0, CLASSES, BATCH)
labels[2] = 0
candidates = (
    np.arange(10, dtype=np.int64) * 7 % CLASSES,
    np.full([BATCH, 1], 0.5, np.float32),
    np.full([10], 0.5, np.float32),
)
bags = np.where(rng.random([BATCH, 3]) < 0.3, -1, rng.integers(0, ROWS, [BATCH, 3]))
bags[:, 0] = ids
ragged = tf.RaggedTensor.from_row_lengths(rng.integers(0, ROWS, 2 * BATCH), [1, 3] * (BATCH // 2))


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [f"127.0.0.1:{port}" for port in ports]


places = free_ports(3)
cluster = tf.train.ClusterSpec({"ps": places[:2], "worker": places[2:]})
servers = [
    tf.distribute.Server(cluster, job_name=job, task_index=task, protocol="grpc")
    for job, task in (("ps", 0), ("ps", 1), ("worker", 0))
]
partitioner = tf.distribute.experimental.partitioners.FixedShardsPartitioner(2) if IS_CUT else None
strategy = tf.distribute.ParameterServerStrategy(
    tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc"),
    variable_partitioner=partitioner,
)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
traced = {}


def on_worker(function):
    if function not in traced:
        traced[function] = tf.function(lambda: strategy.run(function), autograph=False)
    result = coordinator.schedule(traced[function])
    coordinator.join()
    return coordinator.fetch(result)


def parts(table):
    return list(getattr(table, "variables", [table]))


def whole(table):
    return np.concatenate([part.numpy() for part in parts(table)])


def tables(scope):
    with scope:
        return [tf.Variable(x, name=n) for x, n in ((E, "E"), (W, "W"), (B, "b"))]


there, here = tables(strategy.scope()), tables(nullcontext())
machines = {part.device for table in there for part in parts(table)}
assert len(machines) == 2, machines


def value_and_gradients(loss, tables, summed):
    sources = [part for table in tables for part in parts(table)]
    with tf.GradientTape() as tape:
        value = loss(*tables)
    gradients = tape.gradient(value, sources)
    for gradient in gradients:
        if isinstance(gradient, tf.IndexedSlices) and not summed:
            ascends = tf.reduce_all(gradient.indices[1:] > gradient.indices[:-1])
            tf.debugging.Assert(ascends, ["rows are not distinct and ascending"])
    dense = [
        tf.zeros_like(source) if gradient is None else tf.convert_to_tensor(gradient)
        for gradient, source in zip(gradients, sources, strict=True)
    ]
    return [value, *(tf.concat(dense[i : i + len(parts(t))], 0) for i, t in split(tables))]


def split(tables):
    first = 0
    for table in tables:
        yield first, table
        first += len(parts(table))


def compare(name, loss, run=on_worker, summed=False):
    """``summed``: where several gradients of a table are put one after the other."""
    got = run(lambda: value_and_gradients(loss, there, summed))
    expected = value_and_gradients(loss, here, summed)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)


def sampled(inputs=ids, targets=labels, **options):
    return lambda e, w, b: fastw2v.softmax_loss(
        e, w, b, inputs, targets, sampled_values=candidates, reduction="mean", **options
    )


def exact(e, w, b):
    return fastw2v.softmax_loss(e, w, b, ids, labels, reduction="mean")


compare("sampled, eager", sampled(), run=lambda function: function())
compare("bags", sampled(bags, combiner="sum"))
compare("ragged bags", sampled(ragged))
ignored = labels.copy()
ignored[[1, 5]] = 0  # which is a class, too
compare("ignore_label", sampled(targets=ignored, ignore_label=0))
ignored[[1, 5]] = -100


def of_activations(e, w, b):
    hidden, targets = tf.constant(E[ids]), np.stack([labels, labels[::-1]], 1)
    true_counts, counts = np.tile(candidates[1], [1, 2]), candidates[2]
    return fastw2v.nce_loss(
        w, b, targets, hidden, 10, CLASSES, 2, sampled_values=(candidates[0], true_counts, counts)
    )


compare("activations, two labels", of_activations)


def drawn(e, w, b):
    return fastw2v.softmax_loss(e, w, b, ids, labels, num_sampled=10, seed=(1, 2), reduction="mean")


compare("drawn", drawn)

# ---- Lookups: the layer's function ---------------------------------------------------------------

from fastw2v._losses.lookup import lookup  # noqa: E402


def looked_up(e, w, b):
    parts = [lookup(e, ids, None), lookup(e, bags, "mean"), lookup(e, ragged, "sum")]
    return tf.add_n([tf.reduce_sum(part**2) for part in parts])


compare("lookups", looked_up, summed=True)

# ---- Steps ---------------------------------------------------------------------------------------


def optimizer_of(make, tables, scope):
    with scope:
        optimizer = make()
        optimizer.build([part for table in tables for part in parts(table)])
    return optimizer


def steps(make, loss=fastw2v.softmax_loss, **arguments):
    results = []
    for scope, run in ((strategy.scope, on_worker), (nullcontext, lambda function: function())):
        tables_ = tables(scope())
        optimizer = optimizer_of(make, tables_, scope())

        def step(tables_=tables_, optimizer=optimizer):
            return fastw2v.train_step(optimizer, loss, *tables_, ids, labels, **arguments)

        losses = [float(run(step)) for _ in range(3)]
        if hasattr(optimizer, "finalize"):
            optimizer.finalize()
        results.append([losses, *map(whole, tables_)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


steps(lambda: fastw2v.optimizers.Adam(0.1, use_ema=True), sampled_values=candidates)
if IS_CUT:
    steps(lambda: keras.optimizers.SGD(0.1), sampled_values=candidates)

# ---- All classes compete: cut, each server computes its part -------------------------------------

steps(lambda: fastw2v.optimizers.Adam(0.1))
compare("exact", exact)
compare("exact, eager", exact, run=lambda function: function())
several = np.stack([labels, labels[::-1]], 1)
several[[1, 5]] = -100


def with_options(e, w, b):
    losses = fastw2v.softmax_loss(
        e, w, b, bags, several, ignore_label=-100, label_smoothing=0.1, z_loss=1e-2, combiner="sum"
    )
    return tf.reduce_sum(losses * np.arange(1, BATCH + 1))


compare("exact, options", with_options)
compare("exact, no biases", lambda e, w, b: fastw2v.softmax_loss(e, w, None, ids, labels)[3])


def mixed(e, w, b):
    """A shard that is a tensor, biases that lie elsewhere than their weights, and activations."""
    weights = [*parts(w), 2 * parts(w)[0][:20]]
    weights = weights if len(weights) > 2 else tf.concat(weights, 0)
    biases = tf.concat([*parts(b), parts(b)[0][:20]], 0)
    hidden = lookup(e, ids, None)
    return tf.reduce_mean(fastw2v.linear_cross_entropy(labels + 20, hidden, weights, biases))


if IS_CUT:
    compare("exact, mixed", mixed, summed=True)

# ---- What does not work --------------------------------------------------------------------------


def refused(function, error, *words):
    try:
        function()
    except error as raised:
        for word in words:
            assert word in str(raised), (word, str(raised))
    else:
        raise AssertionError(f"{words} is not raised")


wrong = ids.copy()
wrong[3] = ROWS
refused(
    lambda: on_worker(lambda: sampled(wrong)(*there)),
    tf.errors.InvalidArgumentError,
    "inputs holds [31], which is not in [0, 31), the rows of embeddings",
)
ignored[4] = CLASSES
refused(
    lambda: on_worker(lambda: sampled(targets=ignored, ignore_label=-100)(*there)),
    tf.errors.InvalidArgumentError,
    "labels holds [41]",
)
if IS_CUT:
    sentence = "weights lies on 2 parameter servers, and top_k reads all its rows in one place"
    refused(lambda: fastw2v.top_k(E, there[1], there[2]), ValueError, sentence)
    several[0, 1] = CLASSES
    refused(
        lambda: on_worker(lambda: with_options(*there)),
        tf.errors.InvalidArgumentError,
        "labels[1] = 41 is not in [0, 41)",
    )
    with strategy.scope():
        refused(
            lambda: fastw2v.keras.Embedding(ROWS, DIM).build(),
            ValueError,
            "Keras 3 has no sharded variables",
        )
else:
    got, expected = (fastw2v.top_k(E, *each[1:], k=3)[1] for each in (there, here))
    np.testing.assert_array_equal(got, expected)
    with strategy.scope():
        given, targets = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        head = fastw2v.keras.SampledSoftmax(CLASSES, num_sampled=10, seed=1)
        hidden = fastw2v.keras.Embedding(ROWS, DIM)(given)
        model = keras.Model([given, targets], head(hidden, targets))
        optimizer = fastw2v.optimizers.Adagrad(0.5)
        optimizer.build(model.trainable_variables)

    def step():
        with tf.GradientTape() as tape:
            model([tf.constant(ids), tf.constant(labels)], training=True)
            loss = tf.add_n(model.losses)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    losses = [float(on_worker(step)) for _ in range(3)]
    assert losses[-1] < losses[0] - 0.1, losses

print("passed", flush=True)
os._exit(0)  # servers have no way to stop
