"""The adaptive softmax, its gradients, `adaptive_top_k` and `adaptive_log_probabilities` against
NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fuzzing.harness import Case, Fault
from fuzzing.losses import UNITS
from fuzzing.tables import _check, _kept

SECONDS, MEGABYTES = 60.0, 1024.0


class _Problem:
    """Random tables, and what NumPy makes of them."""

    def __init__(self, case: Case) -> None:
        self.dtype = case.one_of("float32", "float32", "float64")
        self.unit = UNITS[self.dtype]
        shortlist, dim, batch = case.size(60), case.size(40), case.size(50)
        sizes = [case.size(200) for _ in range(case.rng.integers(4))]

        def normal(*shape: int) -> np.ndarray:
            return _kept(case.rng.normal(size=shape) * case.one_of(0.1, 1.0), self.dtype)

        rows = shortlist + len(sizes)
        self.head, self.inputs = normal(rows, dim), normal(batch, dim)
        self.biases = normal(rows) if case.chance(0.5) else None
        self.tails = []
        for size in sizes:
            width = case.size(dim)
            self.tails.append((normal(dim, width), normal(size, width)))
        self.bounds = np.cumsum([shortlist, *sizes])
        self.num_classes = int(self.bounds[-1])
        self.logs = self._logs()
        wide = [np.abs(self.inputs) @ np.abs(self.head.T)]
        wide += [np.abs(self.inputs) @ np.abs(p) @ np.abs(w.T) for p, w in self.tails]
        largest = 1 + sum(part.max() for part in wide) + np.abs(self.logs).max()
        self.bound = (2 * dim + self.num_classes + 64) * self.unit * largest

    def _logs(self) -> np.ndarray:
        of_head = self.inputs @ self.head.T + (0 if self.biases is None else self.biases)
        of_head = _log_softmax(of_head)
        shortlist = self.bounds[0]
        parts = [of_head[:, :shortlist]]
        for i, (projection, weights) in enumerate(self.tails):
            inside = _log_softmax(self.inputs @ projection @ weights.T)
            parts.append(of_head[:, [shortlist + i]] + inside)
        return np.concatenate(parts, axis=1)

    def tables(self) -> list[Any]:
        """Head, tails and biases, as variables."""

        def variable(values: np.ndarray) -> tf.Variable:
            return tf.Variable(tf.cast(values, self.dtype))

        tails = [(variable(p), variable(w)) for p, w in self.tails]
        return [variable(self.head), tails, None if self.biases is None else variable(self.biases)]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def case(case: Case) -> None:
    problem = _Problem(case)
    case.one_of(_loss, _loss, _predictions)(case, problem)


def _loss(case: Case, problem: _Problem) -> None:
    batch = len(problem.inputs)
    labels = case.rng.integers(0, problem.num_classes, batch)
    ignored = int(labels[0]) if case.chance(0.3) else None
    weights = case.rng.uniform(0.5, 2, batch) if case.chance(0.4) else np.ones(batch)
    reduction = case.one_of("none", "sum", "mean")
    counts = np.ones(batch) if ignored is None else (labels != ignored).astype(float)
    factors = counts * weights
    if reduction == "mean" and factors.any():
        factors = factors / factors.sum()
    inputs = tf.Variable(tf.cast(problem.inputs, problem.dtype))
    head, tails, biases = problem.tables()

    def run() -> Any:
        with tf.GradientTape() as tape:
            loss = fastw2v.adaptive_softmax_loss(
                labels,
                inputs,
                head,
                tails,
                biases,
                sample_weight=None if np.all(weights == 1) else weights,
                ignore_label=ignored,
                reduction=reduction,
            )
        return loss, tape.gradient(loss, [inputs, head])

    if case.chance(0.1):
        run = tf.function(run, jit_compile=case.chance(0.3))
    loss, (d_inputs, d_head) = run()
    of_labels = -np.take_along_axis(problem.logs, labels[:, np.newaxis], 1)[:, 0]
    expected = factors * of_labels
    total = max(1.0, factors.sum())
    expected = expected if reduction == "none" else np.asarray(expected.sum())
    _check("the adaptive loss", loss, expected, 2 * total * problem.bound)
    gradient = np.exp(problem.logs)
    gradient[np.arange(batch), labels] -= 1
    gradient *= factors[:, np.newaxis]
    wanted, d_hidden = _gradients(problem, gradient)
    size = 2 * (1 + np.abs(problem.head).max() + np.abs(problem.inputs).max()) * total
    size *= 1 + sum(np.abs(p).max() * np.abs(w).max() * w.shape[1] for p, w in problem.tails)
    _check("the gradient of the inputs", d_inputs, d_hidden, size * problem.bound)
    _check("the gradient of the head", tf.convert_to_tensor(d_head), wanted, size * problem.bound)


def _gradients(problem: _Problem, d_logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the head and of the inputs, where ``d_logs`` is that of classes' logits: within a cluster
    its sum is that of the cluster's logit in the head."""
    pieces = np.split(d_logs, problem.bounds[:-1], axis=1)
    d_head = [pieces[0]]
    d_hidden = np.zeros_like(problem.inputs)
    logs = np.split(problem.logs, problem.bounds[:-1], axis=1)
    for piece, log, (projection, weights) in zip(pieces[1:], logs[1:], problem.tails, strict=True):
        d_head.append(piece.sum(axis=1, keepdims=True))
        given = np.exp(_log_softmax(log))  # the cluster
        inside = piece - given * piece.sum(axis=1, keepdims=True)  # 0 where the label is not there
        d_hidden += inside @ weights @ projection.T
    d_head_logits = np.concatenate(d_head, axis=1)
    return d_head_logits.T @ problem.inputs, d_hidden + d_head_logits @ problem.head


def _predictions(case: Case, problem: _Problem) -> None:
    head, tails, biases = problem.tables()
    inputs = tf.cast(problem.inputs, problem.dtype)
    logs = fastw2v.adaptive_log_probabilities(inputs, head, tails, biases)
    _check("logarithms of probabilities", logs, problem.logs, 2 * problem.bound)
    k = case.size(problem.num_classes)
    values, classes = (
        part.numpy() for part in fastw2v.adaptive_top_k(inputs, head, tails, biases, k)
    )
    _check("adaptive_top_k", values, -np.sort(-problem.logs, axis=1)[:, :k], 2 * problem.bound)
    of_classes = np.take_along_axis(problem.logs, classes, 1)
    _check("of the classes of adaptive_top_k", of_classes, values, 2 * problem.bound)
    if any(len(set(row)) != k for row in classes.tolist()):
        raise Fault(f"adaptive_top_k gives a class twice: {classes}")
