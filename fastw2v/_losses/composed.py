"""Losses and rows composed from TensorFlow ops, which differentiate themselves.

They take the place of the ops where only TensorFlow's own may run, and make the gradients of
gradients. The logits are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from fastw2v import reference
from fastw2v._core import xla
from fastw2v._core.tables import ACCUMULATORS, shape_of, slices
from fastw2v._losses.options import EXACT_NUMBERS, NUMBERS

if TYPE_CHECKING:
    from fastw2v._losses.call import LossCall


def loss(call: LossCall) -> tf.Tensor:
    """The losses [batch] from TensorFlow ops, which differentiate themselves.

    An example with an id or count out of range, or with an empty bag, has the loss NaN and no
    gradient; a candidate out of range in a list for the whole batch counts for every example.
    """
    for name in ("inputs", "sampled_candidates") if call.sampled else ("inputs",):
        if getattr(call, name).shape.rank is None:
            raise ValueError(
                f"{name} has an unknown rank, from which TensorFlow's ops make no loss: set it by "
                "tf.ensure_shape"
            )
    batch = tf.shape(call.inputs if not call.row_splits else call.row_splits[0][1:])[0]
    # Sizes that only turn out when the function is compiled must agree then, not be broadcast.
    call.labels = tf.reshape(call.labels, [batch, tf.shape(call.labels)[1]])
    valid = _valid_examples(call)
    dtype = ACCUMULATORS[call.dtype]
    inputs, labels, candidates = call.inputs, call.labels, None
    embeddings, bias_rows, activations = None, None, None
    if call.embeddings:
        rows, position = _met_rows(call.embeddings, inputs, call.dtype)
        embeddings = _widened(rows, dtype)
        padded = not call.row_splits and inputs.shape.rank == 2
        inputs = position if padded else tf.maximum(position, 0)
    else:
        activations = inputs
    if call.sampled:
        for counts in (call.true_expected_count, call.sampled_expected_count):
            counts[:] = [tf.where(count > 0, count, 1) for count in counts]
        candidates = call.sampled_candidates
        ids = tf.concat([tf.reshape(labels, [-1]), tf.reshape(candidates, [-1])], axis=0)
        weights, position = _met_rows(call.weights, ids, call.dtype)
        labels = tf.reshape(position[: tf.size(labels)], tf.shape(labels))
        candidates = tf.reshape(position[tf.size(labels) :], tf.shape(candidates))
        candidates = tf.maximum(candidates, 0)
        if call.biases:
            biases, position = _met_rows(call.biases, weights.numbers, call.dtype)
            bias_rows = tf.gather(_widened(biases, dtype), position)
    else:
        weights = Rows(call.weights, None, call.dtype)
        bias_rows = Rows(call.biases, None, call.dtype).values
    labels = tf.where(valid[:, tf.newaxis], labels, 0)
    sources = [embeddings, _widened(weights, dtype), bias_rows, activations]
    options = {"compute_dtype": call.attributes["compute_dtype"]}
    losses = reference_loss(call, sources, inputs, labels, candidates, **options)
    return tf.where(valid, losses, math.nan)


def bags(
    shards: Sequence[tf.Tensor],
    dtype: tf.DType,
    ids: tf.Tensor,
    row_splits: Sequence[tf.Tensor],
    combiner: str,
) -> tf.Tensor:
    """Rows or bags of rows; an id out of range makes its row or bag NaN, as no id does a bag."""
    # A gradient has unique rows where XLA compiles; what is served is quicker without.
    pick = xla.unique_rows if xla.compiles() else _a_row_for_each
    rows, position = _met_rows(shards, ids, dtype, pick)
    padding = (ids < 0) & (not row_splits and ids.shape.rank == 2)
    wrong = (position < 0) & ~padding
    inputs = tf.where(padding, position, tf.maximum(position, 0))
    if row_splits:
        inputs, wrong = (
            tf.RaggedTensor.from_row_splits(flat, row_splits[0], validate=False)
            for flat in (inputs, tf.cast(wrong, tf.int32))
        )
        wrong = (tf.reduce_sum(wrong, axis=1) > 0) | (inputs.row_lengths() == 0)
    elif ids.shape.rank == 2:
        wrong = tf.reduce_any(wrong, axis=1) | tf.reduce_all(padding, axis=1)
    hidden = reference.hidden_rows(_widened(rows, ACCUMULATORS[dtype]), inputs, combiner)
    return tf.where(wrong[:, tf.newaxis], tf.cast(math.nan, hidden.dtype), hidden)


class Rows:
    """The rows of a table that a gradient op has used, as one tensor that can be differentiated.

    ``rows`` are the distinct rows of each shard, counted from its first; None stands for all.
    """

    def __init__(
        self, shards: Sequence[tf.Tensor], rows: Sequence[tf.Tensor] | None, dtype: tf.DType
    ) -> None:
        self._shards = shards
        self._rows = rows
        sizes = [tf.cast(shape_of(shard)[0], tf.int64) for shard in shards]
        begins = tf.cumsum(tf.stack(sizes), exclusive=True) if shards else []
        if rows is None:
            parts = [_read(shard, dtype) for shard in shards]
            self.numbers = None
        else:
            parts = [_gather(shard, row, dtype) for shard, row in zip(shards, rows, strict=True)]
            numbers = [row + begins[i] for i, row in enumerate(rows)]
            self.numbers = tf.concat(numbers, axis=0) if shards else None
        self._counts = [tf.shape(part)[0] for part in parts]
        self.values = tf.concat(parts, axis=0) if shards else None

    def local(self, ids: tf.Tensor) -> tf.Tensor:
        """Positions of the given rows of the whole table among ``values``; -1 for absent ids."""
        return ids if self.numbers is None else places(self.numbers, ids)

    def join(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor | None:
        """The parts that belong to each shard as one tensor in the shape of ``values``."""
        return tf.concat(list(gradients), axis=0) if self._shards else None

    def split(self, gradient: tf.Tensor | None) -> list[Any]:
        """The reverse: what each shard receives."""
        if not self._shards:
            return []
        parts = tf.split(gradient, self._counts, num=len(self._shards))
        return parts if self._rows is None else slices(self._shards, self._rows, parts)


def places(numbers: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Where ids stand among ascending numbers; -1 for those that are not there."""
    flat = tf.reshape(ids, [-1])
    place = tf.searchsorted(numbers, flat, out_type=tf.int64)
    place = tf.minimum(place, tf.maximum(tf.size(numbers, tf.int64) - 1, 0))
    place = tf.where(tf.gather(numbers, place) == flat, place, -tf.ones_like(place))
    return tf.reshape(place, tf.shape(ids))


def split_rows(rows: tf.Tensor, shards: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Ascending rows of a table as those of each shard, counted from its first."""
    parts, begin = [], tf.constant(0, tf.int64)
    for shard in shards:
        end = begin + tf.cast(shape_of(shard)[0], tf.int64)
        parts.append(tf.boolean_mask(rows, (rows >= begin) & (rows < end)) - begin)
        begin = end
    return parts


def reference_loss(
    call: LossCall,
    sources: Sequence[Any],
    inputs: Any,
    labels: tf.Tensor,
    candidates: Any,
    **options: Any,
) -> tf.Tensor:
    """The losses of a call: rows of its tables (or activations), and ids that count among these."""
    table, weight_rows, bias_rows, activations = sources
    if call.embeddings:
        if call.row_splits:
            inputs = tf.RaggedTensor.from_row_splits(inputs, call.row_splits[0], validate=False)
        hidden = reference.hidden_rows(table, inputs, call.attributes["combiner"])
    else:
        hidden = activations
    names = NUMBERS if call.sampled else NUMBERS + EXACT_NUMBERS
    options.update({name: call.attributes[name] for name in names})
    ignore_label = call.ignore_label
    if not call.sampled:
        excluded = call.excluded[0] if call.excluded else None
        return reference.exact_loss(
            hidden,
            weight_rows,
            bias_rows,
            labels,
            ignore_label=ignore_label,
            excluded=excluded,
            **options,
        )
    counts = (
        (call.true_expected_count[0], call.sampled_expected_count[0])
        if call.true_expected_count
        else (None, None)
    )
    if ignore_label is not None:  # it may be a class that is a candidate
        labels = tf.where(call.labels == ignore_label, -tf.ones_like(labels), labels)
        ignore_label = -1
    return reference.sampled_loss(
        hidden,
        weight_rows,
        bias_rows,
        labels,
        (candidates, *counts),
        ignore_label=ignore_label,
        link=call.attributes["link"],
        positive_target=1.0 / call.labels.shape[1] if call.attributes.get("split_target") else 1.0,
        remove_accidental_hits=call.attributes["remove_accidental_hits"],
        **options,
    )


def _widened(rows: Rows, dtype: tf.DType) -> tf.Tensor:
    """The rows in ``dtype``. The gradient of a reshape is dense: what one row receives several
    times is summed in ``dtype`` too, before it is rounded to that of the table."""
    values = tf.cast(rows.values, dtype)
    return tf.reshape(values, tf.shape(values))


def _met_rows(
    shards: Sequence[tf.Tensor],
    ids: tf.Tensor,
    dtype: tf.DType,
    pick: Callable[..., tuple[tf.Tensor, tf.Tensor]] = xla.unique_rows,
) -> tuple[Rows, tf.Tensor]:
    """The rows of a table that ids pick, and the position of each id among them, or -1."""
    flat = tf.reshape(ids, [-1])
    positions = -tf.ones_like(flat)
    met, first = [], tf.constant(0, tf.int64)
    num_met = tf.constant(0, tf.int64)
    for shard in shards:
        size = tf.cast(shape_of(shard)[0], tf.int64)
        rows, position = pick(flat - first, size)
        positions = tf.where(position >= 0, num_met + position, positions)
        met.append(rows)
        first += size
        num_met += tf.size(rows, tf.int64)
    return Rows(shards, met, dtype), tf.reshape(positions, tf.shape(ids))


def _a_row_for_each(ids: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """As `xla.unique_rows`, but with a row for each id, repeated ones too."""
    picks = (ids >= 0) & (ids < size)
    return tf.where(picks, ids, 0), tf.where(picks, tf.range(tf.size(ids, tf.int64)), -1)


def _valid_examples(call: LossCall) -> tf.Tensor:
    """Which examples [batch] have all their ids in range."""

    def known(ids: tf.Tensor, shards: Sequence[tf.Tensor]) -> tf.Tensor:
        rows = tf.add_n([tf.cast(shape_of(shard)[0], tf.int64) for shard in shards])
        return (ids >= 0) & (ids < rows)

    labels_known = known(call.labels, call.weights)
    if call.ignore_label is not None:
        labels_known |= call.labels == call.ignore_label
    valid = tf.reduce_all(labels_known, axis=1)
    if call.embeddings:
        inputs_known = known(call.inputs, call.embeddings)
        if call.row_splits:
            bags = tf.RaggedTensor.from_row_splits(
                tf.cast(~inputs_known, tf.int32), call.row_splits[0], validate=False
            )
            valid &= (tf.reduce_sum(bags, axis=1) == 0) & (bags.row_lengths() > 0)
        elif call.inputs.shape.rank == 2:
            padding = call.inputs < 0
            valid &= tf.reduce_all(inputs_known | padding, axis=1) & ~tf.reduce_all(padding, axis=1)
        else:
            valid &= inputs_known
    if call.sampled:
        candidates = [known(call.sampled_candidates, call.weights)]
        candidates += [count > 0 for count in call.sampled_expected_count]
        for good in candidates:
            valid &= tf.reduce_all(good, axis=-1)  # for all examples or for each
        for count in call.true_expected_count:
            valid &= tf.reduce_all(tf.reshape(count > 0, tf.shape(call.labels)), axis=1)
    return valid


def _read(shard: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if shard.dtype == tf.resource:
        return tf.raw_ops.ReadVariableOp(resource=shard, dtype=dtype)
    return shard


def _gather(shard: tf.Tensor, rows: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if shard.dtype == tf.resource:
        return tf.raw_ops.ResourceGather(resource=shard, indices=rows, dtype=dtype)
    return tf.gather(shard, rows)
