"""Directional derivatives of the ops, for `tf.autodiff.ForwardAccumulator`.

TensorFlow makes them for any op by transposing its registered gradient, which is linear in what
arrives for the outputs. It knows how to do so with tensors alone: of a gradient that is a
`tf.IndexedSlices`, as those of tables are, it would differentiate the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastw2v._core import tf_internals


def register(op_name: str) -> None:
    """Gives an op, which has a registered gradient, directional derivatives."""

    def derivative(
        attributes: tuple[Any, ...],
        inputs: Sequence[tf.Tensor],
        outputs: Sequence[tf.Tensor],
        tangents: Sequence[tf.Tensor],
    ) -> list[tf.Tensor | None]:
        # Tapes do not record while an accumulator does.
        with tf_internals.push_forwardprop_state():
            with tf.GradientTape() as tape:
                upstream = [tf.zeros_like(output) for output in outputs]
                tape.watch([each for each in upstream if each.dtype.is_floating])
                gradients = tf_internals.gradient_function(
                    op_name, attributes, len(inputs), inputs, outputs, upstream, [], ""
                )
                products = [
                    _product(gradient, tangent)
                    for gradient, tangent in zip(gradients, tangents, strict=True)
                    if gradient is not None and tangent is not None
                ]
            return tape.gradient(products, upstream)

    tf_internals.DERIVATIVES[op_name] = derivative


def _product(gradient: Any, tangent: tf.Tensor) -> tf.Tensor:
    """The sum of the products with the tangent, of which only the rows of the gradient are read."""
    if isinstance(gradient, tf.IndexedSlices):
        gradient, tangent = gradient.values, tf.gather(tangent, gradient.indices)
    return tf.reduce_sum(gradient * tf.stop_gradient(tangent))
