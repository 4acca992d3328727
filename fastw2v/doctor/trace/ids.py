"""Ids of rows and classes in eager ops: whether each still names what was meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v.doctor.observe.events import READS
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.trace.eager_tensors import array_of

# The largest integer up to which a type of floats holds every integer.
EXACT_INTEGERS = {tf.float32: 2**24, tf.float16: 2**11, tf.bfloat16: 2**8}
# Ops whose results are elements of their inputs, so that an id stays an id, and the place of an
# input that they hand on.
KEEPS_IDS = {
    **dict.fromkeys(("Cast", "ConcatV2", "ExpandDims", "GatherV2", "Identity", "Pack"), 0),
    **dict.fromkeys(("Reshape", "Slice", "Squeeze", "StridedSlice", "Tile", "Transpose"), 0),
    "SelectV2": 2,  # Keras counts negative ids from the end: where(x < 0, x + rows, x)
    "Split": 1,
    "Unpack": 0,
}
# The input that holds ids, of ops that take some.
ID_INPUTS = {
    "GatherV2": 1,
    "GatherNd": 1,
    "OneHot": 0,
    "ResourceGather": 1,
    "ResourceGatherNd": 1,
    "SparseSoftmaxCrossEntropyWithLogits": 1,
}


@dataclass(frozen=True)
class WrongIds:
    """Ids that name something else than meant.

    Attributes:
        kind: A key of `kinds.KINDS`.
        tensor: Id of the tensor that was looked up with them.
        resource: Id of the handle of the table, where it is a variable.
    """

    kind: str
    tensor: int
    detail: str
    resource: int | None = None


class IdLog:
    """What was seen of ids in eager ops.

    Args:
        recorder: Knows which op made a tensor.

    Attributes:
        wrong: Ids changed or out of range.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.wrong: list[WrongIds] = []
        self._recorder = recorder
        # How ids were changed, by the id of the tensor that holds them.
        self._changed: dict[int, str] = {}

    def follow(self, op: str, inputs: list[Any], outputs: list[Any]) -> None:
        """Is called for every eager op, with its eager tensors."""
        if op == "Cast" and inputs:
            self._check_cast(inputs[0], outputs[0])
        if self._changed and op in KEEPS_IDS:
            changed = next((t._id for t in inputs if t._id in self._changed), None)
            if changed is not None:
                for output in outputs:
                    self._changed.setdefault(output._id, self._changed[changed])
        position = ID_INPUTS.get(op)
        if position is None or len(inputs) <= position:
            return
        ids, made = inputs[position], outputs[0]._id
        if ids._id in self._changed:
            detail = self._changed[ids._id]
            table = self._table(op, inputs[0]._id)
            self.wrong.append(WrongIds("ids_cast_to_float", made, detail, table))
        if op == "OneHot":
            values, depth = array_of(ids), int(array_of(inputs[1]))
            # Negative indices are a common way to ask for a row of zeros.
            if values.size and values.max() >= depth > 0 and values.min() >= -1:
                detail = f"{values.max()} is not in [0, {depth})."
                self.wrong.append(WrongIds("label_out_of_range", made, detail))

    def _check_cast(self, before: Any, after: Any) -> None:
        """Remembers integers that a cast to floats changes."""
        limit = EXACT_INTEGERS.get(after.dtype)
        if limit is not None and before.dtype.is_integer and not before.dtype.is_bool:
            values = array_of(before)
            if values.size and max(abs(int(values.max())), abs(int(values.min()))) > limit:
                changed = array_of(after).astype(np.int64) != values
                if changed.any():
                    old = values[changed].flat[0]
                    new = int(array_of(after)[changed].flat[0])
                    self._changed[after._id] = (
                        f"{old} became {new} in a cast to {after.dtype.name}, which holds integers "
                        f"up to {limit:,} only."
                    )
            return
        limit = EXACT_INTEGERS.get(before.dtype)
        # Floats that no op made are data: a caller's array or Python's numbers.
        arrived = limit is not None and before._id not in self._recorder.producers
        values = array_of(before) if arrived and after.dtype.is_integer else np.empty(0)
        if limit is not None and values.size:
            largest = float(values.max())
            if largest >= limit and (values == np.floor(values)).all():
                self._changed[after._id] = (
                    f"{int(largest)} came as {before.dtype.name}, which holds integers up to "
                    f"{limit:,} only."
                )

    def _table(self, op: str, number: int) -> int | None:
        """The handle of the variable whose rows an op looks up."""
        if op in READS:
            return number
        producer = self._recorder.producers.get(number)
        return (
            producer.inputs[0] if producer is not None and producer.op == "ReadVariableOp" else None
        )
