"""Variables of which each replica of a process has its own."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from fastw2v._core import tf_internals
from fastw2v.distribute.group import Group

# What TensorFlow is to write of an object to a checkpoint: tensors by their names, each whole or by
# slices of the table. None: it is another's checkpoint.
tensors_of: ContextVar[Callable[[PerReplica], dict[str, Any]] | None] = ContextVar(
    "tensors_of", default=None
)

# The replica of this process in whose place a call is made, where none is running.
_place: ContextVar[int | None] = ContextVar("_place", default=None)


class PerReplica(tf_internals.Trackable):
    """A variable of each replica of this process, which the strategy knows nothing of.

    To TensorFlow's tapes, our ops and Keras' optimizers it is the variable of the replica that is
    running.

    Args:
        make: The value for the member of this rank in its group.
        group: Whose members the replicas are.
        dtype: Of the variables.
        trainable: Whether tapes watch them.
        name: Of the variables.
    """

    # By this name TensorFlow's tapes know what they may ask for a handle.
    _should_act_as_resource_variable = True
    constraint = None

    def __init__(
        self,
        make: Callable[[int], Any],
        group: Group,
        dtype: tf.DType,
        *,
        trainable: bool,
        name: str,
    ) -> None:
        self.group, self.dtype, self.trainable, self.name = group, dtype, trainable, name
        self.variables = []
        for rank, device in group.members_here():
            with tf.init_scope(), tf.device(device):
                self.variables.append(
                    tf_internals.PlainVariable(
                        tf.cast(make(rank), dtype), trainable=trainable, name=f"{name}_{rank}"
                    )
                )

    @property
    def variable(self) -> tf.Variable:
        """That of the replica that is running.

        Raises:
            RuntimeError: None is running.
        """
        place = _place.get()
        if place is not None:
            return self.variables[place]
        try:
            return self.variables[self.group.place_here(self.name)]
        except RuntimeError:
            raise RuntimeError(
                f"{self.name} is sharded over {self.group.size} replicas of "
                f"{type(self.group.strategy).__name__}, but is read outside of strategy.run: call "
                "the loss within it"
            ) from None

    @property
    def value(self) -> tf.Variable:
        """The same, as a variable of Keras has it."""
        return self.variable

    @property
    def handle(self) -> tf.Tensor:
        """Of the variable of the replica that is running."""
        return self.variable.handle

    @property
    def _shared_name(self) -> str:
        """What checkpoints say of variables beside their place."""
        return self.name

    def saved_shape(self) -> list[int]:
        """Of what a checkpoint has."""
        return list(self.variables[0].shape)

    def slices(self) -> list[tuple[str, tf.Variable]]:
        """What a checkpoint has of each variable, as `tf.raw_ops.SaveV2` writes it: what belongs to
        the parts of a table is the same for all of them."""
        return [("", variable) for variable in self.variables]

    def _serialize_to_tensors(self) -> dict[str, Any]:
        tensors = tensors_of.get()
        if tensors is None:
            raise ValueError(
                f"{self.name} is sharded over {self.group.size} replicas of "
                f"{type(self.group.strategy).__name__}, and TensorFlow's own checkpoints and "
                "SavedModels would have one part of it: make a fastw2v.distribute.Checkpoint of "
                "all objects that are built, and write, read, save or restore that"
            )
        return tensors(self)

    def update_all(self, update: Callable[[PerReplica], None]) -> None:
        """Calls ``update`` with this object where a replica is running. Elsewhere, once for each
        replica of this process, in whose place the call is made."""
        context = tf.distribute.get_replica_context()
        is_replica = context is not None and context.strategy is self.group.strategy
        if is_replica or _place.get() is not None:
            update(self)
            return
        for place in range(len(self.variables)):
            token = _place.set(place)
            try:
                update(self)
            finally:
                _place.reset(token)
