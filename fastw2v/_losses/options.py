"""The options of the losses and their ranges, for functions and layers alike."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from fastw2v._core.arguments import (
    check_one_of,
    to_compute_dtype,
    to_ignore_label,
    to_logit_softcap,
    to_numbers,
)

COMBINERS = ("mean", "sum")
REDUCTIONS = ("none", "mean", "sum")
# The mean, and the losses that it is the mean of: what a layer asks for.
MEAN_AND_LOSSES = "mean and losses"

# Numbers that ops and `fastw2v.reference` take by the same names: of all losses, and of those
# against all classes.
NUMBERS = ("logit_scale", "logit_softcap", "z_loss")
EXACT_NUMBERS = ("label_smoothing", "margin")


_RANGES = {
    "logit_scale": (-math.inf, math.inf),
    "z_loss": (0.0, math.inf),
    "label_smoothing": (0.0, 1.0),
    "margin": (0.0, 1000.0),  # below what would make a logit infinite
}


def to_option(name: str, value: Any) -> float:
    """A number in the range of the option of that name."""
    return to_numbers({name: value}, _RANGES)[name]


class Options(NamedTuple):
    """What a loss makes of its logits and of the losses of the examples, checked."""

    numbers: dict[str, float]  # of NUMBERS, a soft cap of 0 for none
    exact_numbers: dict[str, float]  # of EXACT_NUMBERS
    ignore_label: int | None
    compute_dtype: tf.DType
    combiner: str
    reduction: str


def checked(
    dtype: tf.DType,
    *,
    logit_scale: Any = 1.0,
    logit_softcap: Any = None,
    z_loss: Any = 0.0,
    label_smoothing: Any = 0.0,
    margin: Any = 0.0,
    ignore_label: Any = None,
    compute_dtype: Any = None,
    combiner: Any = "mean",
    reduction: Any = "none",
) -> Options:
    """The options as the user gave them, for tables of a dtype.

    Raises:
        ValueError: One of them is out of its range.
    """
    check_one_of("combiner", combiner, COMBINERS)
    if reduction != MEAN_AND_LOSSES:
        check_one_of("reduction", reduction, REDUCTIONS)
    numbers = {"logit_scale": logit_scale, "z_loss": z_loss}
    exact_numbers = {"label_smoothing": label_smoothing, "margin": margin}
    cap = to_logit_softcap(logit_softcap)
    return Options(
        numbers={**to_numbers(numbers, _RANGES), "logit_softcap": cap or 0.0},
        exact_numbers=to_numbers(exact_numbers, _RANGES),
        ignore_label=to_ignore_label(ignore_label),
        compute_dtype=to_compute_dtype(compute_dtype, dtype),
        combiner=combiner,
        reduction=reduction,
    )
