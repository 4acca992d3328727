"""Every op without memory: ResourceExhaustedError, and no variable has changed."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from limits import Call, run_out_of_memory

import fastw2v
from fastw2v._core.library import ops
from fastw2v._losses import parts
from fastw2v._losses.lookup import lookup
from fastw2v.word2vec.training import train_op

rng = np.random.default_rng(0)
BATCH, ROWS, CLASSES, DIM = 100_000, 50_000, 100, 16
OPTIONS = {"reduction": "none"}


def floats(*shape):
    return tf.constant(rng.normal(size=shape), tf.float32)


def ids(high, *shape):
    return tf.constant(rng.integers(high, size=shape))


embeddings = tf.Variable(floats(ROWS, DIM))
weights = tf.Variable(floats(CLASSES, DIM))
biases = tf.Variable(floats(CLASSES))
inputs, labels = ids(ROWS, BATCH), ids(CLASSES, BATCH)
hidden = floats(BATCH, DIM)
sampled = (ids(CLASSES, 20), tf.ones([BATCH, 1]), tf.ones([20]))
upstream = floats(BATCH)  # not that of a sum or mean: the gradient is made anew

optimizer = fastw2v.optimizers.Adam(0.01, lazy=True)
optimizer.build([embeddings, weights, biases])
# One that has pending updates; of another table, as that changes weights before a step.
table = tf.Variable(floats(ROWS, DIM))
accountant = fastw2v.optimizers.Adam(0.01, lazy=False)
accountant.build([table])


def variables():
    return [variable.numpy() for variable in (embeddings, weights, biases)] + [
        np.asarray(variable) for variable in optimizer.variables[2:]
    ]


def loss(**candidates):
    return fastw2v.softmax_loss(
        embeddings, weights, biases, inputs, labels, **candidates, **OPTIONS
    )


def gradient(function):
    with tf.GradientTape(persistent=True) as tape:
        value = function()
    sources = [embeddings, weights, biases]
    return Call(lambda: tape.gradient(value, sources, upstream), variables)


def step(**candidates):
    def make():
        fastw2v.train_step(
            optimizer,
            fastw2v.softmax_loss,
            embeddings,
            weights,
            biases,
            inputs,
            labels,
            **candidates,
        )

    return Call(make, variables)


def gathered():
    return lookup(embeddings, inputs, None)


def gather_gradient():
    with tf.GradientTape(persistent=True) as tape:
        rows = gathered()
    return Call(lambda: tape.gradient(rows, embeddings, hidden))


part = fastw2v.linear_cross_entropy.call(labels, hidden, weights, biases)
part_losses = parts.Losses(*(upstream for _ in range(3)))
slices = tf.IndexedSlices(hidden, inputs, embeddings.shape)
counts = tf.constant(rng.uniform(size=600_000))
text = ids(1000, 200_000)
word_tables = [tf.Variable(floats(1000, DIM)) for _ in range(2)]
noise = train_op.noise_table(np.ones(1000))
words = tf.cast(text, tf.int32)
no_splits, no_keep = tf.zeros([0], tf.int64), tf.zeros([0])
examples = {"window": 5, "shrink_windows": True, "shuffle": False}
seed = tf.constant([1, 2], tf.int64)


growing = fastw2v.keras.GrowingEmbedding(DIM)
growing.build()
follower = fastw2v.optimizers.Adam(0.01)
follower.build(growing.trainable_variables)
new_ids = iter(tf.split(tf.range(10 * BATCH, dtype=tf.int64), 10))  # the table grows each time
many_ids = ids(10**12, 40 * BATCH)


def growing_variables():
    return [np.asarray(each) for each in (*growing.weights[1:], *follower.variables[2:])]


def candidates(sampler):
    return ops.fastw2v_candidate_sampler(
        true_classes=ids(2_000_000, 1, 1),
        seed=seed,
        table=[],
        sampler=sampler,
        num_sampled=400_000,
        range_max=2_000_000,
        unique=True,
        per_example=False,
    )


calls = {
    "SoftmaxLoss": Call(loss),
    "SampledLoss": Call(lambda: loss(sampled_values=sampled)),
    "SoftmaxLossGrad": gradient(loss),
    "SampledLossGrad": gradient(lambda: loss(sampled_values=sampled)),
    "SoftmaxPart": Call(lambda: parts.statistics(part, 0, CLASSES), small=True),
    "SoftmaxPartGrad": Call(lambda: parts.gradients(part, 0, CLASSES, upstream, part_losses)),
    "JoinSoftmaxParts": Call(
        lambda: parts.join(part, tf.zeros([2, 4, BATCH]), [CLASSES // 2, CLASSES // 2]), small=True
    ),
    "SoftmaxStep": step(),
    "SampledStep": step(sampled_values=sampled),
    "Gather": Call(gathered),
    "GatherGrad": gather_gradient(),
    "SparseUpdate": Call(lambda: optimizer.update_step(slices, embeddings, 0.01), variables),
    "ApplyPending": Call(lambda: accountant.apply_pending(table, inputs), small=True),
    "SumRows": Call(lambda: ops.fastw2v_sum_rows(rows=inputs, values=hidden)),
    "TopK": Call(lambda: fastw2v.top_k(hidden, weights, biases, 20)),
    "GiveRows": Call(lambda: growing._rows(next(new_ids), True), growing_variables),
    "FindRows": Call(lambda: growing._rows(many_ids, False)),
    "RenewRows": Call(lambda: follower.apply_pending(growing.embeddings), growing_variables),
    "UnigramTable": Call(
        lambda: ops.fastw2v_unigram_table(counts=counts, power=tf.constant(0.75, tf.float64))
    ),
    "CandidateSampler": Call(lambda: candidates("log_uniform")),
    "KeepProbabilities": Call(
        lambda: ops.fastw2v_keep_probabilities(counts=counts, sample=tf.constant(1e-3, tf.float64))
    ),
    "SkipGrams": Call(lambda: ops.fastw2v_skip_grams(text, no_splits, no_keep, seed, **examples)),
    "CbowBags": Call(lambda: ops.fastw2v_cbow_bags(text, no_splits, no_keep, seed, **examples)),
    "NoiseTable": Call(lambda: train_op.noise_table(counts)),
    "HuffmanTree": Call(lambda: train_op.huffman_tree(counts)),
    "Word2VecTrain": Call(
        lambda: train_op.train_block(
            *word_tables, words, noise=noise, seed=seed, deterministic=True
        ),
        small=True,
    ),
    "InferDocuments": Call(
        lambda: train_op.infer_documents(
            *word_tables,
            tf.repeat(tf.constant([1, -1]), [1, 2_000_000]),
            tf.zeros([2_000_000, DIM]),
            noise=noise,
            seed=seed,
            epochs=1,
        ),
        small=True,
    ),
}
registered = {name.removeprefix("Fastw2v_") for name in dir(ops) if name.startswith("Fastw2v_")}
assert registered == calls.keys()

for call in calls.values():
    call.make()  # what the first call takes once and for all
run_out_of_memory(calls, [2, 8, 32], (tf.errors.ResourceExhaustedError, MemoryError))
