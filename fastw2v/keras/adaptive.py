"""The adaptive softmax as a layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastw2v import adaptive
from fastw2v._core.arguments import (
    to_compute_dtype,
    to_ignore_label,
    to_integer,
    to_numbers,
    wrong_shape,
)
from fastw2v._losses.options import MEAN_AND_LOSSES
from fastw2v.keras.base import PACKAGE
from fastw2v.keras.loss_layer import LossLayer


@keras.saving.register_keras_serializable(PACKAGE)
class AdaptiveSoftmax(LossLayer):
    """Softmax cross-entropy over classes of which few are frequent: `adaptive_softmax_loss`.

    Classes are sorted by falling frequency. Those below ``cutoffs[0]`` are compared with every
    example; those between two cutoffs, or above the last, are a cluster, whose classes have
    narrower weights and are compared with the examples whose label lies there.

    Args:
        num_classes: Number of classes, at least 2.
        cutoffs: Where clusters begin, increasing, in ``[1, num_classes - 1]``.
        div_value: The weights of the cluster i, counted from 0, are ``dim / div_value ** (i + 1)``
            wide, rounded down, and at least 1.
        use_bias: Whether frequent classes and clusters have biases.
        weights_initializer: Of all weights.
        ignore_label, compute_dtype: As in `fastw2v.softmax_loss`.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import tensorflow as tf
        >>> import fastw2v
        >>> hidden, labels = keras.Input([16]), keras.Input([], dtype="int64")
        >>> head = fastw2v.keras.AdaptiveSoftmax(1000, cutoffs=[20, 200])
        >>> model = keras.Model([hidden, labels], head(hidden, labels))
        >>> model.compile("sgd")
        >>> history = model.fit([tf.ones([64, 16]), tf.zeros([64], tf.int64)], verbose=0)
        >>> log_probabilities, classes = head.top_k(tf.ones([1, 16]), k=3)
        >>> classes.shape
        TensorShape([1, 3])
    """

    def __init__(
        self,
        num_classes: int,
        cutoffs: Any,
        *,
        div_value: float = 4.0,
        use_bias: bool = False,
        weights_initializer: Any = "glorot_uniform",
        ignore_label: int | None = None,
        compute_dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = to_integer("num_classes", num_classes, 2)
        if not isinstance(cutoffs, (list, tuple)) or not cutoffs:
            raise ValueError(f"cutoffs = {cutoffs!r} is not a list of at least one class")
        self.cutoffs = [to_integer("cutoffs", c, 1, self.num_classes - 1) for c in cutoffs]
        if sorted(set(self.cutoffs)) != self.cutoffs:
            raise ValueError(f"cutoffs = {cutoffs!r} does not increase")
        numbers = to_numbers({"div_value": div_value}, {"div_value": (1.0, 1e6)})
        self.div_value = numbers["div_value"]
        self.use_bias = bool(use_bias)
        self.weights_initializer = keras.initializers.get(weights_initializer)
        self.ignore_label = to_ignore_label(ignore_label)
        to_compute_dtype(compute_dtype, tf.as_dtype(self.variable_dtype))
        self._loss_compute_dtype = compute_dtype  # `compute_dtype` is that of the layer's policy

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        dim = tuple(input_shape)[-1]
        if dim is None:
            raise wrong_shape("inputs", tuple(input_shape), "[..., dim] with a static dim")
        rows = self.cutoffs[0] + len(self.cutoffs)
        self.head_weights = self._add((rows, dim), "head_weights")
        self.head_biases = None
        if self.use_bias:
            self.head_biases = self.add_weight(
                shape=(rows,), initializer="zeros", autocast=False, name="head_biases"
            )
        self.tails = []
        ends = [*self.cutoffs[1:], self.num_classes]
        for i, (begin, end) in enumerate(zip(self.cutoffs, ends, strict=True)):
            width = max(1, int(dim / self.div_value ** (i + 1)))
            projection = self._add((dim, width), f"projection_{i}")
            self.tails.append((projection, self._add((end - begin, width), f"tail_weights_{i}")))
        self.built = True

    def _add(self, shape: tuple[int, int], name: str) -> keras.Variable:
        return self.add_weight(
            shape=shape, initializer=self.weights_initializer, autocast=False, name=name
        )

    def _mean_and_losses(
        self, inputs: Any, labels: Any, sample_weight: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return adaptive.adaptive_softmax_loss(
            labels,
            inputs,
            self.head_weights,
            self.tails,
            self.head_biases,
            sample_weight=sample_weight,
            ignore_label=self.ignore_label,
            reduction=MEAN_AND_LOSSES,
            compute_dtype=self._loss_compute_dtype,
        )

    def _largest(self, inputs: Any, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        return adaptive.adaptive_top_k(inputs, self.head_weights, self.tails, self.head_biases, k)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "cutoffs": self.cutoffs,
            "div_value": self.div_value,
            "use_bias": self.use_bias,
            "weights_initializer": keras.initializers.serialize(self.weights_initializer),
            "ignore_label": self.ignore_label,
            "compute_dtype": self._loss_compute_dtype,
        }
