"""Runs compiled functions once more, op by op, to see the values inside.

A function that was called is one event, and its inner values are not recorded. Where its results or
its gradients turn out wrong, the ops of its graph are run eagerly on the tensors that it was given,
so that a log of values sees each of them. Only ops that the results need are run, and none that
draws numbers, writes, or calls Python. If the results then are not those that the function gave,
since a variable has changed meanwhile, nothing is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context, execute

from fastw2v.doctor.observe.events import Backward, Call
from fastw2v.doctor.observe.recording import Recorder, recorded_by
from fastw2v.doctor.program import places
from fastw2v.doctor.trace.computation import BRANCHES, CALLS, LOOPS, bodies_of
from fastw2v.doctor.trace.eager_tensors import is_concrete, values_of
from fastw2v.doctor.trace.op_gradients import has_custom_gradient, has_gradients
from fastw2v.doctor.trace.value_log import ValueLog

# Stateful ops that only read their state.
_READERS = frozenset(
    {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp"}
)
_CONTROL_FLOW = (*CALLS, *BRANCHES, *LOOPS)
# Iterations of loops count.
_MAX_OPS = 50_000


class ReplayedCall:
    """A call of a function that was run once more.

    Attributes:
        log: The values there.
        tensors: For results of the function and of its gradient, by their ids: the tensors there.
    """

    def __init__(self) -> None:
        self._at: places.Origin | None = None
        self._recorder = Recorder(origin=lambda: self._at)
        self.log = ValueLog(self._recorder)
        self.tensors: dict[int, Any] = {}

    def run(self, call: Call, backward: Backward | None) -> None:
        """Runs the ops of a call and of its gradient."""
        with recorded_by(self._recorder), self._recorder, self.log:
            tape = tf.GradientTape(watch_accessed_variables=False)
            sources = [] if backward is None else [t for t in call.inputs if has_gradients(t.dtype)]
            with tape:
                tape.watch(sources)
                run = _GraphRunner(self._set_origin, differentiates=backward is not None)
                outputs = run.graph(call.graph, call.inputs)
            if not all(map(_same, call.outputs, outputs)):
                raise _NotRepeatable
            self.tensors = {t._id: o for t, o in zip(call.outputs, outputs, strict=True)}
            if backward is None:
                return
            pairs = [
                (self.tensors[target], tf.convert_to_tensor(gradient))
                for target, gradient in zip(backward.outputs, backward.upstream, strict=False)
                if gradient is not None and target in self.tensors
            ]
            targets, upstream = map(list, zip(*pairs, strict=True))
            gradients = tape.gradient(targets, sources, upstream)
            here = {t._id: g for t, g in zip(sources, gradients, strict=True) if g is not None}
            for source, result in zip(backward.inputs, backward.input_gradients, strict=False):
                if result is not None and source in here:
                    self.tensors[result] = values_of(here[source])

    def _set_origin(self, op: Any) -> None:
        self._at = places.of_op(op)


class Replayer:
    """Looks into the functions that a recorder has seen called.

    Only calls that were kept can be run again, each of them once.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._known: dict[tuple[int, int], ReplayedCall | None] = {}

    def replayed(self, tensor: int | None) -> tuple[ValueLog, Any] | None:
        """The log of the function that gave a tensor, and the tensor there.

        None if no function gave it, or if it cannot be run again.
        """
        backward = self._backward(tensor)
        event = backward.event if backward else self._recorder.producers.get(tensor or 0)
        call = next((c for c in self._recorder.calls or () if c.event is event), None)
        if tensor is None or call is None:
            return None
        key = (id(call), id(backward))
        if key not in self._known:
            again = ReplayedCall()
            try:
                again.run(call, backward)
                self._known[key] = again
            except Exception:  # noqa: BLE001 - ops that are made for graphs raise what they like
                self._known[key] = None
        replayed = self._known[key]
        there = replayed.tensors.get(tensor) if replayed is not None else None
        return None if replayed is None or there is None else (replayed.log, there)

    def upstream_of(self, tensor: int) -> list[int]:
        """For a gradient that a function gave: those of its results that come from the input."""
        backward = self._backward(tensor)
        event = backward.event if backward else None
        graph = event.body() if event is not None and event.body is not None else None
        if backward is None or event is None or graph is None:
            return []
        pairs = zip(backward.inputs, backward.input_gradients, strict=False)
        sources = {source for source, gradient in pairs if gradient == tensor}
        given = zip(event.inputs, graph.inputs, strict=False)
        ops = {placeholder.op for number, placeholder in given if number in sources}
        inner = dict(zip(event.outputs, graph.outputs, strict=False))
        return [
            gradient
            for target, gradient in zip(backward.outputs, backward.output_gradients, strict=False)
            if gradient is not None and target in inner
            if not ops.isdisjoint(_ops_behind([inner[target]]))
        ]

    def _backward(self, gradient: int | None) -> Backward | None:
        """The gradient of a function that gave a tensor."""
        found = (b for b in reversed(self._recorder.backwards) if gradient in b.input_gradients)
        return next(found, None) if gradient is not None else None


class _NotRepeatable(Exception):
    """A function whose values cannot be seen again."""


class _GraphRunner:
    """Runs graphs eagerly.

    Args:
        before: Is called with every op before it runs.
        differentiates: Whether a tape is to give the gradient that the graph would have.
    """

    def __init__(self, before: Callable[[Any], None], differentiates: bool) -> None:
        self._before = before
        self._differentiates = differentiates
        self._count = 0

    def graph(self, graph: Any, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a function's graph for its inputs."""
        values = {p._id: given for p, given in zip(graph.inputs, inputs, strict=True)}
        for op in _ops_behind(graph.outputs):
            if op.type != "Placeholder":
                results = self._op(op, [values[t._id] for t in op.inputs])
                values.update((t._id, r) for t, r in zip(op.outputs, results, strict=True))
        return [values[t._id] for t in graph.outputs]

    def _op(self, op: Any, inputs: list[Any]) -> Sequence[Any]:
        self._count += 1
        if self._count > _MAX_OPS or (self._differentiates and has_custom_gradient(op)):
            # A gradient function of the user's holds on to tensors of the graph.
            raise _NotRepeatable
        if op.type in _CONTROL_FLOW:
            return self._control_flow(op, inputs)
        if op.type in ("Identity", "IdentityN"):
            return inputs
        if op.type == "Const":
            value = tf.make_ndarray(op.get_attr("value"))
            return [tf.constant(value, op.outputs[0].dtype)]
        if op.op_def.is_stateful and op.type not in _READERS:
            raise _NotRepeatable
        self._before(op)
        attributes = _attributes(op)
        outputs = execute.execute(
            op.type.encode(), len(op.outputs), inputs, attributes, context.context()
        )
        if execute.must_record_gradient():
            execute.record_gradient(op.type, inputs, attributes, outputs)
        return outputs

    def _control_flow(self, op: Any, inputs: list[Any]) -> Sequence[Any]:
        bodies = bodies_of(op)
        if None in bodies:
            raise _NotRepeatable
        if op.type in CALLS:
            return self.graph(bodies[0], inputs)
        if op.type in LOOPS:
            body, condition = bodies
            while self.graph(condition, inputs)[0]:
                inputs = self.graph(body, inputs)
            return inputs
        chosen, *inputs = inputs
        if op.type in ("If", "StatelessIf"):
            return self.graph(bodies[0 if chosen else 1], inputs)
        number = int(chosen)
        return self.graph(bodies[number if 0 <= number < len(bodies) else -1], inputs)


def _ops_behind(outputs: Sequence[Any]) -> list[Any]:
    """The ops that tensors of a graph come from, each after those that it takes from.

    That is not the order in which they were made: gradients of loops add inputs to them later.
    """
    order: dict[Any, None] = {}
    waiting = [(tensor.op, False) for tensor in outputs]
    while waiting:
        op, ready = waiting.pop()
        if ready:
            order[op] = None
        elif op not in order:
            waiting.append((op, True))
            waiting += [(tensor.op, False) for tensor in op.inputs if tensor.op not in order]
    return list(order)


def _attributes(op: Any) -> tuple[Any, ...]:
    """Names and values in turn, as eager ops take them."""
    attributes = []
    for attribute in op.op_def.attr:
        name, kind = attribute.name, attribute.type
        value = op.get_attr(name)
        if kind == "type":
            value = value.as_datatype_enum
        elif kind == "list(type)":
            value = [one.as_datatype_enum for one in value]
        elif kind == "shape":
            value = execute.make_shape(value, name)
        elif kind == "list(shape)":
            value = [execute.make_shape(one, name) for one in value]
        elif "func" in kind or "tensor" in kind:
            raise _NotRepeatable
        attributes += [name, value]
    return tuple(attributes)


def _same(before: Any, after: Any) -> bool:
    """Whether two results are the same up to rounding."""
    if not is_concrete(before) or not (before.dtype.is_floating or before.dtype.is_integer):
        return True
    first, second = before._numpy(), after._numpy()
    if not before.dtype.is_floating:
        return np.array_equal(first, second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    return first.shape == second.shape and np.allclose(first, second, 1e-2, 1e-6, equal_nan=True)
