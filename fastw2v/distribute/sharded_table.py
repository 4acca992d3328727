"""`ShardedTable`: a table whose rows are cut among the replicas of a group."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastw2v._core.arguments import to_integer
from fastw2v._core.cut import Cut
from fastw2v._core.tables import check_float
from fastw2v.distribute.group import Group
from fastw2v.distribute.per_replica import PerReplica


class ShardedTable(PerReplica):
    """A table [rows, dim], or biases [rows], of which each replica of a group has a part.

    The parts are consecutive rows, cut as `tf.nn.embedding_lookup` does by the strategy "div": the
    first ``rows % size`` of the ``size`` parts have one row more than the others, and a part may be
    empty. The whole table is nowhere in memory. The losses, `fastw2v.lookup`, `fastw2v.top_k`,
    `fastw2v.train_step` and `fastw2v.optimizers` take it in the place of a variable, in the
    function that ``strategy.run`` is given. All replicas call them, with batches of one size.

    A gradient by the table is that of the running replica's part, of the sum of all replicas'
    losses: an IndexedSlices counts rows from the first of the part. Optimizers of Keras would add
    up the gradients of different parts, and are refused.

    Args:
        shape: [rows, dim] or [rows], of the whole table.
        initializer: An array of the whole table; or a function ``(first_row, shape)`` that returns
            rows [shape] from ``first_row`` on; or what Keras takes as an initializer: it sees the
            shape of a part, and draws other numbers for each.
        dtype: float32, float64, float16 or bfloat16.
        trainable: Whether tapes watch it.
        name: Of the variables.
        group: Whose replicas have the parts; None: all replicas of the strategy whose scope this
            is. Where the replicas are cut into several groups, each has a copy of the table, and
            optimizers keep these equal.

    Attributes:
        shape: Of the whole table.
        dtype: Of its entries.
        group: As given.
        variable: The part of the replica that is running, a ``tf.Variable``.
        variables: The parts of the replicas of this process.

    Raises:
        ValueError: ``shape``, ``dtype`` or what the initializer returns is wrong.

    Example:
        >>> import tensorflow as tf
        >>> import fastw2v
        >>> table = fastw2v.distribute.ShardedTable([5, 2], "ones")  # one replica has the whole
        >>> float(tf.reduce_sum(fastw2v.lookup(table, [0, 4])))
        4.0
    """

    def __init__(
        self,
        shape: Sequence[int],
        initializer: Any = "uniform",
        dtype: Any = "float32",
        trainable: bool = True,
        name: str = "table",
        group: Group | None = None,
    ) -> None:
        self.shape = tf.TensorShape(_checked_shape(shape))
        group = Group() if group is None else group
        dtype = tf.as_dtype(dtype)
        check_float(name, dtype)
        self.cut = Cut(self.shape[0], group.size)
        self._initialize(initializer, group, dtype, trainable, name)

    def _initialize(
        self, initializer: Any, group: Group, dtype: tf.DType, trainable: bool, name: str
    ) -> None:
        make = _values(initializer, self.shape, dtype)

        def part(rank: int) -> Any:
            shape = [self.cut.sizes()[rank], *self.shape[1:]]
            values = make(self.cut.first_row(rank), shape)
            found = list(np.shape(values))
            if found != shape:
                raise ValueError(f"initializer returns shape {found}, expected {shape}")
            return values

        super().__init__(part, group, dtype, trainable=trainable, name=name)

    @property
    def first_row(self) -> int:
        """The row of the whole table that is the first of the running replica's part."""
        return self.cut.first_row(self.group.rank)

    @property
    def _unique_id(self) -> str:
        """By which Keras' optimizers distinguish variables."""
        return f"{self.name}_{id(self)}"

    @property
    def overwrite_with_gradient(self) -> bool:
        """What Keras' optimizers ask of a variable before they use it; those of this library do
        not."""
        raise ValueError(
            "Keras' optimizers sum the gradients of all replicas before they update, and "
            f"{self.name} is sharded: use one of fastw2v.optimizers"
        )

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        raise ValueError(
            f"{self.name} is sharded, and no replica has the whole table as a tensor: "
            "fastw2v.lookup reads rows"
        )

    def slot(self, shape: Sequence[int], initializer: Any, dtype: Any, name: str) -> ShardedTable:
        """What an optimizer keeps of each row, [rows, ...], cut as this table is."""
        slot = object.__new__(ShardedTable)
        slot.shape, slot.cut = tf.TensorShape(shape), self.cut
        slot._initialize(initializer, self.group, tf.as_dtype(dtype), False, name)
        return slot

    def beside(self, shape: Sequence[int], dtype: Any, name: str) -> PerReplica:
        """Zeros that belong to each part, [...], whatever its rows."""
        dtype = tf.as_dtype(dtype)
        return PerReplica(
            lambda rank: tf.zeros(shape, dtype), self.group, dtype, trainable=False, name=name
        )

    def saved_shape(self) -> list[int]:
        """Of what a checkpoint has: the whole table."""
        return self.shape.as_list()

    def slices(self) -> list[tuple[str, tf.Variable]]:
        """The rows of the table that each variable has, as `tf.raw_ops.SaveV2` writes them."""
        sizes = self.cut.sizes()
        whole = " ".join(map(str, self.shape))
        rest = "".join(f":0,{size}" for size in self.shape[1:])
        return [
            (f"{whole} {self.cut.first_row(rank)},{sizes[rank]}{rest}", variable)
            for (rank, _), variable in zip(self.group.members_here(), self.variables, strict=True)
        ]

    def __repr__(self) -> str:
        return (
            f"<ShardedTable '{self.name}' of shape {self.shape} and dtype {self.dtype.name} in "
            f"{self.cut.parts} parts>"
        )


def _checked_shape(shape: Any) -> list[int]:
    sizes = list(shape) if isinstance(shape, (list, tuple, tf.TensorShape)) else []
    if len(sizes) not in (1, 2):
        raise ValueError(f"shape = {reprlib.repr(shape)}, expected [rows, dim] or [rows]")
    return [to_integer("shape", size, 1) for size in sizes]


def _values(
    initializer: Any, shape: tf.TensorShape, dtype: tf.DType
) -> Callable[[int, list[int]], Any]:
    """A function that makes rows [shape] from a first row on."""
    if isinstance(initializer, (np.ndarray, tf.Tensor)):
        if tuple(initializer.shape) != tuple(shape):
            raise ValueError(
                f"initializer has shape {tuple(initializer.shape)}, expected that of the table, "
                f"{tuple(shape)}"
            )
        return lambda first, part: initializer[first : first + part[0]]
    if _takes_rows(initializer):
        return initializer
    chosen = keras.initializers.get(initializer)

    def make(first: int, part: list[int]) -> Any:
        each = chosen
        if isinstance(getattr(chosen, "seed", None), int) and part != list(shape):
            # An initializer draws the same numbers at every call: each part needs its own.
            seed = int(np.random.SeedSequence([chosen.seed, first]).generate_state(1)[0])
            each = type(chosen).from_config({**chosen.get_config(), "seed": seed})
        return each(part, dtype=dtype.name)

    return make


def _takes_rows(initializer: Any) -> bool:
    if not inspect.isfunction(initializer):
        return False
    return list(inspect.signature(initializer).parameters)[:1] == ["first_row"]
