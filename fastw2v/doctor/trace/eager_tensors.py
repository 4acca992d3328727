"""Eager tensors and their values, looked at in ways that leave no trace in a recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

FLOATS = frozenset(
    dtype.as_datatype_enum for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64)
)


def values_of(gradient: Any) -> Any:
    """The tensor with the numbers of a gradient, which may be sparse."""
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def is_concrete(tensor: Any) -> bool:
    """Whether it is a tensor whose values are known now."""
    return isinstance(tensor, ops.EagerTensor)


def is_zero(tensor: Any) -> bool:
    """Whether all elements of a floating-point tensor are exactly 0; an empty one is not zero."""
    if tensor._datatype_enum() not in FLOATS:
        return False
    values = array_of(tensor)
    # Mostly the first element decides.
    return values.size > 0 and not values.item(0) and not values.any()


def array_of(tensor: Any) -> np.ndarray:
    """The values of an eager tensor, by a way that a watch on `.numpy()` does not see."""
    return tensor._numpy()


def eager(tensors: Iterable[Any]) -> list[Any]:
    """The eager tensors among others and Nones."""
    return [tensor for tensor in tensors if isinstance(tensor, ops.EagerTensor)]
