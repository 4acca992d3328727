"""What is said where replicas call a collective with tensors of different shapes. Imports no
TensorFlow."""

from __future__ import annotations

# How TensorFlow's message begins.
_MESSAGE = "Shape mismatch in the collective instance"
SENTENCE = (
    "replicas came with batches of different sizes: batch(..., drop_remainder=True), or pad with "
    "ignore_label"
)


def is_told_by(text: str) -> bool:
    """Whether a message of TensorFlow says so."""
    return _MESSAGE in text
