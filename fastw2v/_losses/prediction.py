"""The largest logits and their classes."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from fastw2v import reference
from fastw2v._core import tensorflow_ops
from fastw2v._core.arguments import to_integer, to_tensor
from fastw2v._core.library import ops as _ops
from fastw2v._core.tables import ACCUMULATORS, tables_of
from fastw2v._losses import composed, remote, sharded
from fastw2v._losses.build import activations
from fastw2v._losses.options import checked


def top_k(
    inputs: Any,
    weights: Any,
    biases: Any,
    k: Any,
    *,
    excluded: tf.Tensor | None = None,
    tells: bool = True,
    **options: Any,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`fastw2v.top_k`.

    Args:
        inputs, weights, biases, k: As there.
        excluded: Ranges of classes, int64 [batch, 2], whose logits are -inf for an example; of
            weights that lie in one place.
        tells: Whether it warns of tables that a recording tape does not watch.
        **options: As there.
    """
    _, weights, biases = tables_of({"weights": weights, "biases": biases}, tells=tells)
    k = to_integer("k", k, 1, 2**31 - 1 if weights.rows is None else weights.rows)
    chosen = checked(weights.dtype, **options)
    hidden = activations(to_tensor("inputs", inputs), weights)
    for table in (weights, biases):
        if table is not None:
            table.prepare(None)
    if len(weights.machines) > 1:
        raise ValueError(
            f"weights lies on {len(weights.machines)} parameter servers, and top_k reads all its "
            "rows in one place: give a table of one machine, as tf.concat of the shards makes it"
        )
    biases = remote.biases_beside(weights, biases)

    def largest(hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        return _top_k(
            hidden,
            weights.shards,
            [] if biases is None else biases.shards,
            weights.dtype,
            k,
            excluded,
            logit_scale=chosen.numbers["logit_scale"],
            logit_softcap=chosen.numbers["logit_softcap"],
        )

    rows = tf.cast(hidden.inputs, ACCUMULATORS[weights.dtype])
    if weights.sharded is None:
        values, indices = largest(rows, k)
    else:
        values, indices = sharded.top_k(largest, weights, rows, k)
    if hidden.shape is None:
        return values, indices
    shape = tf.concat([hidden.shape, [k]], axis=0)
    assert hidden.static_shape is not None  # it comes with the shape
    static_shape = hidden.static_shape.concatenate(k)
    return tuple(
        tf.ensure_shape(tf.reshape(part, shape), static_shape) for part in (values, indices)
    )


def _top_k(
    hidden: tf.Tensor,
    weights: list[tf.Tensor],
    biases: list[tf.Tensor],
    dtype: tf.DType,
    k: int,
    excluded: tf.Tensor | None,
    *,
    logit_scale: float,
    logit_softcap: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    options = {"logit_scale": logit_scale, "logit_softcap": logit_softcap}
    if not tensorflow_ops.only():
        # Kernels of a GPU exclude no classes.
        with contextlib.nullcontext() if excluded is None else tf.device("CPU:0"):
            return _ops.fastw2v_top_k(
                inputs=hidden,
                weights=weights,
                biases=biases,
                excluded=[] if excluded is None else [excluded],
                T=dtype,
                k=k,
                **options,
            )
    class_weights, class_biases = (
        composed.Rows(parts, None, dtype).values for parts in (weights, biases)
    )
    return reference.top_k(hidden, class_weights, class_biases, k, excluded=excluded, **options)


def gradient(op: Any, d_values: tf.Tensor) -> list[Any]:
    """Only the rows of the classes found count: their logits are made again from these."""
    num_excluded = op.get_attr("num_excluded")
    hidden, *tables = op.inputs[: len(op.inputs) - num_excluded]
    num_weights = len(op.get_attr("Weights"))
    shards = {"weights": tables[:num_weights], "biases": tables[num_weights:]}
    indices = op.outputs[1]
    met = tf.sort(tf.unique(tf.reshape(indices, [-1])).y)
    rows = {
        name: composed.Rows(parts, composed.split_rows(met, parts), op.get_attr("T"))
        for name, parts in shards.items()
    }
    sources = [hidden, *(rows[name].values for name in shards if shards[name])]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        logits = reference.candidate_logits(
            hidden,
            rows["weights"].values,
            rows["biases"].values,
            rows["weights"].local(indices),
            logit_scale=op.get_attr("logit_scale"),
            logit_softcap=op.get_attr("logit_softcap"),
        )
    d_hidden, *d_tables = tape.gradient(logits, sources, output_gradients=d_values)
    d_tables = [tf.convert_to_tensor(gradient) for gradient in d_tables]
    d_weights, d_biases = d_tables if shards["biases"] else (*d_tables, None)
    d_tables = [*rows["weights"].split(d_weights), *rows["biases"].split(d_biases)]
    return [d_hidden, *d_tables, *[None] * num_excluded]
