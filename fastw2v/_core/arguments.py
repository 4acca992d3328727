"""Checks of single arguments: each returns the argument as the ops take it, or raises a ValueError
that names it, the value given and what is allowed."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Integers up to 2 to this power are exact in the dtype.
_EXACT_BITS = {tf.float16: 11, tf.bfloat16: 8, tf.float32: 24, tf.float64: 53}


def wrong_shape(name: str, shape: Any, expected: str) -> ValueError:
    """The error for an argument of another shape than ``expected`` says, worded as in csrc."""
    return ValueError(f"{name} has shape {shape}, expected {expected}")


def to_tensor(name: str, value: Any) -> tf.Tensor:
    """The argument ``name`` as a tensor; ValueError where it is nothing of the kind."""
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} = {reprlib.repr(value)} cannot be converted to a tensor"
        ) from error


def to_ids(name: str, value: Any, rows: int | None = None) -> tf.Tensor:
    """Integers of any shape, as int64. Of a table with ``rows`` rows, floats are taken too, if they
    can be all its ids exactly; as in TensorFlow and Keras they are cast."""
    ids = to_tensor(name, value)
    is_empty_list = isinstance(value, (list, tuple, np.ndarray)) and np.size(value) == 0
    if not is_empty_list:  # which has no type of its own
        check_ids_dtype(name, ids.dtype, rows)
    return tf.cast(ids, tf.int64)


def check_ids_dtype(name: str, dtype: tf.DType, rows: int | None) -> None:
    """A ValueError where values of ``dtype`` cannot be ids of a table with ``rows`` rows."""
    if dtype.is_integer:
        return
    bits = _EXACT_BITS.get(dtype)
    if rows is None or bits is None:
        raise ValueError(
            f"{name} has dtype {dtype.name}, expected integer ids. A cast to float cuts the "
            "gradient and changes ids above 2**24 in float32; keep ids in int32 or int64"
        )
    if rows > 2**bits:
        raise ValueError(
            f"{name} has dtype {dtype.name}, which is exact for ids up to 2**{bits} only, and the "
            f"table has {rows} rows: keep ids in int32 or int64, in Keras from the start by "
            'keras.Input(..., dtype="int64")'
        )


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
        with contextlib.suppress(OverflowError), np.errstate(over="ignore"):
            number = float(np.float32(value))
    if not math.isfinite(number) or not low <= number < high:
        left = "(-inf" if low == -math.inf else f"[{low}"
        right = "inf" if high == math.inf else str(high)
        raise ValueError(
            f"{name} = {reprlib.repr(value)} is not a Python number in {left}, {right})"
        )
    return number


def to_numbers(values: dict[str, Any], ranges: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Numbers by their names, each in [low, high) of its name."""
    return {name: to_number(name, value, *ranges[name]) for name, value in values.items()}


def to_logit_softcap(value: Any) -> float | None:
    """A number above 0, or None for no cap."""
    if value is None:
        return None
    cap = to_number("logit_softcap", value, 0.0, math.inf)
    if cap == 0.0:
        raise ValueError(f"logit_softcap = {value!r} is not in (0, inf); None: no cap")
    return cap


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


def to_bool(name: str, value: Any) -> bool:
    """A bool of Python or NumPy, as Python's."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} = {reprlib.repr(value)} is not True or False")
    return bool(value)


def to_ignore_label(value: Any) -> int | None:
    """An integer, or None where all labels count."""
    return None if value is None else to_integer("ignore_label", value, -(2**63))


def to_compute_dtype(value: Any, dtype: tf.DType) -> tf.DType:
    """What operands of products are rounded to, for tables of ``dtype``."""
    accumulator = tf.float64 if dtype == tf.float64 else tf.float32
    if value is None:
        return accumulator
    try:
        wanted = tf.as_dtype(value)
    except TypeError:
        wanted = None
    allowed = [accumulator] if accumulator == tf.float64 else [accumulator, tf.bfloat16]
    if wanted not in allowed:
        raise ValueError(
            f"compute_dtype = {value!r}, expected None or "
            f"{' or '.join(one.name for one in allowed)} for tables of {dtype.name}"
        )
    return wanted


def to_integers(name: str, value: Any, shape: list[int | None]) -> tf.Tensor:
    """Integers of the given shape, as int64; None stands for any size."""
    expected = f"integers of shape {shape}"
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} = {reprlib.repr(value)}, expected {expected}") from error
    if not tensor.dtype.is_integer:
        raise ValueError(f"{name} has dtype {tensor.dtype.name}, expected {expected}")
    if not tensor.shape.is_compatible_with(shape):
        raise wrong_shape(name, tensor.shape, expected)
    return tf.cast(tensor, tf.int64)


def to_counts(counts: Any) -> tf.Tensor:
    """How often each class occurs, [num_classes], as float64."""
    expected = "a vector of numbers, one for each of at least one class"
    try:
        counts = counts if tf.is_tensor(counts) else np.asarray(counts)
        dtype = tf.as_dtype(counts.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"counts = {reprlib.repr(counts)}, expected {expected}") from error
    if not (dtype.is_integer or dtype.is_floating):
        raise ValueError(f"counts has dtype {dtype.name}, expected {expected}")
    shape = tf.TensorShape(counts.shape)
    if shape.rank != 1 or not shape[0]:
        raise wrong_shape("counts", shape, expected)
    return tf.cast(counts, tf.float64)


def check_seed(seed: Any) -> Any:
    """None, an integer, or a pair of integers as int64 [2]."""
    if isinstance(seed, (list, tuple, np.ndarray)) or tf.is_tensor(seed):
        return to_integers("seed", seed, [2])
    if seed is None:
        return None
    try:
        if isinstance(seed, bool):
            raise TypeError
        return operator.index(seed)
    except TypeError:
        raise ValueError(
            f"seed = {reprlib.repr(seed)} is not None, an integer or a pair of integers"
        ) from None


def to_seed_pair(seed: Any) -> tf.Tensor:
    """A pair of integers, as int64 [2]: the pair given, or one drawn as tf.random does it."""
    seed = check_seed(seed)
    if tf.is_tensor(seed):
        return seed
    return tf.random.uniform([2], tf.int64.min, tf.int64.max, tf.int64, seed)


def check_one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """One of the strings."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{name} = {reprlib.repr(value)} is not one of "
            + ", ".join(f'"{choice}"' for choice in allowed)
        )
