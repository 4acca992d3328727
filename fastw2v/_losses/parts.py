"""An exact softmax loss whose classes lie in several places: the statistics that each part has of
the examples, the losses that follow from all parts, and the gradients of a part.

A part is a call whose tables have the classes [first_class, first_class + rows) of ``num_classes``;
its labels are classes of any part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from fastw2v._core.library import ops as _ops
from fastw2v._core.tables import ACCUMULATORS

if TYPE_CHECKING:
    from fastw2v._losses.call import LossCall


class Losses(NamedTuple):
    """Losses of examples, the maxima of their logits and the logarithms of ``sum exp(z - max)``,
    each [batch]."""

    loss: tf.Tensor
    max: tf.Tensor
    log_sum: tf.Tensor


def statistics(call: LossCall, first_class: Any, num_classes: Any) -> tf.Tensor:
    """What the losses need to know of a part, [4, batch]."""
    return _ops.fastw2v_softmax_part(
        **call.op_inputs,
        **call.attributes,
        part=_part(first_class, num_classes),
        Accumulator=ACCUMULATORS[call.dtype],
    )


def join(call: LossCall, statistics: tf.Tensor, part_classes: Any) -> Losses:
    """The losses.

    Args:
        call: Of one of the parts.
        statistics: Of all parts in the order of their classes, [parts, 4, batch].
        part_classes: How many classes each part has, [parts].
    """
    options = ("use_ignore_label", "ignore_label", "z_loss", "label_smoothing")
    return Losses(
        *_ops.fastw2v_join_softmax_parts(
            statistics=statistics,
            part_classes=tf.cast(part_classes, tf.int64),
            labels=call.labels,
            **{name: call.attributes[name] for name in options if name in call.attributes},
        )
    )


def gradients(
    call: LossCall, first_class: Any, num_classes: Any, d_loss: tf.Tensor, losses: Losses
) -> list[Any]:
    """The gradients of the float inputs of a part; that of activations is what the classes of the
    part give, to be added to what the others give."""
    grads = _ops.fastw2v_softmax_part_grad(
        d_loss=d_loss,
        max=losses.max,
        log_sum=losses.log_sum,
        part=_part(first_class, num_classes),
        **call.gradient_sizes(),
        **call.op_inputs,
        **call.attributes,
    )
    return call.gradients_of(grads)


def _part(first_class: Any, num_classes: Any) -> tf.Tensor:
    return tf.stack([tf.cast(first_class, tf.int64), tf.cast(num_classes, tf.int64)])
