"""The softmax over the candidates of a batch, and metrics of rankings, against NumPy's float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fuzzing.harness import Case, Fault
from fuzzing.losses import UNITS

SECONDS, MEGABYTES = 60.0, 1024.0
_FEW = 24  # roundings of what is not a sum


def case(case: Case) -> None:
    if case.chance(0.25):
        _ranking(case)
    else:
        _pairs(case)


# ---- The loss ------------------------------------------------------------------------------------


def _pairs(case: Case) -> None:
    rng = case.rng
    hard = case.one_of(None, None, case.size(40))
    # Rounding may change which negatives are the hardest.
    dtype = "float64" if hard is not None else case.one_of("float64", "float32")
    batch, width, more = case.size(300), case.size(70), case.one_of(0, case.size(200))
    spread = case.one_of(0.3, 1.0, 4.0) / width**0.25

    def table(rows: int) -> np.ndarray:
        return (spread * rng.normal(size=(rows, width))).astype(dtype)

    queries, pool = table(batch), table(batch + more)
    options: dict[str, Any] = {"num_hard_negatives": hard, "symmetric": case.chance(0.3)}
    temperature = options["temperature"] = case.one_of(1.0, 0.5, 4.0)
    ids = rng.integers(case.size(2 * batch), size=batch + more) if case.chance(0.6) else None
    log_q = None
    if case.chance(0.5):
        log_q = rng.normal(0, 2, size=batch + more).astype(dtype)
    given = dict(options)
    words = ids is not None and case.chance(0.2)
    for name, other, values in (
        ("candidate_ids", "negative_ids", ids.astype(str) if words else ids),
        ("log_q", "negative_log_q", log_q),
    ):
        if values is not None:
            given[name] = values[:batch]
            if more:
                given[other] = values[batch:]
    sources = [tf.constant(queries), tf.constant(pool[:batch])]
    if more:
        sources.append(tf.constant(pool[batch:]))
    upstream = rng.normal(size=batch).astype(dtype)

    def run() -> tuple[tf.Tensor, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            negatives = {"negatives": sources[2]} if more else {}
            losses = fastw2v.in_batch_softmax_loss(*sources[:2], **negatives, **given)
        return losses, tape.gradient(losses, sources, output_gradients=tf.constant(upstream))

    if case.chance(0.2):
        run = tf.function(run, jit_compile=not words and case.chance(0.2))
    losses, gradients = run()
    found = [losses, *map(tf.convert_to_tensor, gradients)]
    names = ["loss", "gradient of queries", "gradient of candidates", "gradient of negatives"]
    unit = UNITS[dtype]
    scaled, pool = queries.astype(np.float64) / temperature, pool.astype(np.float64)
    wanted = _one_way(scaled, pool, ids, log_q, hard, upstream, unit)
    if options["symmetric"]:
        own = None if ids is None else ids[:batch]
        back = _one_way(pool[:batch], scaled, own, None, hard, upstream, unit)
        loss, d_queries, d_pool = (each / 2 for each in wanted)
        d_pool[:, :batch] += back[1] / 2
        wanted = loss + back[0] / 2, d_queries + back[2] / 2, d_pool
    loss, d_queries, d_pool = wanted
    parts = [loss, d_queries / temperature, d_pool[:, :batch], d_pool[:, batch:]]
    for name, value, (right, bound) in zip(names, found, parts, strict=False):
        error = np.abs(value.numpy() - right)
        if not np.all(error <= bound + 1e-37):  # NaN is not
            worst = np.unravel_index(
                np.argmax(np.nan_to_num(error - bound, nan=np.inf)), bound.shape
            )
            raise Fault(
                f"in_batch_softmax_loss: the {name} is {value.numpy()[worst]} at {worst}, not "
                f"{right[worst]} within {bound[worst]:.2g}: {dtype}, {options}"
            )


def _one_way(
    queries: np.ndarray,
    pool: np.ndarray,
    ids: np.ndarray | None,
    log_q: np.ndarray | None,
    hard: int | None,
    upstream: np.ndarray,
    unit: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The losses and the gradients of queries and of the pool, each beside a bound of how far
    rounding may take it, [2, ...]."""
    batch, width = queries.shape
    rows = np.arange(batch)
    size = np.abs(queries) @ np.abs(pool).T
    z = queries @ pool.T
    if log_q is not None:
        z, size = z - log_q, size + np.abs(log_q)
    competes = np.ones(z.shape, bool)
    if ids is not None:
        competes = ids[:batch, np.newaxis] != ids
    competes[rows, rows] = False
    if hard is not None:
        others = np.where(competes, z, -np.inf)
        order = np.argsort(-others, axis=1, kind="stable")
        competes[rows[:, np.newaxis], order[:, hard:]] = False
    competes[rows, rows] = True
    z_bound = np.max(np.where(competes, size, 0), axis=1) * (width + _FEW) * unit
    largest = np.max(np.where(competes, z, -np.inf), axis=1, keepdims=True)
    exps = np.where(competes, np.exp(np.where(competes, z, largest) - largest), 0)
    total = exps.sum(axis=1)
    loss = np.log(total) + largest[:, 0] - z[rows, rows]
    roundings = (z.shape[1] + _FEW) * unit
    loss_bound = 2 * z_bound + roundings * (1 + np.abs(loss))
    d = exps / total[:, np.newaxis]
    d_bound = d * (2 * z_bound[:, np.newaxis] + 2 * roundings)
    d[rows, rows] -= 1
    d_bound[rows, rows] += _FEW * unit
    d *= upstream[:, np.newaxis]
    d_bound *= np.abs(upstream)[:, np.newaxis]
    d_bound += (z.size / batch + batch + _FEW) * unit * np.abs(d)
    return (
        np.stack([loss, loss_bound]),
        np.stack([d @ pool, d_bound @ np.abs(pool)]),
        np.stack([d.T @ queries, d_bound.T @ np.abs(queries)]),
    )


# ---- Metrics -------------------------------------------------------------------------------------


def _ranking(case: Case) -> None:
    rng = case.rng
    items, length = case.size(50, 3), case.size(20, 1)
    length = min(length, items)
    k = case.one_of(None, case.size(length))
    kinds = ("RecallAtK", "MeanReciprocalRank", "NDCG")
    metrics = {name: getattr(fastw2v.keras, name)(k) for name in kinds}
    sums, total = dict.fromkeys(kinds, 0.0), 0.0
    for _ in range(case.size(4)):
        batch, num_true = case.size(40), case.size(5)
        ranked = np.stack([rng.permutation(items)[:length] for _ in range(batch)])
        relevant = rng.integers(-items // 2, items, size=(batch, num_true))
        weight = rng.uniform(size=batch) * (rng.random(batch) < 0.7)
        for metric in metrics.values():
            metric.update_state(relevant, ranked, weight)
        for b in range(batch):
            wanted = {item for item in relevant[b].tolist() if item >= 0}
            if not wanted:
                continue
            hits = np.isin(ranked[b, :k], list(wanted))
            ranks = 1.0 + np.arange(len(hits))
            gains = 1 / np.log2(ranks + 1)
            sums["RecallAtK"] += weight[b] * hits.sum() / len(wanted)
            sums["MeanReciprocalRank"] += weight[b] * np.max(hits / ranks)
            sums["NDCG"] += weight[b] * (hits @ gains) / gains[: len(wanted)].sum()
            total += weight[b]
    for name, metric in metrics.items():
        right = sums[name] / total if total else 0.0
        if not abs(float(metric.result()) - right) <= 1e-6:
            raise Fault(f"{name}({k}) is {float(metric.result())}, not {right}")
