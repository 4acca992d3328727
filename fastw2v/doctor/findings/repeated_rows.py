"""Sparse gradients with repeated rows, and optimizers that do not sum them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.sources import name_of
from fastw2v.doctor.program import places
from fastw2v.doctor.trace.eager_tensors import is_concrete


def repeated_rows(
    variables: Sequence[Any], gradients: Sequence[Any], optimizer: Any
) -> list[Finding]:
    """Sparse gradients with repeated rows that this optimizer does not sum.

    Whether it does is tried on a copy of the optimizer and a table of a few rows.
    """
    findings, place = [], places.place_of(places.of_caller())
    for variable, gradient in zip(variables, gradients, strict=False):
        if not isinstance(gradient, tf.IndexedSlices) or not is_concrete(gradient.indices):
            continue
        rows, counts = np.unique(gradient.indices.numpy(), return_counts=True)
        if not (counts > 1).any() or not _repeats_matter(optimizer):
            continue
        name = name_of(variable)
        detail = (
            f"Row {rows[counts.argmax()]} occurs {counts.max():,} times in its gradient, and "
            f"{type(optimizer).__name__} gives another result than for the sum."
        )
        findings.append(Finding(name, "repeated_rows", None, place, detail))
    return findings


def _repeats_matter(optimizer: Any) -> bool:
    if not isinstance(optimizer, tf.keras.optimizers.Optimizer):
        return False
    repeated = tf.IndexedSlices(
        tf.constant([[1.0, -2.0], [4.0, 0.5], [-3.0, 1.0]]), tf.constant([2, 2, 0]), (4, 2)
    )
    results = []
    with tf.init_scope():
        for gradient in (repeated, tf.convert_to_tensor(repeated)):
            table = tf.keras.Variable(np.ones((4, 2), np.float32), name="table")
            copy = type(optimizer).from_config(optimizer.get_config())
            for _ in range(2):
                copy.apply([gradient], [table])
            results.append(tf.convert_to_tensor(table).numpy())
    return not np.allclose(*results, rtol=1e-4, atol=1e-5)
