"""Checks of single arguments: each returns the argument as the ops take it, or raises a ValueError
that names it, the value met and what is allowed."""

from __future__ import annotations

import math
import numbers
import operator
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v._tables import to_tensor


def to_ids(name: str, value: Any) -> tf.Tensor:
    """Integers of any shape, as int64."""
    ids = to_tensor(name, value)
    if not ids.dtype.is_integer:
        if isinstance(value, (list, tuple, np.ndarray)) and np.size(value) == 0:
            return tf.cast(ids, tf.int64)  # an empty list has no type of its own
        raise ValueError(
            f"{name} has dtype {ids.dtype.name}, expected integer ids. A cast to float cuts the "
            "gradient and changes ids above 2**24 in float32; keep ids in int32 or int64"
        )
    return tf.cast(ids, tf.int64)


def to_floats(name: str, value: Any, dtype: tf.DType) -> tf.Tensor:
    """Numbers of any shape, cast to ``dtype``."""
    floats = to_tensor(name, value)
    if not (floats.dtype.is_floating or floats.dtype.is_integer or floats.dtype.is_bool):
        raise ValueError(f"{name} has dtype {floats.dtype.name}, expected numbers")
    return tf.cast(floats, dtype)


def to_number(name: str, value: Any, low: float, high: float) -> float:
    """A finite Python number in [low, high), as float32 keeps it."""
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with np.errstate(over="ignore"):
            number = float(np.float32(value))
    if not math.isfinite(number) or not low <= number < high:
        left = "(-inf" if low == -math.inf else f"[{low}"
        right = "inf" if high == math.inf else str(high)
        raise ValueError(
            f"{name} = {reprlib.repr(value)} is not a Python number in {left}, {right})"
        )
    return number


def to_integer(name: str, value: Any, low: int, high: int = 2**63 - 1) -> int:
    """A Python integer in [low, high]."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        integer = operator.index(tf.get_static_value(value) if tf.is_tensor(value) else value)
    except TypeError:
        integer = low - 1
    if not low <= integer <= high:
        raise ValueError(
            f"{name} = {reprlib.repr(value)} is not a Python integer in [{low}, {high}]"
        )
    return integer


def to_integers(name: str, value: Any, shape: list[int | None]) -> tf.Tensor:
    """Integers of the given shape, as int64; None stands for any size."""
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be integers of shape {shape}; got {reprlib.repr(value)}"
        ) from error
    if not tensor.dtype.is_integer or not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            f"{name} must be integers of shape {shape}; got dtype {tensor.dtype.name} and shape "
            f"{tensor.shape}"
        )
    return tf.cast(tensor, tf.int64)


def to_counts(counts: Any) -> tf.Tensor:
    """How often each class occurs, [num_classes], as float64."""
    try:
        counts = counts if tf.is_tensor(counts) else np.asarray(counts)
        dtype = tf.as_dtype(counts.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"counts must be a vector of numbers; got {reprlib.repr(counts)}"
        ) from error
    shape = tf.TensorShape(counts.shape)
    if not (dtype.is_integer or dtype.is_floating) or shape.rank != 1 or not shape[0]:
        raise ValueError(
            "counts must be a vector of numbers, one for each of at least one class; got dtype "
            f"{dtype.name} and shape {shape}"
        )
    return tf.cast(counts, tf.float64)


def to_seed_pair(seed: Any) -> tf.Tensor:
    """A pair of integers, as int64 [2]: the pair given, or one drawn as tf.random does it."""
    if isinstance(seed, (list, tuple, np.ndarray)) or tf.is_tensor(seed):
        return to_integers("seed", seed, [2])
    if seed is not None:
        try:
            if isinstance(seed, bool):
                raise TypeError
            seed = operator.index(seed)
        except TypeError:
            raise ValueError(
                f"seed = {reprlib.repr(seed)} is not None, an integer or a pair of integers"
            ) from None
    return tf.random.uniform([2], tf.int64.min, tf.int64.max, tf.int64, seed)


def check_one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """One of the strings."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{name} = {reprlib.repr(value)} is not one of "
            + ", ".join(f'"{choice}"' for choice in allowed)
        )
