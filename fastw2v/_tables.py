"""Turns what callers give as a table (variable, Keras variable, tensor, list of shards) into what
the ops take: handles of variables, so that rows are read without copying the table, or tensors."""

from __future__ import annotations

import inspect
import reprlib
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.sharded_variable import ShardedVariable
from tensorflow.python.eager import record
from tensorflow.python.ops import resource_variable_ops

FLOATS = (tf.float32, tf.float64, tf.float16, tf.bfloat16)


class GradientWarning(UserWarning):
    """A table was given in a form that no gradient can pass."""


@dataclass(frozen=True)
class Table:
    """One table argument: its shards as the ops take them, and what is known of it statically."""

    name: str
    shards: list[tf.Tensor]
    dtype: tf.DType
    rows: int | None
    dim: int | None  # None for biases too
    variables: list[tf.Variable | None]  # behind the shards; None for a tensor

    def prepare(self, ids: Sequence[tf.Tensor] | None) -> None:
        """Called before rows ``ids`` (None: all) are read."""
        for variable in self.variables:
            if variable is not None:
                prepare_rows(variable, ids if len(self.variables) == 1 else None)


def table(name: str, value: Any, rank: int = 2) -> Table:
    """Reads the argument ``name``: a table [rows, dim] (``rank`` 2) or biases [rows] (``rank`` 1).

    Raises:
        ValueError: Wrong rank or dtype, or shards that do not fit each other.
    """
    shards, shapes, dtypes, variables = [], [], [], []
    pieces = _shards(name, value, rank)
    for i, shard in enumerate(pieces):
        which = name if len(pieces) == 1 else f"{name}[{i}]"
        shard = unwrap(shard)
        is_variable = resource_variable_ops.is_resource_variable(shard)
        variables.append(shard if is_variable else None)
        if is_variable:
            # The handle alone does not tell a tape that the variable was used.
            resource_variable_ops.variable_accessed(shard)
            shape, dtype = shard.shape, shard.dtype
            shards.append(shard.handle)
        else:
            tensor = to_tensor(which, shard)
            _warn_if_detached(which, shard)
            shape, dtype = tensor.shape, tensor.dtype
            shards.append(tensor)
        if dtype not in FLOATS:
            raise ValueError(
                f"{which} has dtype {dtype.name}, expected one of "
                + ", ".join(allowed.name for allowed in FLOATS)
            )
        if shape.rank is not None and shape.rank != rank:
            layout = "[rows, dim]" if rank == 2 else "[rows]"
            raise ValueError(f"{which} has shape {shape}, expected {layout}")
        shapes.append(shape if shape.rank is not None else tf.TensorShape([None] * rank))
        dtypes.append(dtype)
    _check_shards(name, shapes, dtypes)
    rows = [shape[0] for shape in shapes]
    return Table(
        name=name,
        shards=shards,
        dtype=dtypes[0],
        rows=None if None in rows else sum(rows),
        dim=shapes[0][1] if rank == 2 else None,
        variables=variables,
    )


_OWNER = "_fastw2v_owner"


def set_owner(variable: Any, optimizer: Any) -> None:
    """Has rows of ``variable`` brought up to date by ``optimizer.catch_up(variable, ids)`` before
    they are read. What an earlier owner owes is made up first."""
    previous = owner(variable)
    if previous is not None and previous is not optimizer:
        previous.catch_up(variable)
    setattr(unwrap(variable), _OWNER, weakref.ref(optimizer))


def owner(variable: Any) -> Any:
    """The optimizer that keeps account of what rows of ``variable`` are owed, or None."""
    reference = getattr(unwrap(variable), _OWNER, None)
    return reference() if reference is not None else None


_SAVED = "_fastw2v_saved_up_to_date"


def save_up_to_date(variable: Any) -> None:
    """Says of ``variable`` that who saves it has all its rows brought up to date first. An
    optimizer that owes it updates saves its own state as it is after that."""
    setattr(unwrap(variable), _SAVED, True)


def is_saved_up_to_date(variable: Any) -> bool:
    """Whether `save_up_to_date` was said of ``variable``."""
    return getattr(unwrap(variable), _SAVED, False)


def prepare_rows(variable: Any, ids: Sequence[tf.Tensor] | None) -> None:
    """Called before rows ``ids`` (None: all rows) of a variable are read: an optimizer that owes
    these rows updates makes them up here."""
    optimizer = owner(variable)
    if optimizer is None:
        return
    for part in [None] if ids is None else ids:
        optimizer.catch_up(variable, part)


def to_tensor(name: str, value: Any) -> tf.Tensor:
    """The argument ``name`` as a tensor; ValueError where it is nothing of the kind."""
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} = {reprlib.repr(value)} cannot be converted to a tensor"
        ) from error


def _shards(name: str, value: Any, rank: int) -> list[Any]:
    """A list of tables is a list of shards; a list of rows or of numbers is one table."""
    if isinstance(value, ShardedVariable):
        return list(value.variables)
    if not isinstance(value, (list, tuple)):
        return [value]
    if not value:
        raise ValueError(f"{name} is an empty list, expected a table or at least one shard")
    parts = [unwrap(part) for part in value]
    if not all(isinstance(part, (tf.Variable, tf.Tensor, np.ndarray)) for part in parts):
        return [value]
    are_rows = all(part.shape is not None and len(part.shape) == rank - 1 for part in parts)
    return [value] if are_rows else list(value)


def unwrap(value: Any) -> Any:
    """The tf.Variable (or, under autocast, the tensor) inside a Keras variable."""
    if isinstance(value, (tf.Variable, tf.Tensor)):
        return value
    inner = getattr(value, "value", None)
    return inner if isinstance(inner, (tf.Variable, tf.Tensor)) else value


def _check_shards(name: str, shapes: list[tf.TensorShape], dtypes: list[tf.DType]) -> None:
    for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)):
        if dtype != dtypes[0]:
            raise ValueError(
                f"{name}[{i}] has dtype {dtype.name}, but {name}[0] has dtype {dtypes[0].name}"
            )
        if not shape[1:].is_compatible_with(shapes[0][1:]):
            raise ValueError(f"{name}[{i}] has shape {shape}, but {name}[0] has shape {shapes[0]}")


def _warn_if_detached(name: str, value: Any) -> None:
    """A tape is recording, and the caller has already cut this table off from it."""
    if not record.could_possibly_record():
        return
    if isinstance(value, tf.Tensor):
        if not value.dtype.is_floating or record.should_record_backprop([value]):
            return
        what = "a tensor that the recording tape does not watch"
    else:
        what = "a NumPy array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    warnings.warn(
        f"{name} is {what}, so no gradient will reach a variable through it. Pass the tf.Variable "
        "itself, or compute the tensor from it inside the tape; if the table is meant to stay as "
        "it is, pass a tf.Variable with trainable=False.",
        GradientWarning,
        stacklevel=_levels_to_caller(),
    )


def _levels_to_caller() -> int:
    """The stack level, as `warnings.warn` counts it, of the line that called this package; in a
    tf.function AutoGraph stands between."""
    frame, level = inspect.currentframe(), 0
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in ("fastw2v", "tensorflow"):
            break
        frame, level = frame.f_back, level + 1
    return level
