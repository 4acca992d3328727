"""Trains skip-gram word vectors with the fused sampled softmax, in a plain TensorFlow loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from fastw2v.ops import softmax_loss
from fastw2v.word2vec.corpus import Corpus
from fastw2v.word2vec.skipgrams import skipgram_batches
from fastw2v.word2vec.vectors import WordVectors

_REPORT_SECONDS = 0.5
_CLOCK_FROM = 0.1  # the share of the time after which being late shortens the training


@dataclass(frozen=True)
class Progress:
    """How far training has come.

    Attributes:
        done: The share of the work, or of the time if that runs out earlier, in [0, 1].
        epochs: Passes over the text so far, with a fraction.
        examples: Pairs trained on so far.
        loss: Mean sampled loss in nats, of the last hundred steps or so.
        seconds: Since training began.
    """

    done: float
    epochs: float
    examples: int
    loss: float
    seconds: float


def train(
    corpus: Corpus,
    *,
    vector_size: int = 100,
    window: int = 5,
    sample: float = 1e-3,
    alpha: float = 0.025,
    min_alpha: float = 0.0001,
    epochs: int = 5,
    num_sampled: int = 64,
    batch_size: int = 1024,
    seed: int = 1,
    max_seconds: float = math.inf,
    report: Callable[[Progress], None] = lambda progress: None,
) -> WordVectors:
    """Trains skip-gram word vectors.

    Each word predicts the words around it by a softmax over the vocabulary, of which the fused loss
    looks at the word to predict and at a sample. The update is stochastic gradient descent: each
    pair moves its rows by the learning rate times its gradient, whatever the size of the batch.

    Args:
        corpus: The text.
        vector_size: Width D of the vectors, at least 1.
        window: The largest distance between a word and the one it predicts, at least 1.
        sample: Threshold above which frequent words are thinned out, in [0, 1); 0 keeps all.
        alpha: Learning rate at the beginning, above 0.
        min_alpha: Learning rate at the end, reached in equal steps.
        epochs: Passes over the text, at least 1.
        num_sampled: Sampled words for each batch, in [1, V).
        batch_size: Pairs in a step, at least 1.
        seed: Decides the result, as long as ``max_seconds`` does not.
        max_seconds: Ends training earlier: the learning rate then falls with the time.
        report: Called about twice a second and at the end.

    Returns:
        The vectors, in the order of the vocabulary.

    Raises:
        ValueError: An argument is out of its range, no word of the text has another one near it, or
            the loss is no longer finite.

    Source: Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space",
    section 3.2; sampled softmax by Jean et al. 2015, "On Using Very Large Target Vocabulary for
    Neural Machine Translation", section 3.
    """
    for name, value in (
        ("vector_size", vector_size),
        ("window", window),
        ("epochs", epochs),
        ("batch_size", batch_size),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    for name, value in (("alpha", alpha), ("max_seconds", max_seconds)):
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be above 0")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed is {seed}; it must be in [0, 2**63)")
    if not 1 <= num_sampled < len(corpus.vocabulary):
        raise ValueError(
            f"num_sampled is {num_sampled}; it must be at least 1 and less than the number of "
            f"words in the vocabulary, {len(corpus.vocabulary)}"
        )

    rng = np.random.default_rng(seed)
    shape = len(corpus.vocabulary), vector_size
    initial = (rng.random(shape, dtype=np.float32) - 0.5) / vector_size
    embeddings = tf.Variable(initial, name="embeddings")
    weights = tf.Variable(tf.zeros(shape), name="weights")
    biases = tf.Variable(tf.zeros(shape[:1]), name="biases")
    variables = embeddings, weights, biases

    ids = tf.TensorSpec([None], tf.int64)

    @tf.function(
        input_signature=[ids, ids, tf.TensorSpec([], tf.float32), tf.TensorSpec([2], tf.int64)],
        autograph=False,
    )
    def step(
        centres: tf.Tensor, contexts: tf.Tensor, rate: tf.Tensor, step_seed: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = softmax_loss(
                embeddings,
                weights,
                biases,
                centres,
                contexts,
                num_sampled=num_sampled,
                reduction="sum",
                seed=step_seed,
            )
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.scatter_sub(tf.IndexedSlices(rate * gradient.values, gradient.indices))
        return loss / tf.cast(tf.size(centres), loss.dtype)

    examples = steps = 0
    mean_loss = 0.0
    begin = time.monotonic()
    reported = 0.0
    for centres, contexts, epochs_done in _passes(corpus, window, sample, batch_size, epochs, rng):
        seconds = time.monotonic() - begin
        done = epochs_done / epochs
        time_over = min(seconds / max_seconds, 1.0)
        # Not earlier: the first steps are slow, and the clock must not touch a run that has time.
        if time_over > max(done, _CLOCK_FROM):
            done = time_over
        rate = alpha + (min_alpha - alpha) * done
        loss = float(step(centres, contexts, rate, np.array([seed, steps])))
        steps += 1
        examples += len(centres)
        mean_loss += (loss - mean_loss) / min(steps, 100)
        if done == 1 or seconds - reported > _REPORT_SECONDS:
            if not math.isfinite(mean_loss):
                raise ValueError(f"the loss is {loss} with alpha = {alpha}: take a smaller alpha")
            report(Progress(max(done, time_over), epochs_done, examples, mean_loss, seconds))
            reported = seconds
        if done == 1:
            break
    if not steps:
        raise ValueError("the text has no two words within one sentence to learn from")
    return WordVectors(corpus.vocabulary.words, embeddings.numpy())


def _passes(
    corpus: Corpus,
    window: int,
    sample: float,
    batch_size: int,
    epochs: int,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yields the batches of all passes, with the number of passes done."""
    for epoch in range(epochs):
        for centres, contexts, share in skipgram_batches(corpus, window, sample, batch_size, rng):
            yield centres, contexts, epoch + share
