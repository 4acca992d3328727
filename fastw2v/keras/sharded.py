"""Variables of Keras whose tables are cut among the replicas of a strategy.

Keras' layers, trainer and optimizers take variables of its own class alone, and do all else with
what such a variable holds as its value: here a `ShardedTable`, which is to tapes the part of the
running replica, and which `fastw2v.optimizers` update where it lies. What Python reads and writes
(``get_weights``, files, callbacks) is the whole table, so that files are those of whole tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastw2v._core import tables
from fastw2v.distribute.per_replica import PerReplica, tensors_of
from fastw2v.distribute.sharded_table import ShardedTable
from fastw2v.optimizers import replicas


def is_cut() -> bool:
    """Whether a sharded table that is made here has several parts."""
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


class ShardedVariable(keras.Variable):
    """A table that is cut, or what an optimizer keeps of it, as a variable of Keras.

    Args:
        make: Makes the table: of a model that is built by `fit`, after Keras has asked for shapes.
        shape: Of the whole.
        dtype: Of its entries.
        name: Of the variable.
        trainable: As Keras has it.
    """

    def __init__(
        self,
        make: Callable[[], PerReplica],
        shape: Sequence[int],
        dtype: Any,
        name: str,
        *,
        trainable: bool = True,
    ) -> None:
        self._make = make
        super().__init__(
            tf.zeros, shape=shape, dtype=dtype, trainable=trainable, autocast=False, name=name
        )

    @classmethod
    def with_initializer(
        cls, initializer: Any, shape: Sequence[int], dtype: Any, name: str
    ) -> ShardedVariable:
        """A table of the replicas of the strategy whose scope this is."""

        def make() -> ShardedTable:
            group = replicas.make_group(tf.distribute.get_strategy())
            if group is None:
                raise RuntimeError(
                    f"{name} is sharded, and its layer is built within strategy.run: build it "
                    "before, in the strategy's scope"
                )
            table = ShardedTable(shape, initializer, dtype, name=name, group=group)
            tables.save_without_pending(table)
            return table

        return cls(make, shape, dtype, name)

    def _initialize_with_initializer(self, initializer: Any) -> None:
        self._value: Any = self._make()

    @property
    def value(self) -> Any:
        """The table; zeros of its shape where Keras asks for shapes alone, and no replica runs."""
        with keras.SymbolicScope() as scope:
            asks_for_shapes = scope.original_scope is not None
        return tf.zeros(self._shape, self._dtype) if asks_for_shapes else super().value

    def slot(
        self, shape: Sequence[int], initializer: Any, dtype: Any, name: str
    ) -> ShardedVariable:
        """As that of `ShardedTable`."""
        return ShardedVariable(
            lambda: self._value.slot(shape, initializer, dtype, name),
            shape,
            dtype,
            name,
            trainable=False,
        )

    def beside(self, shape: Sequence[int], dtype: Any, name: str) -> ShardedVariable:
        """As that of `ShardedTable`. Replicas do the same to it, so that one stands for all."""
        return ShardedVariable(
            lambda: self._value.beside(shape, dtype, name), shape, dtype, name, trainable=False
        )

    @property
    def overwrite_with_gradient(self) -> bool:
        """As that of `ShardedTable`: optimizers of Keras ask for it, and are refused."""
        try:
            return self._value.overwrite_with_gradient
        except ValueError as error:
            raise ValueError(
                f"{error}; under mixed_float16 compile the model with auto_scale_loss=False, which "
                "leaves Keras' LossScaleOptimizer off"
            ) from None

    # ---- What Python reads and writes ------------------------------------------------------------

    def _parts(self) -> list[tuple[slice, tf.Variable]]:
        """Of this process: rows, and the variable that has them."""
        held = self._value
        cut = getattr(held, "cut", None)
        rows = [
            slice(None) if cut is None else slice(cut.first_row(rank), cut.first_row(rank + 1))
            for rank, _ in held.group.members_here()
        ]
        return list(zip(rows, held.variables, strict=True))

    def numpy(self) -> np.ndarray:
        """The whole table, without pending updates.

        Raises:
            RuntimeError: Other processes have parts of it.
        """
        tables.apply_pending(self, None)
        held, parts = self._value, self._parts()
        if not hasattr(held, "cut"):
            return parts[0][1].numpy()
        if len(parts) < held.cut.parts:
            raise RuntimeError(
                f"{self.path} is sharded over {held.cut.parts} replicas in several processes, and "
                "none has the whole table, as get_weights, model.save and callbacks that save "
                "need it: write a checkpoint with fastw2v.distribute.Checkpoint; fastw2v.lookup "
                "reads rows, within strategy.run"
            )
        return np.concatenate([variable.numpy() for _, variable in parts])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self.numpy()
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def assign(self, value: Any) -> Any:
        """Each part takes its rows of a whole table. Of several processes each is given the same;
        from a file it reads the rows of its parts alone."""
        if tuple(value.shape) != tuple(self.shape):
            raise ValueError(
                f"{self.path} has shape {tuple(self.shape)}, and is assigned a value of shape "
                f"{tuple(value.shape)}"
            )
        if tf.executing_eagerly():
            tables.apply_pending(self, None)  # or they would change the new values
        for rows, variable in self._parts():
            variable.assign(tf.cast(value[rows], variable.dtype))
        return value

    @property
    def _shared_name(self) -> str:
        return self.name  # which checkpoints mention

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        tensors = tensors_of.get()  # as `fastw2v.distribute.Checkpoint` writes them
        if tensors is not None:
            return tensors(self._value)
        return {"VARIABLE_VALUE": tf.constant(self.numpy())}

    def _restore_from_tensors(self, restored_tensors: dict[str, tf.Tensor]) -> Any:
        return self.assign(restored_tensors["VARIABLE_VALUE"])

    def _export_to_saved_model_graph(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"{self.path} is sharded, and a SavedModel holds whole tables: save the model, load it "
            "without a strategy, and export that"
        )

    _copy_trackable_to_cpu = _export_to_saved_model_graph
