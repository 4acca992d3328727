"""Two replicas in this process against none."""

from __future__ import annotations

import contextlib

import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import distribute.programs.steps as steps  # noqa: E402

import fastw2v  # noqa: E402

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

# ---- Every optimizer -----------------------------------------------------------------------------

for name, make in steps.OPTIMIZERS.items():
    for exact in (False, True) if name == "Adam" else (False,):
        how = {"exact": exact, "by_tape": exact or name in ("AdamW", "Adam, use_ema")}
        got, equal = steps.train(make, strategy, **how)
        assert equal, name
        steps.assert_same(got, steps.train(make, **how)[0], name)

# ---- The rule of the mean ------------------------------------------------------------------------

tables = [tf.constant(table) for table in steps.TABLES]
batch = steps.IDS[0], steps.LABELS[0]
shares = [steps.shares_of(strategy, part) for part in batch]


def losses(reduction, **options):
    def loss(ids, labels):
        return fastw2v.softmax_loss(*tables, ids, labels, reduction=reduction, **options)

    parts = strategy.run(loss, shares)
    return float(strategy.reduce("SUM", parts, axis=None)), float(loss(*batch))


for options in (
    {"reduction": "mean"},
    {"reduction": "mean", "ignore_label": -1},
    {"reduction": "sum"},
):
    np.testing.assert_allclose(*losses(**options), rtol=1e-6)
with strategy.scope():  # where no replica runs
    whole = fastw2v.softmax_loss(*tables, *batch, reduction="mean")
np.testing.assert_allclose(whole, losses("mean")[1], rtol=1e-6)

# ---- Rows that replicas read and do not update ---------------------------------------------------

with strategy.scope():
    table = tf.Variable(steps.TABLES[0])
    optimizer = fastw2v.optimizers.Adam(0.1)
    optimizer.build([table])


@tf.function(autograph=False)
def step():
    def replica():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        optimizer.apply_pending(table, [me])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, [me]) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])
        optimizer.apply_pending(table, [7 + me])

    strategy.run(replica)


step()
step()
optimizer.apply_pending(table, [0, 1])
first, second = (copy.numpy() for copy in table.values)
np.testing.assert_array_equal(first[:2], second[:2])
with strategy.scope():
    optimizer.finalize()
first, second = (copy.numpy() for copy in table.values)
np.testing.assert_array_equal(first, second)

# ---- Keras ---------------------------------------------------------------------------------------


def fitted(scope, **options):
    with scope:
        model = steps.model(lambda: fastw2v.optimizers.Adam(0.05), **options)
    history = model.fit(steps.batches(), epochs=2, shuffle=False, verbose=0)
    return [np.asarray(history.history["loss"]), *steps.weights_of(model)]


expected = fitted(contextlib.nullcontext())
for count in (1, 4):  # of 6 steps: the second execution is a short one
    got = fitted(strategy.scope(), steps_per_execution=count)
    if count == 4:  # Keras tells the loss of the last execution
        got, expected = got[1:], expected[1:]
    steps.assert_same(got, expected, f"steps_per_execution = {count}")

# ---- Word vectors --------------------------------------------------------------------------------


def text():
    raise AssertionError("the text was read")
    yield


with strategy.scope():
    try:
        fastw2v.Word2Vec(text(), min_count=1)
    except ValueError as error:
        assert "not by the replicas of MirroredStrategy" in str(error), error
    else:
        raise AssertionError("Word2Vec was not refused")
print("passed")
