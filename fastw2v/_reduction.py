"""From the loss of each example to what the user asked for: weights, a sum, a mean."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastw2v._arguments import check_one_of, to_floats

# The mean, and the losses that it is the mean of: what a layer asks for.
MEAN_AND_LOSSES = "mean and losses"


class Reduction:
    """Weights the losses [batch] of an op, and sums or averages them if so asked.

    A sum or mean is ``sum(factor * losses)``, and the factor is known before the losses are.
    """

    def __init__(
        self,
        reduction: str,
        labels: tf.Tensor,
        shape: Any,
        static_shape: tf.TensorShape,
        dtype: tf.DType,
        sample_weight: Any,
        ignore_label: int | None,
    ) -> None:
        """Checks what the user asks for.

        Args:
            reduction: "none", "mean", "sum" or `MEAN_AND_LOSSES`.
            labels: Of the examples, [batch, num_true].
            shape: Of the losses where the user gave another than [batch], else None.
            static_shape: The same as far as it is known.
            dtype: Of the losses.
            sample_weight: As the user gave it.
            ignore_label: The label that does not count, or None.
        """
        self._keeps_losses = reduction == MEAN_AND_LOSSES
        if self._keeps_losses:
            reduction = "mean"
        check_one_of("reduction", reduction, ("none", "mean", "sum"))
        self._reduction = reduction
        self._shape = shape
        self._dtype = dtype
        self._weight = None
        if sample_weight is not None:
            self._weight = _weight(sample_weight, labels, shape, static_shape, dtype)
        self._factor: tf.Tensor | float | None = None  # of each loss; a float: no tensor is needed
        if reduction == "sum":
            self._factor = 1.0 if self._weight is None else self._weight
        elif reduction == "mean":
            self._factor = _share(self._weight, labels, ignore_label, dtype)

    @property
    def only_reduced(self) -> bool:
        """Whether the losses go nowhere but into their sum or mean."""
        return self._factor is not None and not self._keeps_losses

    def coefficients(self) -> tf.Tensor | None:
        """What each loss is multiplied with, [batch] or a scalar for all, for an op that can make
        the gradients together with the losses; None where nothing is summed."""
        if self._factor is None:
            return None
        if isinstance(self._factor, float):
            return tf.constant(self._factor, self._dtype)
        return tf.stop_gradient(self._factor)  # the op's use of them has no part in the loss

    def __call__(self, losses: tf.Tensor) -> Any:
        if self._reduction == "none":
            return self._unreduced(losses)
        reduced = self._reduced(losses)
        return (reduced, self._unreduced(losses)) if self._keeps_losses else reduced

    def _unreduced(self, losses: tf.Tensor) -> tf.Tensor:
        if self._weight is not None:
            losses *= self._weight
        return losses if self._shape is None else tf.reshape(losses, self._shape)

    def _reduced(self, losses: tf.Tensor) -> tf.Tensor:
        if isinstance(self._factor, float):
            # The same within rounding as to multiply, and in eager mode one op less.
            return tf.reduce_mean(losses) if self._reduction == "mean" else tf.reduce_sum(losses)
        if self._weight is None:
            return self._factor * tf.reduce_sum(losses)
        return tf.reduce_sum(self._factor * losses)


def _weight(
    sample_weight: Any,
    labels: tf.Tensor,
    shape: Any,
    static_shape: tf.TensorShape,
    dtype: tf.DType,
) -> tf.Tensor:
    """The weights of the examples, [batch]."""
    weight = to_floats("sample_weight", sample_weight, dtype)
    expected = labels.shape[:1] if shape is None else static_shape
    if not weight.shape.is_compatible_with(expected) and weight.shape.rank != 0:
        raise ValueError(
            f"sample_weight has shape {weight.shape}, expected a scalar or that of the loss, "
            f"{expected}"
        )
    if not (weight.shape.is_fully_defined() and weight.shape == expected):
        full = tf.shape(labels)[:1] if shape is None else shape
        weight = tf.broadcast_to(weight, full, name="sample_weight")
    return weight if shape is None else tf.reshape(weight, [-1])


def _share(
    weight: tf.Tensor | None, labels: tf.Tensor, ignore_label: int | None, dtype: tf.DType
) -> tf.Tensor | float:
    """What a loss counts in the mean: one part in the number, or in the sum of the weights, of the
    examples that are not ignored; 0 where there are none."""
    if weight is None and ignore_label is None and labels.shape[0]:
        return 1.0 / labels.shape[0]
    one = tf.ones([], dtype) if weight is None else weight
    if ignore_label is not None:
        present = tf.reduce_any(labels != ignore_label, axis=1)
        total = tf.reduce_sum(one * tf.cast(present, dtype))
    elif weight is None:
        total = tf.cast(tf.shape(labels)[0], dtype)
    else:
        total = tf.reduce_sum(weight)
    return tf.math.divide_no_nan(one, total)
