"""Every loss and its gradients in NumPy and float64, from the formulas, with bounds on what
rounding in a narrower type may change.

Nothing is shared with the package or its reference. Of each example a list of candidate classes
competes: all of them, or its labels and the sampled ones. With h the hidden row,

    s = scale * h @ w[c] + b[c],   z = cap * tanh(s / cap) - log(expected count) - margin,

the margin where c is a label and all classes compete, a softmax loss is ``logsumexp(z) - sum(q z)
+ z_loss * logsumexp(z)**2`` with targets q, and a logistic one ``sum(softplus(z) - t z)``. Bounds
follow the usual analysis of rounding errors: a sum of n terms is off by at most (n + a few) * unit
* (sum of the absolute terms), where ``unit`` is half the distance of 1 from the next number of the
type.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

BFLOAT16_UNIT = 2.0**-8
_FEW = 16  # roundings of exp, log and tanh, and of what else is not a sum


@dataclass(frozen=True)
class Bounded:
    """Numbers, and by how much a computation in a narrower type may be off."""

    value: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True)
class Problem:
    """One batch. Shapes: hidden [B, D], weights [V, D], biases [V], labels [B, T].

    Attributes:
        hidden_bound: How far the hidden rows may be off.
        sampled: Classes [S] for all examples or [B, S], None where all classes compete.
        counts: Expected counts of labels [B, T] and of sampled classes, or None.
        logistic: Whether the loss is logistic; ``target`` is the target of its labels.
        upstream: [B], a factor on each loss before gradients are taken.
    """

    hidden: np.ndarray
    hidden_bound: np.ndarray
    weights: np.ndarray
    biases: np.ndarray | None
    labels: np.ndarray
    upstream: np.ndarray
    sampled: np.ndarray | None = None
    counts: tuple[np.ndarray, np.ndarray] | None = None
    logistic: bool = False
    target: float = 1.0
    remove_accidental_hits: bool = False
    ignore_label: int | None = None
    label_smoothing: float = 0.0
    margin: float = 0.0
    logit_scale: float = 1.0
    logit_softcap: float | None = None
    z_loss: float = 0.0
    bfloat16: bool = False


def solve(problem: Problem, unit: float) -> dict[str, Bounded]:
    """The losses [B] and d_hidden, d_weights and d_biases, with bounds for that unit."""
    p = problem
    hidden, weights = p.hidden, p.weights
    hidden_bound = p.hidden_bound
    if p.bfloat16:
        # A number between two of bfloat16 may be rounded to the other one.
        exact = hidden_bound == 0
        hidden_bound = np.where(exact, 0, hidden_bound + 2 * BFLOAT16_UNIT * np.abs(hidden))
        hidden, weights = _rounded(hidden), _rounded(weights)
    width = hidden.shape[1]
    present = np.ones(p.labels.shape, bool)
    if p.ignore_label is not None:
        present = p.labels != p.ignore_label
    labels = np.where(present, p.labels, 0)
    classes, competes, subtracted = _candidates(p, labels, present)

    rows = weights[classes]  # [B, n, D]
    biases = np.zeros(classes.shape) if p.biases is None else p.biases[classes]
    s = p.logit_scale * np.einsum("bd,bnd->bn", hidden, rows) + biases
    size = np.einsum("bd,bnd->bn", np.abs(hidden), np.abs(rows))
    s_bound = abs(p.logit_scale) * (
        (width + _FEW) * unit * size + np.einsum("bd,bnd->bn", hidden_bound, np.abs(rows))
    ) + _FEW * unit * (np.abs(biases) + np.abs(s))
    z, slope, z_bound, slope_bound = _capped(s, s_bound, p.logit_softcap, unit)
    z = z - subtracted
    z_bound = z_bound + _FEW * unit * (np.abs(subtracted) + np.abs(z))
    loss, d = (_logistic if p.logistic else _softmax)(
        p, labels, present, competes, z, z_bound, unit
    )
    some = present.any(axis=1)
    loss = Bounded(np.where(some, loss.value, 0), np.where(some, loss.bound, 0))
    alive = some[:, np.newaxis] & competes
    factor = p.upstream[:, np.newaxis]
    d_s = np.where(alive, factor * d.value * slope, 0)
    d_s_bound = np.where(
        alive,
        np.abs(factor)
        * (d.bound * slope + np.abs(d.value) * slope_bound + _FEW * unit * np.abs(d.value) * slope),
        0,
    )
    if p.bfloat16:
        # Operands of the products that give gradients may be rounded too.
        d_s_bound = d_s_bound + 2 * BFLOAT16_UNIT * np.abs(d_s)
    return {
        "loss": loss,
        "hidden": _d_hidden(p, rows, d_s, d_s_bound, unit),
        "weights": _d_weights(p, classes, hidden, hidden_bound, d_s, d_s_bound, unit),
        "biases": _d_biases(p, classes, d_s, d_s_bound, unit),
    }


def _candidates(
    p: Problem, labels: np.ndarray, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes [B, n], which of them compete, and what is subtracted from their logits."""
    batch = len(labels)
    if p.sampled is None:
        shape = (batch, len(p.weights))
        subtracted = np.zeros(shape)
        subtracted[np.nonzero(present)[0], labels[present]] = p.margin
        return np.tile(np.arange(shape[1]), (batch, 1)), np.ones(shape, bool), subtracted
    sampled = np.broadcast_to(p.sampled, (batch, p.sampled.shape[-1]))
    stays = np.ones(sampled.shape, bool)
    if p.remove_accidental_hits:
        hits = (sampled[:, :, None] == labels[:, None, :]) & present[:, None, :]
        stays = ~hits.any(axis=2)
    classes = np.concatenate([labels, sampled], axis=1)
    subtracted = np.zeros(classes.shape)
    if p.counts is not None:
        true, drawn = (np.log(count.astype(np.float64)) for count in p.counts)
        subtracted = np.concatenate([true, np.broadcast_to(drawn, sampled.shape)], axis=1)
    return classes, np.concatenate([present, stays], axis=1), subtracted


def _capped(
    s: np.ndarray, s_bound: np.ndarray, cap: float | None, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if cap is None:
        return s, np.ones(s.shape), s_bound, np.zeros(s.shape)
    t = np.tanh(s / cap)
    slope = 1 - t * t
    # The slope is at most 1, and by the mean value theorem that bounds the error everywhere.
    steepest = np.minimum(1, slope + 2 * s_bound / cap)
    t_bound = steepest * s_bound / cap + _FEW * unit * np.abs(t)
    return cap * t, slope, cap * t_bound, 2 * np.abs(t) * t_bound + t_bound**2 + _FEW * unit


def _softmax(
    p: Problem,
    labels: np.ndarray,
    present: np.ndarray,
    competes: np.ndarray,
    z: np.ndarray,
    z_bound: np.ndarray,
    unit: float,
) -> tuple[Bounded, Bounded]:
    batch, n = z.shape
    targets = _targets(p, labels, present, n)
    z = np.where(competes, z, -np.inf)
    largest = np.max(z, axis=1, initial=-np.inf)
    largest = np.where(np.isfinite(largest), largest, 0)[:, np.newaxis]
    below = np.where(competes, largest - z, 0)
    exps = np.where(competes, np.exp(-below), 0)
    total = exps.sum(axis=1, keepdims=True)
    total = np.where(total > 0, total, 1)
    log_sum = np.log(total)
    lse = log_sum + largest
    shares = exps / total
    worst = np.max(np.where(competes, z_bound, 0), axis=1, initial=0)[:, np.newaxis]
    value = (log_sum + (targets * below).sum(axis=1, keepdims=True) + p.z_loss * lse**2)[:, 0]
    below_bound = _FEW * unit * below
    share_bound = shares * (2 * worst + (n + _FEW) * unit + below_bound) + 1e-37
    bound = (
        2 * worst
        + (n + _FEW) * unit * (1 + log_sum + (targets * below).sum(axis=1, keepdims=True))
        + p.z_loss * (2 * np.abs(lse) + worst) * (worst + (n + _FEW) * unit * (1 + np.abs(lse)))
        + p.z_loss * _FEW * unit * lse**2
    )[:, 0]
    pull = 1 + 2 * p.z_loss * lse
    d = shares * pull - targets
    d_bound = (
        share_bound * np.abs(pull)
        + shares * 2 * p.z_loss * (worst + (n + _FEW) * unit * (1 + np.abs(lse)))
        + _FEW * unit * (shares * np.abs(pull) + targets)
    )
    return Bounded(value, bound), Bounded(d, d_bound)


def _targets(p: Problem, labels: np.ndarray, present: np.ndarray, n: int) -> np.ndarray:
    batch, num_true = labels.shape
    each = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
    targets = np.zeros((batch, n))
    if p.sampled is not None:
        targets[:, :num_true] = each
        return targets
    np.add.at(targets, (np.arange(batch)[:, np.newaxis], labels), each)
    return (1 - p.label_smoothing) * targets + p.label_smoothing / n


def _logistic(
    p: Problem,
    labels: np.ndarray,
    present: np.ndarray,
    competes: np.ndarray,
    z: np.ndarray,
    z_bound: np.ndarray,
    unit: float,
) -> tuple[Bounded, Bounded]:
    targets = np.zeros(z.shape)
    targets[:, : labels.shape[1]] = p.target
    safe = np.where(competes, z, 0)
    softplus = np.logaddexp(0, safe)
    exp = np.exp(-np.abs(safe))
    sigmoid = np.where(safe >= 0, 1, exp) / (1 + exp)
    terms = np.where(competes, softplus - targets * safe, 0)
    off = np.abs(sigmoid - targets) * z_bound + z_bound**2
    off += _FEW * unit * (softplus + targets * np.abs(safe))
    n = z.shape[1]
    bound = np.where(competes, off, 0).sum(axis=1) + (n + _FEW) * unit * np.abs(terms).sum(axis=1)
    d_bound = sigmoid * (1 - sigmoid) * z_bound + z_bound**2
    d_bound += _FEW * unit * (sigmoid + targets)
    return Bounded(terms.sum(axis=1), bound), Bounded(sigmoid - targets, d_bound)


def _d_hidden(
    p: Problem, rows: np.ndarray, d_s: np.ndarray, d_s_bound: np.ndarray, unit: float
) -> Bounded:
    value = p.logit_scale * np.einsum("bn,bnd->bd", d_s, rows)
    size = np.einsum("bn,bnd->bd", np.abs(d_s), np.abs(rows))
    bound = np.einsum("bn,bnd->bd", d_s_bound, np.abs(rows))
    return Bounded(
        value, abs(p.logit_scale) * (bound + (d_s.shape[1] + _FEW) * unit * size) + 1e-37
    )


def _d_weights(
    p: Problem,
    classes: np.ndarray,
    hidden: np.ndarray,
    hidden_bound: np.ndarray,
    d_s: np.ndarray,
    d_s_bound: np.ndarray,
    unit: float,
) -> Bounded:
    value, bound = np.zeros(p.weights.shape), np.zeros(p.weights.shape)
    terms = d_s[:, :, np.newaxis] * hidden[:, np.newaxis, :]
    np.add.at(value, classes, p.logit_scale * terms)
    off = d_s_bound[:, :, np.newaxis] * np.abs(hidden)[:, np.newaxis, :]
    off += np.abs(d_s)[:, :, np.newaxis] * hidden_bound[:, np.newaxis, :]
    off += (d_s.size / max(len(p.weights), 1) + len(d_s) + _FEW) * unit * np.abs(terms)
    np.add.at(bound, classes, abs(p.logit_scale) * off)
    return Bounded(value, bound + 1e-37)


def _d_biases(
    p: Problem, classes: np.ndarray, d_s: np.ndarray, d_s_bound: np.ndarray, unit: float
) -> Bounded:
    value, bound = np.zeros(len(p.weights)), np.zeros(len(p.weights))
    np.add.at(value, classes, d_s)
    np.add.at(bound, classes, d_s_bound + (d_s.size + _FEW) * unit * np.abs(d_s))
    return Bounded(value, bound + 1e-37)


def _rounded(values: np.ndarray) -> np.ndarray:
    # By way of float32, which the tables are in.
    return values.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)
