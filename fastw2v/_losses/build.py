"""From the arguments of a loss to its call, checked: where the hidden rows come from, which classes
compete, and what becomes of the losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from fastw2v import samplers
from fastw2v._core.arguments import (
    check_one_of,
    to_bool,
    to_floats,
    to_ids,
    to_integer,
    to_tensor,
    wrong_shape,
)
from fastw2v._core.tables import ACCUMULATORS, Table, tables_of, transposed
from fastw2v._losses.call import LossCall
from fastw2v._losses.options import checked
from fastw2v._losses.reduction import Reduction


class Sampling(NamedTuple):
    """Which classes compete, where not all do, and how; as the arguments of the losses say.

    Attributes:
        num_sampled, sampler, sampled_values, seed, remove_accidental_hits: As the user gave them.
        link: "softmax": the label competes with the candidates; "logistic": each alone.
        corrected: Whether expected counts are subtracted from the logits.
        unique: Whether the names of samplers draw without replacement.
        per_example: Whether each example has candidates of its own.
        split_target: Whether the labels of an example share one target.
        num_classes: How many classes are sampled from; None: all rows of the weights.
        required: What the candidates are called where there must be some, else None.
    """

    num_sampled: Any = None
    sampler: Any = "log_uniform"
    sampled_values: Any = None
    seed: Any = None
    remove_accidental_hits: bool = True
    link: str = "softmax"
    corrected: bool = True
    unique: bool = True
    per_example: bool = False
    split_target: bool = False
    num_classes: int | None = None
    required: str | None = None


class Hidden(NamedTuple):
    """Hidden rows as the ops take them: rows of a table picked by ids, or activations."""

    inputs: tf.Tensor  # ids [batch] or [batch, n] or flat, or activations [batch, dim]
    row_splits: list[tf.Tensor]
    batch: int | None
    rank: int  # of the batch axes: 0 for a single example
    shape: tf.Tensor | None = None  # of the loss, where that is not [batch] of the labels
    static_shape: tf.TensorShape | None = None  # what is known of it


def loss_call(
    tables: dict[str, Any],
    inputs: Any,
    labels: Any,
    sampling: Sampling | None = None,
    *,
    sample_weight: Any = None,
    label_classes: int | None = None,
    partition_strategy: str = "div",
    result_dtype: tf.DType | None = None,
    excluded: tf.Tensor | None = None,
    tells: bool = True,
    **options: Any,
) -> LossCall:
    """The call of a loss.

    Args:
        tables: "weights", "biases", and "embeddings" where ``inputs`` are ids of its rows: without
            they are activations. As the user gave them.
        inputs, labels, sample_weight: As the user gave them.
        sampling: Which classes compete; None: all.
        label_classes: Labels may be floats that are exact for so many classes.
        partition_strategy: Of the shards of the tables.
        result_dtype: Of the result, where it is not that of the sums.
        excluded: Of an exact softmax, int64 [batch, 2]: ranges of classes that do not compete for
            an example, but for its labels.
        tells: Whether it warns of tables that a recording tape does not watch.
        **options: Of `fastw2v._losses.options.checked`.
    """
    checked_tables = tables_of(tables, partition_strategy, tells=tells)
    embeddings, weights, biases = checked_tables
    chosen = checked(weights.dtype, **options)
    if embeddings is None:
        inputs = to_tensor("inputs", inputs)
    elif not isinstance(inputs, tf.RaggedTensor):
        inputs = to_ids("inputs", inputs)
    else:
        inputs = ragged_ids(inputs)
    labels = to_ids("labels", labels, label_classes)
    if sampling is not None:
        remove_hits = to_bool("remove_accidental_hits", sampling.remove_accidental_hits)
    if sample_weight is not None:
        sample_weight = to_floats("sample_weight", sample_weight, ACCUMULATORS[weights.dtype])
    if embeddings is None:
        hidden = activations(inputs, weights)
    else:
        hidden = bags(inputs)
        _check_width("embeddings", embeddings.dim, weights)
    labels = _matrix_of_labels(labels, hidden)
    op_inputs = {
        "embeddings": [] if embeddings is None else embeddings.shards,
        "weights": weights.shards,
        "biases": [] if biases is None else biases.shards,
        "inputs": hidden.inputs,
        "row_splits": hidden.row_splits,
        "labels": labels,
    }
    attributes: dict[str, Any] = {
        "T": weights.dtype,
        "combiner": chosen.combiner,
        **chosen.numbers,
        "compute_dtype": chosen.compute_dtype,
    }
    if chosen.ignore_label is not None:
        attributes.update(use_ignore_label=True, ignore_label=chosen.ignore_label)
    candidates = None
    if sampling is not None:
        candidates = _candidates(sampling, labels, weights, chosen.ignore_label)
    if sampling is None or candidates is None:
        attributes.update(chosen.exact_numbers)
    else:
        for name, value in chosen.exact_numbers.items():
            if value:
                raise ValueError(
                    f"{name} = {value} needs all classes to compete; with sampled classes it "
                    "must be 0"
                )
        op_inputs.update(candidates)
        attributes.update(
            link=sampling.link,
            split_target=sampling.split_target,
            remove_accidental_hits=remove_hits,
        )
    reduction = Reduction(
        chosen.reduction,
        labels,
        hidden.shape,
        hidden.static_shape,
        weights.dtype,
        sample_weight,
        chosen.ignore_label,
    )
    return LossCall(
        op_inputs,
        attributes,
        checked_tables,
        reduction,
        result_dtype,
        [] if excluded is None else [excluded],
    )


def tf_nn_call(
    tables: dict[str, Any],
    labels: Any,
    inputs: Any,
    num_classes: Any,
    num_true: Any,
    sampling: Sampling,
    *,
    partition_strategy: str,
    **options: Any,
) -> LossCall:
    """The call of a loss that takes its arguments, and returns its result, as tf.nn does."""
    num_true = to_integer("num_true", num_true, 1)
    num_classes = to_integer("num_classes", num_classes, 1)
    check_one_of("partition_strategy", partition_strategy, ("div", "mod"))
    inputs = to_tensor("inputs", inputs)
    labels = to_ids("labels", labels, num_classes)  # tf.nn casts floats
    if not inputs.shape.is_compatible_with([None, None]):
        raise wrong_shape("inputs", inputs.shape, "[batch, dim]")
    if inputs.shape.rank is None:
        inputs = tf.ensure_shape(inputs, [None, None])  # which has no directional derivative
    if not labels.shape.is_compatible_with([None, num_true]):
        raise wrong_shape("labels", labels.shape, f"[batch, num_true] = [batch, {num_true}]")
    return loss_call(
        tables,
        inputs,
        tf.ensure_shape(labels, [None, num_true]),
        sampling._replace(num_classes=num_classes, required="classes"),
        partition_strategy=partition_strategy,
        result_dtype=inputs.dtype,
        **options,
    )


# ---- Where the hidden rows come from -------------------------------------------------------------


def ragged_ids(inputs: tf.RaggedTensor) -> tf.RaggedTensor:
    """Bags of ids as integers."""
    if inputs.shape.rank != 2:
        raise wrong_shape("inputs", inputs.shape, "bags of ids [batch, (n)]")
    return inputs.with_flat_values(to_ids("inputs", inputs.flat_values))


def bags(ids: tf.Tensor | tf.RaggedTensor) -> Hidden:
    """Rows of a table for integers, or for bags of them."""
    if isinstance(ids, tf.RaggedTensor):
        splits = tf.cast(ids.row_splits, tf.int64)
        return Hidden(ids.flat_values, [splits], ids.shape[0], 1)
    rank = ids.shape.rank
    if rank is not None and rank > 2:
        raise wrong_shape("inputs", ids.shape, "a scalar id, [batch], or bags [batch, n]")
    if rank == 0:
        return Hidden(tf.reshape(ids, [1]), [], 1, 0, tf.constant([], tf.int32), tf.TensorShape([]))
    return Hidden(ids, [], None if rank is None else ids.shape[0], 1)


def check_activations_dtype(dtype: tf.DType) -> None:
    """A ValueError where ``inputs`` of a dtype are no activations."""
    if not dtype.is_floating:
        raise ValueError(
            f"inputs has dtype {dtype.name}, expected float activations [..., dim]; for ids of "
            "embedding rows call fastw2v.softmax_loss, or the layer fastw2v.keras.Embedding first"
        )


def activations(inputs: tf.Tensor, weights: Table) -> Hidden:
    check_activations_dtype(inputs.dtype)
    rank = inputs.shape.rank
    if rank is None or rank < 1:
        raise wrong_shape("inputs", inputs.shape, "[..., dim]")
    inputs = tf.cast(inputs, weights.dtype)
    _check_width("inputs", inputs.shape[-1], weights)
    if rank == 2:
        return Hidden(inputs, [], inputs.shape[0], 1)
    shape, static_shape = tf.shape(inputs)[:-1], inputs.shape[:-1]
    inputs = tf.reshape(inputs, [tf.reduce_prod(shape), tf.shape(inputs)[-1]])
    return Hidden(inputs, [], inputs.shape[0], rank - 1, shape, static_shape)


def _check_width(name: str, width: int | None, weights: Table) -> None:
    if None not in (width, weights.dim) and width != weights.dim:
        message = f"{name} has width {width}, but weights has width {weights.dim}"
        if width == weights.rows:  # as the kernel of a Dense layer
            message += transposed(width)
        raise ValueError(message)


# ---- Which classes compete -----------------------------------------------------------------------


def _matrix_of_labels(labels: tf.Tensor, hidden: Hidden) -> tf.Tensor:
    """Labels as [batch, num_true]."""
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
        beside = "a batch" if hidden.rank else "a single example"
        raise wrong_shape("labels", labels.shape, f"{expected} beside inputs of {beside}")
    if None not in (labels.shape[0], hidden.batch) and labels.shape[0] != hidden.batch:
        raise ValueError(
            f"labels has a batch of {labels.shape[0]}, but inputs has a batch of {hidden.batch}"
        )
    return labels


def _candidates(
    sampling: Sampling, labels: tf.Tensor, weights: Table, ignore_label: int | None
) -> dict[str, Any] | None:
    """Sampled candidates with their expected counts, given or drawn, as inputs of the op; None: all
    classes compete."""
    num_classes = weights.rows
    if sampling.num_classes is not None:
        if num_classes is not None and sampling.num_classes > num_classes:
            raise ValueError(
                f"num_classes = {sampling.num_classes} is not in [1, {num_classes}], the rows of "
                "weights"
            )
        num_classes = sampling.num_classes
    if sampling.sampled_values is not None:
        candidates, *counts = _given_candidates(sampling, labels)
    elif sampling.num_sampled is not None:
        candidates, *counts = _drawn_candidates(sampling, labels, num_classes, ignore_label)
    elif sampling.required is not None:
        raise ValueError(
            f"num_sampled = None, expected a number of {sampling.required} of at least 1"
        )
    else:
        return None
    if not sampling.corrected or None in counts:
        counts = []
    return {
        "sampled_candidates": candidates,
        "true_expected_count": counts[:1],
        "sampled_expected_count": counts[1:],
    }


def _drawn_candidates(
    sampling: Sampling, labels: tf.Tensor, num_classes: int | None, ignore_label: int | None
) -> samplers.SampledValues:
    if num_classes is None:
        raise ValueError(
            "weights has an unknown number of rows, so classes cannot be sampled from them: set "
            "its static shape or pass sampled_values"
        )
    sampler = samplers.resolve(sampling.sampler, num_classes, sampling.unique)
    how = {"seed": sampling.seed, "per_example": sampling.per_example}
    if ignore_label is None:
        return sampler.sample(labels, sampling.num_sampled, **how)
    # The sampler wants classes: any will do for a label without loss, even one that is not drawn.
    ignored = labels == ignore_label
    labels = tf.where(ignored, tf.zeros_like(labels), labels)
    values = sampler.sample(labels, sampling.num_sampled, **how)
    return values._replace(true_expected_count=tf.where(ignored, 1.0, values.true_expected_count))


def _given_candidates(sampling: Sampling, labels: tf.Tensor) -> tuple[Any, ...]:
    values, num_sampled = sampling.sampled_values, sampling.num_sampled
    if not isinstance(values, (tuple, list)) or len(values) != 3:
        raise ValueError(
            "sampled_values is not a triple (sampled_candidates, true_expected_count, "
            f"sampled_expected_count): {type(values).__name__}"
        )
    candidates = to_ids("sampled_values[0]", values[0])
    if candidates.shape.rank not in (None, 1, 2):
        raise wrong_shape(
            "sampled_values[0]", candidates.shape, "[num_sampled] or [batch, num_sampled]"
        )
    if num_sampled is not None and candidates.shape.rank is not None:
        if candidates.shape[-1] not in (None, num_sampled):
            raise ValueError(
                f"num_sampled = {num_sampled}, but sampled_values holds {candidates.shape[-1]} "
                "candidates"
            )
    if (values[1] is None) != (values[2] is None):
        raise ValueError(
            "sampled_values has one expected count, expected both true_expected_count and "
            "sampled_expected_count, or None for both where nothing is to be subtracted"
        )
    if values[1] is None:
        return candidates, None, None
    counts = [
        tf.stop_gradient(to_floats(f"sampled_values[{i}]", values[i], tf.float32)) for i in (1, 2)
    ]
    if sampling.num_classes is not None:  # tf.nn broadcasts
        counts[0] = _counts_of_labels(counts[0], labels)
    return candidates, *counts


def _counts_of_labels(counts: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Expected counts in the shape of the labels."""
    try:
        known = tf.broadcast_static_shape(counts.shape, labels.shape)
    except ValueError:
        known = None
    if known is None or not known.is_compatible_with(labels.shape):
        raise wrong_shape(
            "sampled_values[1], true_expected_count,",
            counts.shape,
            f"one that broadcasts to that of labels, {labels.shape}",
        )
    return tf.broadcast_to(counts, tf.shape(labels))
