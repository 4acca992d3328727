"""Ids in graphs that pass through a type of floats too small for the table.

Inside a tf.function no values are seen, but the number of rows and the types are: float32 names the
rows of a table of 17 million only in part, whatever the ids.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.sources import name_of
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.program import places
from fastw2v.doctor.trace.computation import bodies_of
from fastw2v.doctor.trace.ids import EXACT_INTEGERS, ID_INPUTS, KEEPS_IDS
from fastw2v.doctor.trace.steps import Step

_ARGUMENTS = ("Placeholder", "IteratorGetNext")


class GraphIds:
    """Looks through each graph once.

    Args:
        recorder: Knows which functions were called.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._looked_through = 0  # events of the recorder
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def find(self, loss: Any, variables: Any) -> list[Finding]:
        """What is found in graphs that are new since the last call.

        Args:
            loss: A tensor or a structure of tensors, concrete or symbolic.
            variables: They lend their names to their tables.
        """
        findings = []
        for graph in [*self._graphs_of(loss), *self._called()]:
            for op in self._ops(graph):
                finding = _judge(op, variables)
                if finding is not None:
                    findings.append(finding)
        return findings

    def _graphs_of(self, loss: Any) -> Iterator[Any]:
        for part in tf.nest.flatten(loss):
            if isinstance(part, tf.Tensor) and tf.is_symbolic_tensor(part):
                yield part.graph

    def _called(self) -> Iterator[Any]:
        new = []
        for event in reversed(self._recorder.events):
            if event.order <= self._looked_through:
                break
            new.append(event)
        self._looked_through = self._recorder.clock
        for event in new:
            graph = event.body() if event.body is not None else None
            if graph is not None:
                yield graph

    def _ops(self, graph: Any) -> Iterator[Any]:
        waiting = [graph]
        while waiting:
            graph = waiting.pop()
            if graph in self._seen:
                continue
            self._seen.add(graph)
            for op in graph.get_operations():
                yield op
                waiting += [body for body in bodies_of(op) if body is not None]


def _judge(op: Any, variables: Any) -> Finding | None:
    position = ID_INPUTS.get(op.type)
    rows = _rows(op) if position is not None else None
    if rows is None:
        return None
    dtype = _too_small(op.inputs[position], rows)
    if dtype is None:
        return None
    place = places.place_of(places.of_op(op))
    is_table = op.type in ("GatherV2", "ResourceGather")
    name = _table(op.inputs[0], variables) if is_table else "labels"
    detail = (
        f"They name one of {rows:,} rows and pass through {dtype.name}, which holds integers up "
        f"to {EXACT_INTEGERS[dtype]:,} only."
    )
    return Finding(
        name, "ids_cast_to_float", op.type, place, detail, (Step(op.type, op.name, place),)
    )


def _rows(op: Any) -> int | None:
    """How many different ids an op can tell apart, where that is known."""
    if op.type == "ResourceGather":
        data = resource_variable_ops.get_eager_safe_handle_data(op.inputs[0])
        if not data.is_set:
            return None
        shape, axis = tf.TensorShape(data.shape_and_type[0].shape), 0
    elif op.type == "GatherV2":
        shape, axis = op.inputs[0].shape, tf.get_static_value(op.inputs[2])
    elif op.type == "SparseSoftmaxCrossEntropyWithLogits":
        shape, axis = op.inputs[0].shape, -1
    elif op.type == "OneHot":
        depth = tf.get_static_value(op.inputs[1])
        return None if depth is None else int(depth)
    else:
        return None
    return None if shape.rank is None or axis is None else shape[int(axis)]


def _too_small(tensor: Any, rows: int) -> tf.DType | None:
    """The floats that ids pass through, from integers or from the caller, if these do not hold the
    id of every row."""
    found = None
    while True:
        if EXACT_INTEGERS.get(tensor.dtype, rows) < rows:
            found = tensor.dtype
        elif found is not None and tensor.dtype.is_integer:
            return found
        op = tensor.op
        if op.type in _ARGUMENTS:
            return found
        if op.type not in KEEPS_IDS:  # floats that were computed are no ids that were changed
            return None
        tensor = op.inputs[KEEPS_IDS[op.type]]


def _table(table: Any, variables: Any) -> str:
    number = _resource(table)
    return next((name_of(v) for v in variables if number in ids_of(v)), "ids")


def _resource(table: Any) -> int | None:
    """The id of the handle of the variable that a table is."""
    while not hasattr(table, "_id") or tf.is_symbolic_tensor(table):
        op = table.op
        if op.type in ("Identity", "ReadVariableOp", "Cast"):
            table = op.inputs[0]
            continue
        captures = getattr(op.graph, "captures", ())
        outer = next((outer for outer, inner in captures if inner is table), None)
        if outer is None:
            return next(iter(ids_of(table)), None)
        table = outer
    return table._id
