"""From the loss of each example to what the user asked for: weights, a sum, a mean."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastw2v._core.arguments import wrong_shape
from fastw2v._core.tables import ACCUMULATORS
from fastw2v._losses.options import MEAN_AND_LOSSES


class Reduction:
    """Weights the losses [batch] of an op, and sums or averages them if so asked.

    A sum or mean is ``sum(coefficients * losses)``, and these are known before the losses are.

    In a replica of a `tf.distribute.Strategy` the mean is this replica's share of the mean over
    all replicas: its own mean, divided by their number. So losses add up, and gradients, which
    optimizers sum over replicas, are those of the mean over the whole batch where replicas have
    examples of equal number and weight. The mean of `MEAN_AND_LOSSES` is left whole: a layer adds
    it to its model, and Keras' ``fit`` divides what layers add.
    """

    def __init__(
        self,
        reduction: str,
        labels: tf.Tensor,
        shape: Any,
        static_shape: tf.TensorShape,
        dtype: tf.DType,
        sample_weight: tf.Tensor | None,
        ignore_label: int | None,
    ) -> None:
        """Prepares what is asked for.

        Args:
            reduction: "none", "mean", "sum" or `MEAN_AND_LOSSES`.
            labels: Of the examples, [batch, num_true].
            shape: Of the losses where the user gave another than [batch], else None.
            static_shape: The same as far as it is known.
            dtype: Of the tables.
            sample_weight: The weights of the examples, a scalar or in the shape of the losses.
            ignore_label: The label that does not count, or None.

        Raises:
            ValueError: ``sample_weight`` has another shape.
        """
        dtype = ACCUMULATORS[dtype]
        self._keeps_losses = reduction == MEAN_AND_LOSSES
        self._share = 1.0  # of this replica
        if self._keeps_losses:
            reduction = "mean"
        elif reduction == "mean" and not tf.distribute.in_cross_replica_context():
            self._share = 1.0 / tf.distribute.get_strategy().num_replicas_in_sync
        self._reduction = reduction
        self._shape = shape
        self._dtype = dtype
        self._sample_weight = None
        if sample_weight is not None:
            self._sample_weight = _per_example(sample_weight, labels, shape, static_shape)
        # Of the losses in their sum; a float: no tensor is needed.
        self._coefficients: tf.Tensor | float | None = None
        if reduction == "sum":
            self._coefficients = 1.0 if self._sample_weight is None else self._sample_weight
        elif reduction == "mean":
            self._coefficients = _part_of_mean(self._sample_weight, labels, ignore_label, dtype)
            if self._share != 1.0:
                self._coefficients *= self._share

    @property
    def only_reduced(self) -> bool:
        """Whether the losses go nowhere but into their sum or mean."""
        return self._coefficients is not None and not self._keeps_losses

    def coefficients(self) -> tf.Tensor | None:
        """What each loss is multiplied with, [batch] or a scalar for all, for an op that can make
        the gradients together with the losses; None where nothing is summed."""
        if self._coefficients is None:
            return None
        if isinstance(self._coefficients, float):
            return tf.constant(self._coefficients, self._dtype)
        return tf.stop_gradient(self._coefficients)  # the op's use of them has no part in the loss

    def __call__(self, losses: tf.Tensor) -> Any:
        if self._reduction == "none":
            return self._unreduced(losses)
        reduced = self._reduced(losses)
        return (reduced, self._unreduced(losses)) if self._keeps_losses else reduced

    def _unreduced(self, losses: tf.Tensor) -> tf.Tensor:
        if self._sample_weight is not None:
            losses *= self._sample_weight
        return losses if self._shape is None else tf.reshape(losses, self._shape)

    def _reduced(self, losses: tf.Tensor) -> tf.Tensor:
        if isinstance(self._coefficients, float):
            if self._reduction == "sum":
                return tf.reduce_sum(losses)
            # The same within rounding as to multiply, and in eager mode one op less.
            mean = tf.reduce_mean(losses)
            return mean if self._share == 1.0 else self._share * mean
        if self._sample_weight is None:
            return self._coefficients * tf.reduce_sum(losses)
        return tf.reduce_sum(self._coefficients * losses)


def _per_example(
    sample_weight: tf.Tensor, labels: tf.Tensor, shape: Any, static_shape: tf.TensorShape
) -> tf.Tensor:
    """One for each example, [batch]."""
    expected = labels.shape[:1] if shape is None else static_shape
    if not sample_weight.shape.is_compatible_with(expected) and sample_weight.shape.rank != 0:
        raise wrong_shape(
            "sample_weight", sample_weight.shape, f"a scalar or that of the loss, {expected}"
        )
    if not (sample_weight.shape.is_fully_defined() and sample_weight.shape == expected):
        full = tf.shape(labels)[:1] if shape is None else shape
        sample_weight = tf.broadcast_to(sample_weight, full, name="sample_weight")
    return sample_weight if shape is None else tf.reshape(sample_weight, [-1])


def _part_of_mean(
    sample_weight: tf.Tensor | None, labels: tf.Tensor, ignore_label: int | None, dtype: tf.DType
) -> tf.Tensor | float:
    """What a loss counts in the mean: one part in the number, or in the sum of the weights, of the
    examples that are not ignored; 0 where there are none."""
    if sample_weight is None and ignore_label is None and labels.shape[0]:
        return 1.0 / labels.shape[0]
    one = tf.ones([], dtype) if sample_weight is None else sample_weight
    if ignore_label is not None:
        present = tf.reduce_any(labels != ignore_label, axis=1)
        total = tf.reduce_sum(one * tf.cast(present, dtype))
    elif sample_weight is None:
        total = tf.cast(tf.shape(labels)[0], dtype)
    else:
        total = tf.reduce_sum(sample_weight)
    return tf.math.divide_no_nan(one, total)
