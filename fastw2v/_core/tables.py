"""Turns what callers give as a table (variable, Keras variable, tensor, list of shards) into what
the ops take: handles of variables, so that rows are read without copying the table, or tensors."""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fastw2v._core import tensorflow_ops, tf_internals, xla
from fastw2v._core.arguments import to_tensor, wrong_shape

FLOATS = (tf.float32, tf.float64, tf.float16, tf.bfloat16)
# In what the losses of tables of a dtype are summed.
ACCUMULATORS = {dtype: tf.float64 if dtype == tf.float64 else tf.float32 for dtype in FLOATS}


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
    machines: frozenset[str]  # those that variables lie on
    sharded: Any = None  # the `fastw2v.distribute.ShardedTable` that it is

    def prepare(self, ids: Sequence[tf.Tensor] | None) -> None:
        """Called before rows ``ids`` (None: all) are read; of a sharded table those of the running
        replica's part, counted from its first."""
        for variable in self.variables:
            if variable is not None:
                apply_pending(variable, ids if len(self.variables) == 1 else None)


def table(name: str, value: Any, rank: int = 2, *, tells: bool = True) -> Table:
    """Reads the argument ``name``: a table [rows, dim] (``rank`` 2) or biases [rows] (``rank`` 1).

    ``tells``: whether it warns of what a recording tape does not watch.

    Raises:
        ValueError: Wrong rank or dtype, or shards that do not fit each other.
    """
    if is_sharded(value):
        return _sharded(name, unwrap(value), rank)
    shards, shapes, dtypes, variables, devices = [], [], [], [], set()
    pieces = _shards(name, value, rank)
    for i, shard in enumerate(pieces):
        which = name if len(pieces) == 1 else f"{name}[{i}]"
        whole = unwrap(shard)  # all replicas of a variable of a strategy
        shard = _of_one_replica(whole)
        is_variable = tf_internals.is_resource_variable(shard)
        variables.append(whole if is_variable else None)
        if is_variable:
            tf_internals.mark_as_read(shard)
            shape, dtype = shard.shape, shard.dtype
            shards.append(shard.handle)
            devices.add(shard.device)
        else:
            tensor = to_tensor(which, shard)
            if tells:
                _warn_if_detached(which, shard)
            shape, dtype = tensor.shape, tensor.dtype
            shards.append(tensor)
        check_float(which, dtype)
        _check_rank(which, shape, rank)
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
        machines=frozenset(map(_machine, devices)),
    )


def is_sharded(value: Any) -> bool:
    """Whether it is a `fastw2v.distribute.ShardedTable`, or a Keras variable that holds one."""
    return hasattr(unwrap(value), "cut")


def _sharded(name: str, value: Any, rank: int) -> Table:
    """The part of the replica that is running, as a table that knows of the others."""
    _check_rank(name, value.shape, rank)
    if xla.compiles():
        raise ValueError(
            f"{name} is a sharded table, which needs collectives that XLA does not compile here: "
            "leave jit_compile off"
        )
    if tensorflow_ops.is_served():
        raise ValueError(
            f"{name} is a sharded table, and what is served has whole tables: save the model, load "
            "it without a strategy, and export that"
        )
    tf_internals.mark_as_read(value.variable)
    return Table(
        name=name,
        shards=[value.handle],
        dtype=value.dtype,
        rows=value.shape[0],
        dim=value.shape[1] if rank == 2 else None,
        variables=[value],
        machines=frozenset([_machine(value.variable.device)]),
        sharded=value,
    )


def _check_rank(name: str, shape: tf.TensorShape, rank: int) -> None:
    if shape.rank is not None and shape.rank != rank:
        raise wrong_shape(name, shape, "[rows, dim]" if rank == 2 else "[rows]")


@functools.cache
def _machine(device: str) -> str:
    """Of a device, without which of the machine's own it is."""
    spec = tf.DeviceSpec.from_string(device or "")
    return spec.replace(device_type=None, device_index=None).to_string()


class LossTables(NamedTuple):
    """The tables of a loss, None for one that is not given."""

    embeddings: Table | None
    weights: Table
    biases: Table | None


def tables_of(
    given: dict[str, Any], partition_strategy: str = "div", *, tells: bool = True
) -> LossTables:
    """The tables of a loss.

    Args:
        given: As the user gave them: "weights", "biases" (which may be None), and of losses that
            take ids "embeddings".
        partition_strategy: "div": shards are consecutive rows; "mod", which lays rows out in turn,
            is the same for a table that is whole.
        tells: As for `table`.

    Raises:
        ValueError: One is no table, or they do not fit each other.
    """
    embeddings, biases = None, None
    if "embeddings" in given:
        embeddings = table("embeddings", given["embeddings"], tells=tells)
    weights = table("weights", given["weights"], tells=tells)
    if given["biases"] is not None:
        biases = table("biases", given["biases"], rank=1, tells=tells)
    if partition_strategy == "mod" and len(weights.shards) > 1:
        raise ValueError(
            f'partition_strategy = "mod", which lays the rows of {len(weights.shards)} shards out '
            'in turn, expected "div": give shards of consecutive rows, or a table that is whole'
        )
    for other in (embeddings, biases):
        if other is not None and other.dtype != weights.dtype:
            raise ValueError(
                f"{other.name} has dtype {other.dtype.name}, but weights has dtype "
                f"{weights.dtype.name}; they must be equal"
            )
    if biases is not None and None not in (biases.rows, weights.rows):
        if biases.rows != weights.rows:
            message = f"biases has {biases.rows} entries, but weights has {weights.rows} rows"
            if biases.rows == weights.dim:
                message += transposed(weights.rows)
            raise ValueError(message)
    return LossTables(embeddings, weights, biases)


def transposed(dim: int | None) -> str:
    """The end of a message where weights have the shape of the kernel of a Dense layer."""
    return f"; weights seem to be transposed: expected [classes, {dim}]"


def trained_variables(
    arguments: dict[str, Any],
) -> tuple[list[Any], dict[str, tf.Variable] | None]:
    """The trainable variables of the tables among the arguments of a loss.

    Returns:
        Each once, as the caller gave it; and by table, where one op may update them: None where one
        is a shard, is two tables, or has a constraint, or where they lie on several machines.

    Raises:
        ValueError: There is none.
    """
    variables: list[Any] = []
    by_table: dict[str, tf.Variable] = {}
    machines: set[str] = set()
    are_plain = True
    for name in LossTables._fields:
        value: Any = arguments.get(name)
        if isinstance(value, tf_internals.ShardedVariable):
            value = value.variables
        in_shards = isinstance(value, (list, tuple))
        for shard in value if in_shards else [value]:
            variable = unwrap(shard)
            if isinstance(variable, tf.Variable):
                machines.add(_machine(variable.device))
            if not (isinstance(variable, tf.Variable) or is_sharded(variable)):
                continue
            if not shard.trainable:
                continue
            check_float(name, variable.dtype)
            is_new = all(variable is not unwrap(other) for other in variables)
            is_free = getattr(shard, "constraint", None) is None
            is_plain = is_free and not (in_shards or is_sharded(variable))
            are_plain = are_plain and is_new and is_plain
            if is_new:
                variables.append(shard)
            by_table[name] = variable
    if not variables:
        tables = ", ".join(name for name in LossTables._fields if name in arguments)
        raise ValueError(f"none of {tables} is a trainable variable: there is nothing to train")
    return variables, by_table if are_plain and len(machines) == 1 else None


def shape_of(shard: tf.Tensor) -> tf.Tensor:
    """The shape of a shard as the ops take it, a handle of a variable or a tensor."""
    return tf_internals.shape_of_handle(shard) if shard.dtype == tf.resource else tf.shape(shard)


def slices(
    shards: Sequence[tf.Tensor], rows: Sequence[tf.Tensor], values: Sequence[tf.Tensor]
) -> list[tf.IndexedSlices]:
    """The gradients of some shards, of which only rows were used."""
    return [
        tf.IndexedSlices(value, row, dense_shape=shape_of(shard))
        for shard, row, value in zip(shards, rows, values, strict=True)
    ]


_OWNER = "_fastw2v_owner"


def set_owner(variable: Any, optimizer: Any) -> None:
    """Has ``optimizer.apply_pending(variable, ids)`` called before rows of ``variable`` are read.
    Updates that are pending with an earlier owner are applied first."""
    previous = owner(variable)
    if previous is not None and previous is not optimizer:
        previous.apply_pending(variable)
    variable = unwrap(variable)
    is_distributed = isinstance(variable, tf.distribute.DistributedValues)
    for copy in [variable, *(variable.values if is_distributed else [])]:
        setattr(copy, _OWNER, weakref.ref(optimizer))


def owner(variable: Any) -> Any:
    """The optimizer that may have pending updates of rows of ``variable``, or None."""
    reference = getattr(unwrap(variable), _OWNER, None)
    return reference() if reference is not None else None


_SAVED = "_fastw2v_saved_without_pending"


def save_without_pending(variable: Any) -> None:
    """Says of ``variable`` that whoever saves it has all its pending updates applied first. The
    optimizer saves its own state as it is after that."""
    setattr(unwrap(variable), _SAVED, True)


def is_saved_without_pending(variable: Any) -> bool:
    """Whether `save_without_pending` was said of ``variable``."""
    return getattr(unwrap(variable), _SAVED, False)


def apply_pending(variable: Any, ids: Sequence[tf.Tensor] | None) -> None:
    """Called before rows ``ids`` (None: all rows) of a variable are read: the optimizer that has
    pending updates of these rows applies them here."""
    optimizer = owner(variable)
    if optimizer is None:
        return
    if not tf.executing_eagerly() and (tensorflow_ops.is_served() or _is_exported()):
        # A SavedModel holds the table as it is now, and not the optimizer's state.
        with tf.init_scope():
            optimizer.apply_pending(variable)
        return
    for part in [None] if ids is None else ids:
        optimizer.apply_pending(variable, part)


def _is_exported() -> bool:
    """Whether what is traced now is traced to be saved, by Keras or TensorFlow, which do not tell
    in another way."""
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("keras.src.export.", "tensorflow.python.saved_model.")):
            return True
        frame = frame.f_back
    return False


def _shards(name: str, value: Any, rank: int) -> list[Any]:
    """A list of tables is a list of shards; a list of rows or of numbers is one table."""
    if isinstance(value, tf_internals.ShardedVariable):
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
    """The tf.Variable, the `fastw2v.distribute.ShardedTable` or, under autocast, the tensor inside
    a Keras variable."""
    if isinstance(value, (tf.Variable, tf.Tensor)) or hasattr(value, "cut"):
        return value
    inner = getattr(value, "value", None)
    is_table = isinstance(inner, (tf.Variable, tf.Tensor)) or hasattr(inner, "cut")
    return inner if is_table else value


def _of_one_replica(value: Any) -> Any:
    """The variable that a distributed one is where no replica runs, as for its own reads there."""
    if isinstance(value, tf.distribute.DistributedValues):
        if tf.distribute.in_cross_replica_context():
            return tf.distribute.get_strategy().experimental_local_results(value)[0]
    return value


def update_copies(variable: tf.Variable, update: Callable[[tf.Variable], None]) -> None:
    """Calls ``update`` with the copy of a variable that the running replica of a strategy has;
    where no replica runs, with all copies; with the variable itself where there is no strategy."""
    if is_sharded(variable):
        variable.update_all(update)
        return
    if isinstance(variable, tf.distribute.DistributedValues):
        strategy = variable.distribute_strategy
        is_replica = tf.distribute.get_replica_context() is not None
        if not is_replica or tf.distribute.get_strategy() is not strategy:
            with strategy.scope():
                strategy.extended.update(variable, update, group=False)
            return
    update(variable)


def check_float(name: str, dtype: tf.DType) -> None:
    """Raises ValueError for a table of another dtype than the losses take."""
    if dtype not in FLOATS:
        allowed = ", ".join(each.name for each in FLOATS)
        raise ValueError(f"{name} has dtype {dtype.name}, expected one of {allowed}")


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
    if not tf_internals.could_record():
        return
    if isinstance(value, tf.Tensor):
        if not value.dtype.is_floating or tf_internals.tapes_record([value]):
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
