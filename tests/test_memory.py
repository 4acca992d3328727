"""Memory: the logits are never stored, and variables are read where they lie."""

from __future__ import annotations

from problems import run_python

MEBIBYTE = 2**20

# Runs in a process of its own, so that the peak is that of what is measured and of nothing before.
MEASURE = """
import numpy as np
import tensorflow as tf
import fastw2v

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024

def added(call):
    # Peak memory of a call beyond what was there before it, in bytes.
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak starts from here
    before = resident("VmRSS:")
    result = call()
    return resident("VmHWM:") - before, result

def variable(*shape):
    return tf.Variable(np.random.default_rng(1).normal(size=shape).astype(np.float32))
"""

EXACT = """
batch, classes, dim = 1024, 200_000, 16
inputs, labels = np.arange(batch), np.arange(batch)

def step(tables, batch):
    with tf.GradientTape() as tape:
        loss = fastw2v.softmax_loss(*tables, inputs[:batch], labels[:batch])
    return tape.gradient(loss, tables)

# What the first call allocates once and for all: threads, code, gradients.
step([variable(batch, dim), variable(batch, dim), variable(batch)], 8)
tables = [variable(batch, dim), variable(classes, dim), variable(classes)]
peak, gradients = added(lambda: step(tables, batch))
assert all(gradient is not None for gradient in gradients)
print(peak - classes * (dim + 1) * 4)  # less the gradients themselves
"""

SPARSE = """
rows, dim = 500_000, 64  # 128 MB
table = variable(rows, dim)
ids = np.arange(1000)
table.scatter_sub(tf.IndexedSlices(tf.zeros([1000, dim]), ids))  # from here dense reads copy
candidates = (np.arange(50), None, None)

def step():
    with tf.GradientTape() as tape:
        loss = fastw2v.softmax_loss(table, table, None, ids, ids, sampled_values=candidates)
    return tape.gradient(loss, table)

step()
ours, gradient = added(step)
assert isinstance(gradient, tf.IndexedSlices)
copied, _ = added(lambda: tf.convert_to_tensor(table))
print(ours, copied)
"""


def measured(script: str) -> list[int]:
    return [int(number) for number in run_python(MEASURE + script).split()]


def test_exact_softmax_adds_less_than_100_mb():
    (added,) = measured(EXACT)
    assert added < 100e6, f"{added / MEBIBYTE:.0f} MiB; the logits would be 781 MiB"


def test_rows_are_read_without_copying_the_table():
    ours, copied = measured(SPARSE)
    table = 500_000 * 64 * 4
    assert copied > 0.9 * table  # what a dense read of such a variable costs
    assert ours < 0.1 * table, f"{ours / MEBIBYTE:.0f} MiB"
