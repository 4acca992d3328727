"""What the core computes, straight from the formulas of csrc/core/loss_formulas.h and gather.h.

Logits are stored. In float64 this is the truth that tests compare with; in float32 it is what a
person would write in NumPy, which the core must not be less accurate than.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class LossProblem:
    """The arguments of a loss; `options` are those of the compiled module, without threads."""

    hidden: np.ndarray  # [batch, dim]
    weights: np.ndarray  # [classes, dim]
    biases: np.ndarray | None  # [classes]
    labels: np.ndarray  # [batch, num_true]
    sampled: np.ndarray | None = None  # [num_sampled] or [batch, num_sampled]; None: exact
    counts: tuple[np.ndarray, np.ndarray] | None = None  # of the shapes of labels and sampled
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossGradients:
    """Gradients of `sum(d_loss * loss)`, zero where a row was not met."""

    d_hidden: np.ndarray
    d_weights: np.ndarray
    d_biases: np.ndarray


def round_bfloat16(x: np.ndarray) -> np.ndarray:
    """Operands of a product in bfloat16, in the type of `x`."""
    return x.astype(np.float32).astype(ml_dtypes.bfloat16).astype(x.dtype)


class StoredLogits:
    """The logits of all candidates, [batch, candidates], and what follows from them."""

    def __init__(self, problem: LossProblem, dtype: type = np.float64) -> None:
        option = problem.options.get
        self.problem = problem
        self.dtype = dtype
        classes = len(problem.weights)
        labels = problem.labels

        present = np.ones(labels.shape, bool)
        if option("ignore_label") is not None:
            present = labels != option("ignore_label")
        self.active = present.any(axis=1)
        self.num_labels = np.maximum(present.sum(axis=1), 1).astype(dtype)

        log_counts = np.zeros((1, 1), dtype)
        if problem.sampled is None:
            self.candidates = np.arange(classes)[np.newaxis]
            self.competes = np.ones((1, classes), bool)
            is_label = self.candidates[:, :, np.newaxis] == labels[:, np.newaxis]
            times_label = (is_label & present[:, np.newaxis]).sum(axis=2)
        else:
            shape = (len(labels), problem.sampled.shape[-1])
            sampled = np.broadcast_to(problem.sampled, shape)
            hits = (sampled[:, :, np.newaxis] == labels[:, np.newaxis]) & present[:, np.newaxis]
            hits = hits.any(axis=2) & bool(option("remove_accidental_hits", False))
            self.candidates = np.concatenate([np.where(present, labels, 0), sampled], axis=1)
            self.competes = np.concatenate([present, ~hits], axis=1)
            times_label = np.concatenate([present, np.zeros(shape)], axis=1)
            if problem.counts is not None:
                true_count, sampled_count = problem.counts
                counts = [true_count, np.broadcast_to(sampled_count, shape)]
                log_counts = np.log(np.concatenate(counts, axis=1).astype(dtype))
        self.times_label = times_label.astype(dtype)

        self.hidden = problem.hidden.astype(dtype)
        weights = problem.weights.astype(dtype)
        if option("compute_dtype", None) == "bfloat16":
            self.hidden, weights = round_bfloat16(self.hidden), round_bfloat16(weights)
        self.scale = dtype(option("logit_scale", 1.0))
        # [batch or 1, candidates, dim]; what does not compete has no row.
        self.rows = np.where(self.competes[:, :, np.newaxis], weights[self.candidates], dtype(0))

        logits = self.scale * (self.rows @ self.hidden[:, :, np.newaxis])[:, :, 0]
        if problem.biases is not None:
            logits = logits + problem.biases.astype(dtype)[self.candidates]
        self.slope = np.ones_like(logits)
        cap = dtype(option("logit_softcap", 0.0))
        if cap != 0:
            tangent = np.tanh(logits / cap)
            logits = cap * tangent
            self.slope = 1 - tangent**2
        if option("margin", 0.0) != 0:
            logits = logits - dtype(option("margin")) * (self.times_label > 0)
        self.logits = np.where(self.competes, logits - log_counts, -np.inf)

        largest = np.max(self.logits, axis=1, keepdims=True)
        exponentials = np.exp(self.logits - largest)
        total = np.sum(exponentials, axis=1, keepdims=True)
        self.log_normalizer = (largest + np.log(total))[:, 0]
        self.softmax = exponentials / total

    def loss(self) -> np.ndarray:
        """Losses [batch] in nats."""
        option = self.problem.options.get
        z, times_label = self.logits, self.times_label
        if option("link", "softmax") == "logistic":
            target = self.dtype(option("positive_target", 1.0))
            terms = np.logaddexp(self.dtype(0), z)
            terms = terms - np.where(times_label > 0, target * times_label * z, 0)
            loss = np.sum(np.where(self.competes, terms, 0), axis=1)
        else:
            smoothing = self.dtype(option("label_smoothing", 0.0))
            true_logits = np.sum(np.where(times_label > 0, times_label * z, 0), axis=1)
            loss = self.log_normalizer - (1 - smoothing) * true_logits / self.num_labels
            if smoothing != 0:
                loss = loss - smoothing * np.mean(z, axis=1)
            if option("z_loss", 0.0) != 0:
                loss = loss + self.dtype(option("z_loss")) * self.log_normalizer**2
        return np.where(self.active, loss, 0).astype(self.dtype)

    def gradients(self, d_loss: np.ndarray) -> LossGradients:
        """Gradients of `sum(d_loss * loss)`."""
        problem, option = self.problem, self.problem.options.get
        if option("link", "softmax") == "logistic":
            target = self.dtype(option("positive_target", 1.0))
            sigmoid = np.exp(-np.logaddexp(self.dtype(0), -self.logits))
            d_logits = sigmoid - target * self.times_label
        else:
            smoothing = self.dtype(option("label_smoothing", 0.0))
            each_label = (1 - smoothing) / self.num_labels[:, np.newaxis]
            d_logits = self.softmax - each_label * self.times_label
            if option("z_loss", 0.0) != 0:
                d_log_normalizer = (
                    2 * self.dtype(option("z_loss")) * self.log_normalizer[:, np.newaxis]
                )
                d_logits = d_logits + d_log_normalizer * self.softmax
            if smoothing != 0:
                d_logits = d_logits - smoothing / self.logits.shape[1]
        d_logits = d_loss.astype(self.dtype)[:, np.newaxis] * d_logits * self.slope
        d_logits = np.where(self.competes & self.active[:, np.newaxis], d_logits, 0)
        d_logits = d_logits.astype(self.dtype)

        d_products = self.scale * d_logits
        d_hidden = (d_products[:, np.newaxis] @ self.rows)[:, 0]
        d_weights = np.zeros(problem.weights.shape, self.dtype)
        d_biases = np.zeros(len(problem.weights), self.dtype)
        if problem.sampled is None:
            d_weights = d_products.T @ self.hidden
            d_biases = d_logits.sum(axis=0)
        else:
            met = np.broadcast_to(self.competes, d_logits.shape)
            terms = d_products[:, :, np.newaxis] * self.hidden[:, np.newaxis]
            np.add.at(d_weights, self.candidates[met], terms[met])
            np.add.at(d_biases, self.candidates[met], d_logits[met])
        return LossGradients(d_hidden, d_weights, d_biases)


def define_loss(
    problem: LossProblem, d_loss: np.ndarray, dtype: type = np.float64
) -> tuple[np.ndarray, LossGradients]:
    """Losses and gradients, computed in `dtype`. NaN and Inf spread without a warning."""
    with np.errstate(all="ignore"):
        logits = StoredLogits(problem, dtype)
        return logits.loss(), logits.gradients(d_loss)


Bags = Sequence[Sequence[int]]


def gather(
    embeddings: np.ndarray, bags: Bags, combiner: str, dtype: type = np.float64
) -> np.ndarray:
    """The sum or mean of the rows that each bag of ids names, [bags, dim]."""
    rows = embeddings.astype(dtype)
    hidden = np.zeros((len(bags), embeddings.shape[1]), dtype)
    for b, bag in enumerate(bags):
        hidden[b] = rows[bag].sum(axis=0) / (len(bag) if combiner == "mean" else 1)
    return hidden


def gather_gradient(
    rows: int, bags: Bags, combiner: str, d_hidden: np.ndarray, dtype: type = np.float64
) -> np.ndarray:
    """The gradient of `sum(d_hidden * gather(embeddings))`, [rows, dim]."""
    d_embeddings = np.zeros((rows, d_hidden.shape[1]), dtype)
    for b, bag in enumerate(bags):
        for i in bag:
            d_embeddings[i] += d_hidden[b].astype(dtype) / (len(bag) if combiner == "mean" else 1)
    return d_embeddings
