"""What `fastw2v.export` writes, loaded again: the answers of the ops of this library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fuzzing import losses
from fuzzing.harness import Case, Fault
from fuzzing.losses import UNITS
from fuzzing.tables import DTYPES

SECONDS, MEGABYTES = 60.0, 1024.0


def case(case: Case) -> None:
    dtype = case.one_of(*DTYPES)
    rows, width = case.size(300), case.size(40)
    table = tf.Variable(tf.cast(case.rng.normal(size=(rows, width)), dtype))
    make, arguments = case.one_of(_top_k, _lookup, _loss)(case, table)
    module = tf.Module()
    signature = [tf.type_spec_from_value(argument) for argument in arguments]
    if case.chance(0.5):  # sizes that only a call has
        signature = [_unknown_batch(spec) for spec in signature]
    function = tf.function(make, input_signature=signature)
    expected = function(*arguments)
    path = case.directory / "served"
    fastw2v.export(module, path, {"serve": function})
    loaded = tf.saved_model.load(str(path))
    unit = UNITS["float64" if dtype == "float64" else "float32"]
    for found, wanted in zip(
        tf.nest.flatten(loaded.serve(*arguments)), tf.nest.flatten(expected), strict=True
    ):
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            raise Fault(f"{found.dtype.name} {found.shape}, not {wanted.dtype.name} {wanted.shape}")
        if wanted.dtype.is_integer:
            continue  # classes of equal logits may change places
        error = np.abs(found.numpy().astype(np.float64) - wanted.numpy().astype(np.float64))
        size = 1 + np.max(np.abs(wanted.numpy()), initial=0)
        bound = 16 * (width + 16) * unit * size * float(tf.reduce_max(tf.abs(table))) ** 2 + 1e-30
        if not np.all(error <= bound):  # NaN is not
            raise Fault(f"error {np.max(error):.3g} above {bound:.3g} in {dtype}")


def _unknown_batch(spec: tf.TypeSpec) -> tf.TypeSpec:
    shape = [None, *spec.shape[1:]]
    if isinstance(spec, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec(shape, spec.dtype, spec.ragged_rank, spec.row_splits_dtype)
    return tf.TensorSpec(shape, spec.dtype)


_Made = tuple[Callable[..., Any], list[Any]]


def _top_k(case: Case, table: tf.Variable) -> _Made:
    rows, width = table.shape
    k = case.size(rows)
    options = {"logit_scale": case.one_of(0.5, -2.0)} if case.chance(0.3) else {}
    if case.chance(0.3):
        options["logit_softcap"] = 3.0
    inputs = tf.constant(case.rng.normal(size=(case.size(20), width)).astype(np.float32))
    return lambda inputs: fastw2v.top_k(inputs, table, k=k, **options), [inputs]


def _lookup(case: Case, table: tf.Variable) -> _Made:
    ids, _, combiner, _ = losses._ids(case, case.size(20), table.shape[0])
    is_ragged = isinstance(ids, tf.RaggedTensor)
    of_bags = is_ragged or np.ndim(ids) == 2
    ids = ids if is_ragged else tf.reshape(tf.constant(ids, tf.int64), np.shape(ids) or [1])
    combiner = combiner if of_bags else None
    return lambda ids: fastw2v.lookup(table, ids, combiner), [ids]


def _loss(case: Case, table: tf.Variable) -> _Made:
    rows, width = table.shape
    batch = case.size(20)
    inputs = tf.constant(case.rng.normal(size=(batch, width)).astype(np.float32))
    labels = tf.constant(case.rng.integers(0, rows, batch))
    options = {"label_smoothing": 0.1} if case.chance(0.3) else {}
    if case.chance(0.5):
        return lambda labels, inputs: fastw2v.linear_cross_entropy(
            labels, inputs, table, **options
        ), [labels, inputs]
    seed = tuple(int(part) for part in case.rng.integers(0, 2**31, 2))
    num_sampled = case.size(max(1, rows // 2))

    def sampled(labels: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        return fastw2v.sampled_softmax_loss(
            table, None, labels[:, tf.newaxis], inputs, num_sampled, rows, seed=seed
        )

    return sampled, [labels, inputs]
