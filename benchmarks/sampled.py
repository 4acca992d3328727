"""Sampled losses, forward and backward, the sampler included, against TensorFlow.

TensorFlow is tf.nn.sampled_softmax_loss and tf.nn.nce_loss, and negative sampling composed from
TensorFlow ops, in a tf.function. XLA compiles the composed loss and its gradients; TensorFlow draws
the classes before it, since XLA cannot draw without replacement. All draw from the log-uniform
distribution: without replacement for the first two losses, with it for negative sampling. Labels
are drawn from it too, as words of a text would be.
"""

from __future__ import annotations

import math
from dataclasses import replace

import harness
import numpy as np
import tensorflow as tf
from harness import Case, Step

import fastw2v

_BASE = Case("sampled_softmax_loss", batch=1024, classes=1_000_000, dim=128, sampled=1024)
_FEW = replace(_BASE, sampled=64)
BAR = (
    _BASE,
    replace(_BASE, sampled=8192),
    _FEW,
    replace(_FEW, batch=64),
    replace(_FEW, loss="nce_loss"),
    replace(_FEW, loss="negative_sampling_loss"),
    replace(_BASE, loss="negative_sampling_loss", sampled=5, per_example=True),
)
QUICK = tuple(replace(case, batch=8, classes=500, dim=20, sampled=4) for case in BAR[-4::3])
# One size at a time from a base; S for every loss.
_MIDDLE = replace(_BASE, classes=100_000)
_COUNTS = (16, 64, 256, 1024, 4096, 8192)
SWEEP = tuple(
    dict.fromkeys(
        [replace(_MIDDLE, sampled=s) for s in _COUNTS]
        + [replace(_MIDDLE, loss="nce_loss", sampled=s) for s in _COUNTS]
        + [replace(_MIDDLE, loss="negative_sampling_loss", sampled=s) for s in _COUNTS]
        + [
            replace(_MIDDLE, loss="negative_sampling_loss", sampled=s, per_example=True)
            for s in (5, 16, 64)
        ]
        + [replace(_MIDDLE, classes=v) for v in (10_000, 100_000, 1_000_000)]
        + [replace(_MIDDLE, dim=d) for d in (64, 100, 128, 300, 512, 1024)]
        + [replace(_MIDDLE, batch=b) for b in (1, 8, 64, 512, 1024, 8192)]
    )
)

Drawn = tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]


class Problem:
    """The arguments of a case, and each library's step on them.

    Sampled softmax and NCE have activations and biases; negative sampling has ids of embedding
    rows.
    """

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(1)

        def normal(*shape: int) -> tf.Tensor:
            return tf.constant(rng.standard_normal(shape, np.float32))

        def words() -> tf.Tensor:
            return tf.constant(log_uniform(rng.random(case.batch), case.classes).astype(np.int64))

        self.case = case
        self.gathers = case.loss == "negative_sampling_loss"
        self.labels = words()
        self.weights = tf.Variable(normal(case.classes, case.dim) / case.dim**0.5)
        if self.gathers:
            self.ids = words()
            self.embeddings = tf.Variable(normal(case.classes, case.dim))
            self.sources = [self.embeddings, self.weights]
        else:
            self.hidden = normal(case.batch, case.dim)
            self.biases = tf.Variable(normal(case.classes))
            self.sources = [self.hidden, self.weights, self.biases]
        self._jitted = tf.function(self._composed, jit_compile=True)

    def steps(self) -> dict[str, Step]:
        """One draw, forward and backward of each contestant."""
        return {
            harness.OURS: tf.function(self.fastw2v),
            "TensorFlow": tf.function(self.tensorflow),
            "XLA": tf.function(self.xla),
        }

    def fastw2v(self) -> tuple[tf.Tensor, list]:
        case = self.case
        with tf.GradientTape() as tape:
            if self.gathers:
                loss = fastw2v.negative_sampling_loss(
                    self.embeddings,
                    self.weights,
                    self.ids,
                    self.labels,
                    case.sampled,
                    per_example=case.per_example,
                    reduction="mean",
                )
            else:
                tape.watch(self.hidden)
                function = getattr(fastw2v, case.loss)
                loss = function(**self._tf_nn_arguments(), reduction="mean")
        return loss, tape.gradient(loss, self.sources)

    def tensorflow(self) -> tuple[tf.Tensor, list]:
        if self.gathers:
            return self._composed(self._draw())
        with tf.GradientTape() as tape:
            tape.watch(self.hidden)
            loss = tf.reduce_mean(getattr(tf.nn, self.case.loss)(**self._tf_nn_arguments()))
        return loss, tape.gradient(loss, self.sources)

    def xla(self) -> tuple[tf.Tensor, list]:
        return self._jitted(self._draw())

    def _tf_nn_arguments(self) -> dict:
        return {
            "weights": self.weights,
            "biases": self.biases,
            "labels": self.labels[:, tf.newaxis],
            "inputs": self.hidden,
            "num_sampled": self.case.sampled,
            "num_classes": self.case.classes,
        }

    def _draw(self) -> Drawn:
        """Sampled classes and expected counts, by TensorFlow."""
        case = self.case
        if self.gathers:
            shape = [case.batch, case.sampled] if case.per_example else [case.sampled]
            return log_uniform(tf.random.uniform(shape), case.classes), None, None
        return tf.random.log_uniform_candidate_sampler(
            self.labels[:, tf.newaxis], 1, case.sampled, True, case.classes
        )

    def _composed(self, drawn: Drawn) -> tuple[tf.Tensor, list]:
        with tf.GradientTape() as tape:
            if self.gathers:
                hidden, biases = tf.gather(self.embeddings, self.ids), None
            else:
                tape.watch(self.hidden)
                hidden, biases = self.hidden, self.biases
            losses = composed_loss(self.case.loss, hidden, self.weights, biases, self.labels, drawn)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, self.sources)


def log_uniform(uniform: np.ndarray | tf.Tensor, classes: int) -> np.ndarray | tf.Tensor:
    """Log-uniform classes from uniform numbers in [0, 1): the inverse of the distribution."""
    exponents = uniform * math.log(classes + 1)
    if isinstance(uniform, np.ndarray):
        return np.minimum(np.exp(exponents) - 1, classes - 1)
    return tf.minimum(tf.cast(tf.exp(exponents) - 1, tf.int64), classes - 1)


def composed_loss(
    name: str,
    hidden: tf.Tensor,
    weights: tf.Variable | tf.Tensor,
    biases: tf.Variable | tf.Tensor | None,
    labels: tf.Tensor,
    drawn: Drawn,
) -> tf.Tensor:
    """A sampled loss from TensorFlow ops, one matrix product for all shared classes.

    Args:
        name: "sampled_softmax_loss", "nce_loss" or "negative_sampling_loss", with the defaults of
            that function.
        hidden: Hidden rows [batch, dim].
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None.
        labels: Classes [batch].
        drawn: Sampled classes, [num_sampled] or [batch, num_sampled], with their expected counts.

    Returns:
        The loss of each example in nats, [batch].
    """
    sampled, true_count, sampled_count = drawn
    rows = tf.gather(weights, sampled)
    true_logits = tf.reduce_sum(hidden * tf.gather(weights, labels), axis=1)
    if sampled.shape.rank == 1:
        logits = tf.matmul(hidden, rows, transpose_b=True)
    else:
        logits = tf.reduce_sum(hidden[:, tf.newaxis] * rows, axis=2)
    if biases is not None:
        true_logits += tf.gather(biases, labels)
        logits += tf.gather(biases, sampled)
    if true_count is not None:
        true_logits -= tf.math.log(tf.reshape(true_count, [-1]))
        logits -= tf.math.log(sampled_count)
    if name != "nce_loss":
        hits = sampled == labels[:, tf.newaxis]
        logits = tf.where(hits, tf.constant(-1e9), logits)
    if name == "sampled_softmax_loss":
        logits = tf.concat([true_logits[:, tf.newaxis], logits], axis=1)
        first = tf.zeros_like(labels)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(first, logits)
    return tf.nn.softplus(-true_logits) + tf.reduce_sum(tf.nn.softplus(logits), axis=1)


def steps(case: Case) -> dict[str, Step]:
    return Problem(case).steps()


def main() -> None:
    options = harness.options(__doc__, "sampled", sweep=True)
    harness.run(QUICK if options.quick else SWEEP if options.sweep else BAR, steps, options)


if __name__ == "__main__":
    main()
