"""Tables that grow, under random rules, ids and optimizers, against a dictionary of NumPy's rows.
At times the state goes to a new layer and a new optimizer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import fastw2v
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 60.0, 1024.0
_RATE = 0.125
_LOOKS = 16


def case(case: Case) -> None:
    rules = {"min_count": case.one_of(1, 1, 2, 4), "mask_zero": case.chance(0.3)}
    if case.chance(0.5):
        rules["max_rows"] = case.size(60)
    if case.chance(0.5):
        rules["expire_after"] = case.size(6)
    width, seed = case.size(20), case.size(1000)
    adagrad, words = case.chance(0.5), case.chance(0.2)
    distinct, step = case.size(400, 20), None

    def new() -> tuple[Any, Any]:
        start = keras.initializers.RandomUniform(-0.5, 0.5, seed=seed)
        layer = fastw2v.keras.GrowingEmbedding(width, start, **rules)
        layer.build()
        rule = fastw2v.optimizers.Adagrad if adagrad else fastw2v.optimizers.SGD
        optimizer = rule(_RATE)
        optimizer.build(layer.trainable_variables)
        return layer, optimizer

    layer, optimizer = new()
    table = _Table(layer, adagrad, **rules)
    in_function = case.chance(0.5)
    for number in range(case.size(30, 6)):
        if case.chance(0.1):
            layer, optimizer = _moved(layer, optimizer, new())
            step = None
        if step is None:
            step = _step(layer, optimizer, in_function)
        shape = [case.size(60)] if case.chance(0.7) else [case.size(8), case.size(8)]
        ids = case.rng.integers(distinct, size=shape) * case.one_of(1, 1, -7, 2**40)
        ids[case.rng.random(shape) < 0.1] = 0
        given = tf.strings.as_string(ids) if words else tf.constant(ids)
        if words:
            given = tf.where(ids == 0, "", given)
            ids = np.where(ids == 0, 0, tf.strings.to_hash_bucket_fast(given, 2**63 - 1))
        if case.chance(0.2):
            _same(f"step {number}: rows that are looked up", layer(given), table.find(ids))
            continue
        upstream = case.rng.normal(size=[*shape, width]).astype(np.float32)
        found = step(given, tf.constant(upstream))
        _same(f"step {number}: rows", found, table.give(ids))
        table.update(ids, upstream)
        if layer.num_ids != len(table.rows):
            raise Fault(f"{layer.num_ids} ids have a row, not {len(table.rows)}")


def _step(layer: Any, optimizer: Any, in_function: bool) -> Any:
    def step(ids: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = layer(ids, training=True)
        variables = layer.trainable_variables
        gradients = tape.gradient(found, variables, upstream)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return found

    return tf.function(step, reduce_retracing=True) if in_function else step


def _moved(layer: Any, optimizer: Any, new: tuple[Any, Any]) -> tuple[Any, Any]:
    """The state of a layer and of its optimizer in new ones, as from a file."""
    new[0].set_weights(layer.get_weights())
    for variable, value in zip(new[1].variables, optimizer.variables, strict=True):
        variable.assign(np.asarray(value))
    return new


def _same(what: str, found: tf.Tensor, wanted: np.ndarray) -> None:
    error = np.max(np.abs(found.numpy() - wanted), initial=0)
    if found.shape != wanted.shape or not error <= 1e-4 * (1 + np.max(np.abs(wanted), initial=0)):
        raise Fault(f"{what}: {found.shape}, error {error}")


class _Table:
    """Which rows ids have, and their numbers; the key None is the default row."""

    def __init__(
        self,
        layer: Any,
        adagrad: bool,
        min_count: int,
        mask_zero: bool,
        max_rows: int = 2**31 - 1,
        expire_after: int | None = None,
    ) -> None:
        self.min_count, self.mask_zero = min_count, mask_zero
        self.max_rows, self.expire_after = max_rows, expire_after
        self.adagrad, self.width = adagrad, layer.output_dim
        self.first = fastw2v.keras.GrowingEmbedding(layer.output_dim, layer.embeddings_initializer)
        self.values = {None: layer.embeddings.numpy()[0].astype(float)}
        self.sums = {None: np.full(self.width, 0.1)}
        self.rows: list[int] = []  # the id of each
        self.seen: dict[int, int] = {}
        self.counts: dict[int, int] = {}
        self.steps = self.hand = 0

    def find(self, ids: np.ndarray) -> np.ndarray:
        flat = [self.values[id if id in self.values else None] for id in ids.ravel().tolist()]
        return np.reshape(flat, [*ids.shape, self.width])

    def give(self, ids: np.ndarray) -> np.ndarray:
        self.steps += 1
        flat = ids.ravel().tolist()
        self.seen |= {id: self.steps for id in flat if id in self.seen}
        self.keys = [self._give(id) for id in flat]
        return np.reshape([self.values[key] for key in self.keys], [*ids.shape, self.width])

    def _give(self, id: int) -> int | None:
        if id in self.seen:
            return id
        if self.mask_zero and id == 0:
            return None
        self.counts[id] = self.counts.get(id, 0) + 1
        if self.counts[id] < self.min_count or not self._has_room(id):
            return None
        del self.counts[id]
        self.seen[id] = self.steps
        self.values[id] = self.first(tf.constant([id], tf.int64), training=True)[0].numpy()
        self.sums[id] = np.full(self.width, 0.1)
        return id

    def _has_room(self, id: int) -> bool:
        for _ in range(min(_LOOKS, len(self.rows)) if self.expire_after else 0):
            self.hand = self.hand % len(self.rows) + 1
            other = self.rows[self.hand - 1]
            if self.steps - self.seen[other] > self.expire_after:
                self.rows[self.hand - 1] = id
                del self.seen[other], self.values[other], self.sums[other]
                return True
        if len(self.rows) == self.max_rows:
            return False
        self.rows.append(id)
        return True

    def update(self, ids: np.ndarray, upstream: np.ndarray) -> None:
        gradients: dict[int | None, np.ndarray] = {}
        for key, gradient in zip(self.keys, upstream.reshape(-1, self.width), strict=True):
            gradients[key] = gradients.get(key, 0) + gradient.astype(float)
        for key, gradient in gradients.items():
            if self.adagrad:
                self.sums[key] = self.sums[key] + gradient**2
                gradient = gradient / np.sqrt(self.sums[key] + 1e-7)
            self.values[key] = self.values[key] - _RATE * gradient
