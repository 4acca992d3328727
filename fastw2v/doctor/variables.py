"""Names and numbers of what gradients are asked for: variables, Keras variables and tensors."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def name_of(variable: Any) -> str:
    """The name to show a person."""
    path = getattr(variable, "path", None)
    if isinstance(path, str) and path:
        return path
    if isinstance(variable, tf.Variable):
        return variable.name.removesuffix(":0")
    if tf.is_tensor(variable):
        if not hasattr(variable, "_numpy"):
            return variable.name.removesuffix(":0")
        return f"tensor of shape {tuple(variable.shape)}"
    return type(variable).__name__


def handle_of(variable: Any) -> int | None:
    """The number of the eager tensor that stands for a variable as the input of ops."""
    value = getattr(variable, "value", None)
    if not callable(value) and value is not None:
        variable = value
    tensor = getattr(variable, "handle", variable)
    return getattr(tensor, "_id", None)
