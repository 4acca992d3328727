"""The causes that the doctor knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A cause of a missing or useless gradient.

    Attributes:
        title: What happened, in a few words.
        explanation: Why there is no gradient, one sentence.
        fix: What to write instead.
        ops: Types of TensorFlow ops that are this cause wherever a path from a variable to the
            loss ends in them.
    """

    title: str
    explanation: str
    fix: str
    ops: tuple[str, ...] = ()


_ROUNDING = ("Round", "Rint", "Floor", "Ceil", "FloorDiv")
_COMPARISONS = (
    *("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "ApproximateEqual"),
    *("LogicalAnd", "LogicalOr", "LogicalNot", "IsNan", "IsInf", "IsFinite", "InTopKV2"),
)

KINDS: dict[str, Kind] = {
    "stop_gradient": Kind(
        "tf.stop_gradient",
        "tf.stop_gradient passes values on and holds gradients back.",
        "Leave tf.stop_gradient out where the variable shall be trained.",
        ("StopGradient", "PreventGradient"),
    ),
    "rounding": Kind(
        "rounding",
        "Rounding is constant between its steps, so TensorFlow defines no gradient for it.",
        "Compute the loss from the value before rounding.",
        _ROUNDING,
    ),
    "comparison": Kind(
        "comparison",
        "A comparison gives true or false, which have no gradient.",
        "Use a smooth function in its place, such as tf.sigmoid(a - b).",
        _COMPARISONS,
    ),
}
