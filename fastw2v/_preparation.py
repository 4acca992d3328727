"""From what the user gives a loss to what its op takes, checked: where the hidden row comes from,
which classes compete, and how the logits are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fastw2v import samplers
from fastw2v._arguments import check_one_of, to_floats, to_ids, to_integer, to_number
from fastw2v._tables import Table, table, to_tensor

# ---- Where the hidden row comes from -------------------------------------------------------------


@dataclass(frozen=True)
class Hidden:
    """Hidden rows as the ops take them: rows of a table picked by ids, or activations."""

    embeddings: Table | None
    inputs: tf.Tensor  # ids [batch] or [batch, n] or flat, or activations [batch, dim]
    row_splits: list[tf.Tensor]
    combiner: str
    dim: int | None
    batch: int | None
    rank: int  # of the batch axes: 0 for a single example
    shape: tf.Tensor | None = None  # of the loss, where that is not [batch] of the labels
    static_shape: tf.TensorShape | None = None  # what is known of it


def gathered(embeddings: Any, inputs: Any, combiner: str) -> Hidden:
    check_one_of("combiner", combiner, ("mean", "sum"))
    rows = table("embeddings", embeddings)
    row_splits: list[tf.Tensor] = []
    rank = 1
    if isinstance(inputs, tf.RaggedTensor):
        if inputs.ragged_rank != 1 or inputs.flat_values.shape.rank != 1:
            raise ValueError(f"inputs has shape {inputs.shape}, expected bags of ids [batch, (n)]")
        row_splits = [tf.cast(inputs.row_splits, tf.int64)]
        batch = inputs.shape[0]
        ids = to_ids("inputs", inputs.flat_values)
    else:
        ids = to_ids("inputs", inputs)
        if ids.shape.rank is not None and ids.shape.rank > 2:
            raise ValueError(
                f"inputs has shape {ids.shape}, expected a scalar id, [batch], or bags [batch, n]"
            )
        if ids.shape.rank == 0:
            rank, ids = 0, tf.reshape(ids, [1])
        batch = ids.shape[0] if ids.shape.rank is not None else None
    if rank == 0:
        shape = (tf.constant([], tf.int32), tf.TensorShape([]))
        return Hidden(rows, ids, row_splits, combiner, rows.dim, batch, rank, *shape)
    return Hidden(rows, ids, row_splits, combiner, rows.dim, batch, rank)


def activations(inputs: Any, dtype: tf.DType) -> Hidden:
    activations = to_tensor("inputs", inputs)
    if not activations.dtype.is_floating:
        raise ValueError(
            f"inputs has dtype {activations.dtype.name}, expected float activations [..., dim]; "
            "for ids of embedding rows call fastw2v.softmax_loss"
        )
    rank = activations.shape.rank
    if rank is None or rank < 1:
        raise ValueError(f"inputs has shape {activations.shape}, expected [..., dim]")
    activations = tf.cast(activations, dtype)
    dim = activations.shape[-1]
    if rank == 2:
        return Hidden(None, activations, [], "mean", dim, activations.shape[0], 1)
    shape, static_shape = tf.shape(activations)[:-1], activations.shape[:-1]
    activations = tf.reshape(activations, [tf.reduce_prod(shape), tf.shape(activations)[-1]])
    batch = activations.shape[0]
    return Hidden(None, activations, [], "mean", dim, batch, rank - 1, shape, static_shape)


# ---- Which classes compete -----------------------------------------------------------------------


@dataclass(frozen=True)
class Classes:
    weights: Table
    biases: Table | None


def competing(weights: Any, biases: Any, hidden: Hidden) -> Classes:
    weights = weights if isinstance(weights, Table) else table("weights", weights)
    biases = None if biases is None else table("biases", biases, rank=1)
    for other in (hidden.embeddings, biases):
        if other is not None and other.dtype != weights.dtype:
            raise ValueError(
                f"{other.name} has dtype {other.dtype.name}, but weights has dtype "
                f"{weights.dtype.name}; they must be equal"
            )
    if None not in (hidden.dim, weights.dim) and hidden.dim != weights.dim:
        source = "inputs" if hidden.embeddings is None else "embeddings"
        raise ValueError(f"{source} has width {hidden.dim}, but weights has width {weights.dim}")
    if biases is not None and None not in (biases.rows, weights.rows):
        if biases.rows != weights.rows:
            raise ValueError(
                f"biases has {biases.rows} entries, but weights has {weights.rows} rows"
            )
    return Classes(weights, biases)


def to_labels(labels: Any, hidden: Hidden) -> tf.Tensor:
    """Labels as [batch, num_true]."""
    labels = to_ids("labels", labels)
    rank = labels.shape.rank
    if rank is None:
        batch = tf.shape(hidden.inputs)[0] if not hidden.row_splits else -1
        labels = tf.reshape(labels, [batch, -1 if not hidden.row_splits else 1])
    elif rank == hidden.rank:
        labels = tf.reshape(labels, [-1, 1])
    elif rank == hidden.rank + 1 and rank != 2:
        labels = tf.reshape(labels, [tf.reduce_prod(tf.shape(labels)[:-1]), tf.shape(labels)[-1]])
    elif rank != hidden.rank + 1:
        expected = "[batch] or [batch, num_true]" if hidden.rank else "a scalar or [num_true]"
        raise ValueError(
            f"labels has shape {labels.shape}, expected {expected} beside inputs of "
            f"{'a batch' if hidden.rank else 'a single example'}"
        )
    if None not in (labels.shape[0], hidden.batch) and labels.shape[0] != hidden.batch:
        raise ValueError(
            f"labels has a batch of {labels.shape[0]}, but inputs has a batch of {hidden.batch}"
        )
    return labels


def candidates_of(
    num_sampled: int | None,
    sampler: str | samplers.Sampler,
    sampled_values: Any,
    labels: tf.Tensor,
    num_classes: int | None,
    ignore_label: int | None,
    seed: Any,
    *,
    unique: bool = True,
    per_example: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None] | None:
    """Sampled candidates with their expected counts, given or drawn; None: all classes compete."""
    if sampled_values is not None:
        return _given_candidates(sampled_values, num_sampled)
    if num_sampled is None:
        return None
    num_sampled = to_integer("num_sampled", num_sampled, 1)
    if num_classes is None:
        raise ValueError(
            "weights has an unknown number of rows, so classes cannot be sampled from them: set "
            "its static shape or pass sampled_values"
        )
    if ignore_label is not None:  # the sampler wants classes; any will do for a label without loss
        labels = tf.where(labels == ignore_label, tf.zeros_like(labels), labels)
    chosen = samplers.resolve(sampler, num_classes, unique)
    return chosen.sample(labels, num_sampled, seed=seed, per_example=per_example)


def _given_candidates(
    sampled_values: Any, num_sampled: int | None
) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
    if not isinstance(sampled_values, (tuple, list)) or len(sampled_values) != 3:
        raise ValueError(
            "sampled_values is not a triple (sampled_candidates, true_expected_count, "
            f"sampled_expected_count): {type(sampled_values).__name__}"
        )
    candidates = to_ids("sampled_values[0]", sampled_values[0])
    if candidates.shape.rank not in (None, 1, 2):
        raise ValueError(
            f"sampled_values[0] has shape {candidates.shape}, expected [num_sampled] or "
            "[batch, num_sampled]"
        )
    if num_sampled is not None and candidates.shape.rank is not None:
        if candidates.shape[-1] not in (None, num_sampled):
            raise ValueError(
                f"num_sampled = {num_sampled}, but sampled_values holds {candidates.shape[-1]} "
                "candidates"
            )
    if (sampled_values[1] is None) != (sampled_values[2] is None):
        raise ValueError(
            "sampled_values has one expected count, expected both true_expected_count and "
            "sampled_expected_count, or None for both where nothing is to be subtracted"
        )
    counts = [
        None
        if count is None
        else tf.stop_gradient(to_floats(f"sampled_values[{i}]", count, tf.float32))
        for i, count in enumerate(sampled_values[1:], start=1)
    ]
    return candidates, counts[0], counts[1]


# ---- How the logits are made ---------------------------------------------------------------------


def logit_options(
    dtype: tf.DType,
    ignore_label: int | None,
    logit_scale: float,
    logit_softcap: float | None,
    z_loss: float,
    compute_dtype: Any,
) -> dict[str, Any]:
    """Attributes that all loss ops have."""
    options: dict[str, Any] = {
        "logit_scale": to_number("logit_scale", logit_scale, -math.inf, math.inf),
        "z_loss": to_number("z_loss", z_loss, 0.0, math.inf),
        "logit_softcap": 0.0,
        "compute_bfloat16": _rounds_to_bfloat16(dtype, compute_dtype),
    }
    if logit_softcap is not None:
        options["logit_softcap"] = to_number("logit_softcap", logit_softcap, 0.0, math.inf)
        if options["logit_softcap"] == 0.0:
            raise ValueError("logit_softcap = 0.0 is not in (0, inf); None: no cap")
    if ignore_label is not None:
        options["use_ignore_label"] = True
        options["ignore_label"] = to_integer("ignore_label", ignore_label, -(2**63))
    return options


def _rounds_to_bfloat16(dtype: tf.DType, compute_dtype: Any) -> bool:
    if compute_dtype is None:
        return False
    try:
        wanted = tf.as_dtype(compute_dtype)
    except TypeError:
        wanted = None
    if dtype == tf.float64 and wanted == tf.float64:
        return False
    if dtype == tf.float64 or wanted not in (tf.float32, tf.bfloat16):
        allowed = "float64" if dtype == tf.float64 else "float32 or bfloat16"
        raise ValueError(
            f"compute_dtype = {compute_dtype!r}, expected None or {allowed} for tables of "
            f"{dtype.name}"
        )
    return wanted == tf.bfloat16


def op_inputs(hidden: Hidden, classes: Classes, labels: tf.Tensor) -> dict[str, Any]:
    return {
        "embeddings": hidden.embeddings.shards if hidden.embeddings else [],
        "weights": classes.weights.shards,
        "biases": classes.biases.shards if classes.biases else [],
        "inputs": hidden.inputs,
        "row_splits": hidden.row_splits,
        "labels": labels,
    }
