"""What the layers have in common: tables whose rows may have pending updates."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastw2v._core import tables, tf_internals
from fastw2v._core.keras_at_hand import check_keras, check_not_keras_2
from fastw2v.keras import sharded
from fastw2v.optimizers.variables import WithoutPending

PACKAGE = "fastw2v"


class Rows(keras.layers.Layer):
    """A layer with tables whose rows may have pending updates."""

    built: bool  # as Keras has it
    sharded = False  # whether tables are cut among the replicas of a strategy

    def __init__(self, **kwargs: Any) -> None:
        check_keras()
        super().__init__(**kwargs)
        # Keras asks where it may choose, which it does on machines with a GPU, and where the user
        # wrote jit_compile=True. Of its own accord it is not to take our ops from a model.
        self.supports_jit = not tf.config.list_physical_devices("GPU")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        check_not_keras_2("inputs", (args, kwargs))
        return super().__call__(*args, **kwargs)

    def _set_sharded(self, value: bool, **options: Any) -> None:
        """Takes the argument ``sharded``.

        Raises:
            ValueError: It is set together with one of ``options``, which need whole tables.
        """
        self.sharded = bool(value)
        for name, option in options.items():
            if self.sharded and option is not None:
                raise ValueError(
                    f"{name} = {option!r} does not work with sharded=True: no replica has the "
                    "whole table. Leave one of them off"
                )

    def add_weight(self, *args: Any, **kwargs: Any) -> keras.Variable:
        if self.sharded and sharded.is_cut():
            return self._add_sharded(**kwargs)
        variable = super().add_weight(*args, **kwargs)
        if isinstance(variable.value, tf_internals.ShardedVariable):
            raise ValueError(
                f"{variable.path} is cut by a strategy's variable_partitioner, and Keras 3 has no "
                "sharded variables: pass sharded=True to the layer under "
                "MultiWorkerMirroredStrategy, or make the strategy without variable_partitioner"
            )
        tables.save_without_pending(variable)
        if type(variable) is keras.Variable:
            variable.__class__ = WithoutPending
        return variable

    def _add_sharded(
        self, shape: Any, initializer: Any, name: str, dtype: Any = None, **_: Any
    ) -> keras.Variable:
        with keras.name_scope(self.name, caller=self):
            variable = sharded.ShardedVariable.with_initializer(
                initializer, shape, dtype or self.variable_dtype, name
            )
        self._track_variable(variable)
        return variable
