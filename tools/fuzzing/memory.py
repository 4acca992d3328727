"""Loops of calls: the resident memory of the process does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fastw2v.word2vec.corpus import read_corpus
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 3600.0, 4096.0
_ALLOWED_MEGABYTES = 8.0  # what allocators keep, now and then
_ROWS, _WIDTH, _BATCH = 500, 16, 32


def case(case: Case) -> None:
    """The second half of the calls must not need more than the first."""
    name = case.one_of(*LOOPS)
    call = LOOPS[name](case)
    for _ in range(max(1, case.calls // 2)):
        call()
    before = _resident_megabytes()
    for _ in range(max(1, case.calls // 2)):
        call()
    grown = _resident_megabytes() - before
    if grown > _ALLOWED_MEGABYTES:
        raise Fault(f"{name}: {case.calls // 2} calls took {grown:.1f} MB")


def _resident_megabytes() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def _tables() -> tuple[tf.Variable, tf.Variable]:
    return tuple(tf.Variable(tf.random.normal([_ROWS, _WIDTH])) for _ in range(2))


def _gradients(loss: Callable[..., tf.Tensor], **options: Any) -> Callable[[Case], Callable]:
    def make(case: Case) -> Callable[[], Any]:
        embeddings, weights = _tables()

        def call() -> Any:
            ids = case.rng.integers(0, _ROWS, (2, case.size(_BATCH)))
            with tf.GradientTape() as tape:
                value = loss(embeddings, weights, ids[0], ids[1], **options)
            return tape.gradient(value, [embeddings, weights])

        return call

    return make


def _exact(embeddings: Any, weights: Any, inputs: Any, labels: Any, **options: Any) -> tf.Tensor:
    return fastw2v.softmax_loss(embeddings, weights, None, inputs, labels, **options)


def _linear(embeddings: Any, weights: Any, inputs: Any, labels: Any) -> tf.Tensor:
    return fastw2v.linear_cross_entropy(labels, tf.gather(embeddings, inputs), weights)


def _step(optimizer: str) -> Callable[[Case], Callable]:
    def make(case: Case) -> Callable[[], Any]:
        embeddings, weights = _tables()
        made = getattr(fastw2v.optimizers, optimizer)(0.01)

        def call() -> Any:
            ids = case.rng.integers(0, _ROWS, (2, case.size(_BATCH)))
            loss = fastw2v.negative_sampling_loss
            return fastw2v.train_step(made, loss, embeddings, weights, *ids, 5)

        return call

    return make


def _function(case: Case) -> Callable[[], Any]:
    embeddings, weights = _tables()
    loss = tf.function(lambda ids: _exact(embeddings, weights, ids, ids), reduce_retracing=True)
    return lambda: loss(tf.constant(case.rng.integers(0, _ROWS, _BATCH)))


def _top_k(case: Case) -> Callable[[], Any]:
    embeddings, weights = _tables()
    return lambda: fastw2v.top_k(embeddings[: case.size(_BATCH)], weights, k=10)


def _refused(case: Case) -> Callable[[], Any]:
    embeddings, weights = _tables()

    def call() -> None:
        try:
            _exact(embeddings, weights, [1], [_ROWS])
        except tf.errors.InvalidArgumentError:
            return
        raise Fault("a label out of range is not refused")

    return call


def _sampler(case: Case) -> Callable[[], Any]:
    counts = np.arange(1, _ROWS)
    return lambda: fastw2v.samplers.Unigram(counts).sample([[0]], 20)


def _skipgrams(case: Case) -> Callable[[], Any]:
    ids = case.rng.integers(0, _ROWS, 500)
    return lambda: fastw2v.data.skipgrams(ids, 5, shuffle=True)


def _queries(case: Case) -> Callable[[], Any]:
    vectors = np.random.default_rng(1).normal(size=(_ROWS, _WIDTH)).astype(np.float32)
    made = fastw2v.WordVectors([f"w{row}" for row in range(_ROWS)], vectors)
    return lambda: made.most_similar(f"w{case.size(_ROWS) - 1}", topn=5)


def _files(case: Case) -> Callable[[], Any]:
    vectors = np.random.default_rng(1).normal(size=(50, _WIDTH)).astype(np.float32)
    made = fastw2v.WordVectors([f"w{row}" for row in range(50)], vectors)
    path = case.directory / case.one_of("v.txt", "v.bin", "v.npz")

    def call() -> Any:
        made.save(path)
        return fastw2v.WordVectors.load(path)

    return call


def _corpus(case: Case) -> Callable[[], Any]:
    text = [["a", "b", "c"] * 20] * 5
    return lambda: read_corpus(text, min_count=1)


def _model(case: Case) -> Callable[[], Any]:
    model = fastw2v.Word2Vec([["a", "b", "c"] * 20] * 5, vector_size=8, min_count=1, sample=0)
    return lambda: model.train(epochs=1)


LOOPS: dict[str, Callable[[Case], Callable[[], Any]]] = {
    "softmax_loss": _gradients(_exact),
    "softmax_loss, sampled": _gradients(_exact, num_sampled=20),
    "linear_cross_entropy": _gradients(_linear),
    "negative_sampling_loss": _gradients(fastw2v.negative_sampling_loss, num_sampled=5),
    "a loss in a function": _function,
    "a loss that is refused": _refused,
    "train_step, SGD": _step("SGD"),
    "train_step, Adam": _step("Adam"),
    "train_step, Adagrad": _step("Adagrad"),
    "top_k": _top_k,
    "a sampler": _sampler,
    "skipgrams": _skipgrams,
    "queries": _queries,
    "files of vectors": _files,
    "read_corpus": _corpus,
    "training": _model,
}
