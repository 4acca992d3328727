"""Variables of Keras that the optimizers of this library know more of: what Python reads of them
has no pending updates, and tables may grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastw2v._core import tables, tf_internals

_RECORDS = "_fastw2v_records"  # the attribute of a tf.Variable that grows


class WithoutPending(keras.Variable):
    """A variable whose values, as Python reads or writes them, have no pending updates: what
    ``get_weights``, saving and callbacks see. Layers make variables of one class only, so this one
    takes its place afterwards."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        tables.apply_pending(self, None)
        return super().__array__(*args, **kwargs)

    def numpy(self) -> np.ndarray:
        tables.apply_pending(self, None)
        return super().numpy()

    def assign(self, value: Any) -> Any:
        if tf.executing_eagerly():
            tables.apply_pending(self, None)  # or they would change the new values
        return super().assign(value)


class GrowingVariable(WithoutPending):
    """A variable whose number of rows may change, in the memory of the CPU.

    Args:
        initializer: Of its first rows, called with their shape and dtype.
        shape: Of its first rows.
        dtype: Of its entries.
        name: Of the variable.
        trainable: As Keras has it.
        fill: What later rows begin with.
        records: Of a table of weights: which rows are whose, as csrc/core/id_table.h has it.
    """

    def __init__(
        self,
        initializer: Any,
        shape: Sequence[int],
        dtype: Any,
        name: str,
        *,
        trainable: bool = False,
        fill: float = 0.0,
        records: GrowingVariable | None = None,
    ) -> None:
        self.fill = fill
        self._records = records
        super().__init__(
            initializer,
            shape=shape,
            dtype=dtype,
            trainable=trainable,
            autocast=False,  # rows are cast, not the table
            name=name,
        )

    def _initialize_with_initializer(self, initializer: Any) -> None:
        with tf.init_scope(), tf.device("CPU:0"):
            self._value: Any = tf.Variable(
                initializer(self._shape, dtype=self._dtype),
                trainable=self._trainable,
                dtype=self._dtype,
                shape=[None, *self._shape[1:]],
                name=self.name,
            )
        if self._records is not None:
            setattr(self._value, _RECORDS, self._records)
            tables.save_without_pending(self._value)

    @property
    def shape(self) -> tf.TensorShape:
        """As it is now; in a function, where it may change, the number of rows is unknown."""
        if self._value is None:
            return tf.TensorShape(self._shape)
        if not tf.executing_eagerly():
            return self._value.shape
        return _AnyRows(tf_internals.shape_of_handle(self._value.handle).numpy())

    def assign(self, value: Any) -> Any:
        """Takes values of any number of rows."""
        value = self._convert_to_tensor(value, dtype=self._dtype)
        if not self._value.shape.is_compatible_with(value.shape):
            raise ValueError(
                f"{self.path} has shape {self._value.shape}, and is assigned a value of shape "
                f"{value.shape}"
            )
        if tf.executing_eagerly():
            tables.apply_pending(self, None)
        self._direct_assign(value)
        return value

    @property
    def overwrite_with_gradient(self) -> bool:
        """Optimizers of Keras ask for this before they update a variable; those of this library do
        not.

        Raises:
            ValueError: The table grows, and what an optimizer of Keras keeps of it does not.
        """
        raise ValueError(
            f"{self.path} is a table that grows, which the optimizers of Keras do not know: use "
            "one of fastw2v.optimizers"
        )


class _AnyRows(tf.TensorShape):
    """A shape that is equal to those with another number of rows: Keras asks before it assigns."""

    def __eq__(self, other: object) -> bool:
        shape = tf.TensorShape(other)
        return shape.rank == self.rank and shape[1:] == self[1:]

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tf.TensorShape.__hash__


def records_of(variable: Any) -> GrowingVariable | None:
    """Which rows of a table that grows are whose; None of one that does not grow."""
    return getattr(tables.unwrap(variable), _RECORDS, None)


def grows(variable: Any) -> bool:
    """Whether it is a table that grows."""
    return records_of(variable) is not None
