"""Looks at the values of eager ops: where NaN and Inf come from, where gradients become zero.

Every tensor is looked at when it is made and is not kept; only ids of tensors are. Of a compiled
tf.function only the call is seen; `replay.py` looks inside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

# Private modules, each used at one place here. They have been where they are since TensorFlow 2.2.
from tensorflow.python.eager import backprop
from tensorflow.python.framework import op_callbacks

from fastw2v.doctor.observe.events import READS, Event
from fastw2v.doctor.observe.recording import Recorder, is_recording
from fastw2v.doctor.trace.eager_tensors import (
    FLOATS,
    array_of,
    eager,
    is_concrete,
    is_zero,
    values_of,
)
from fastw2v.doctor.trace.ids import IdLog
from fastw2v.doctor.trace.steps import Step

# Tensors remembered at most, of each sort.
_MEMORY = 50_000
_FUNCTIONS = ("__inference_", "__forward_", "PartitionedCall", "StatefulPartitionedCall")


@dataclass(frozen=True)
class NotFinite:
    """The op that made a NaN or Inf from finite values.

    Attributes:
        tensor: Id of the tensor that it made; None where the value was there before: data, or
            a variable.
        resource: Id of the variable's handle, where the value was read from a variable.
        backward: Whether it was made by the gradient of the op.
        seen: What the op computed with, in words.
        nan: Whether there is a NaN among the values.
        source: For a NaN, the Inf that it was made from.
    """

    tensor: int | None
    resource: int | None
    backward: bool
    seen: str
    nan: bool
    source: NotFinite | None = None


@dataclass(frozen=True)
class ZeroGradient:
    """An op whose gradient is exactly zero for a gradient that is not.

    Attributes:
        op: Its type.
        event: Its record, where it was found.
        reason: Why that is so, in words; empty where the op is not known to do that.
        resources: Handles of the variables that a factor of zero was computed from.
    """

    op: str
    event: Event | None
    reason: str
    resources: frozenset[int] = frozenset()


class ValueLog:
    """Context manager that looks at the values of eager ops and of their gradients.

    Args:
        recorder: Knows which op made a tensor; it must be open while this context is.

    Attributes:
        not_finite: The origin of every tensor with NaN or Inf, by the tensor's id.
        zero_gradients: The origin of every gradient that is exactly zero, by the tensor's id.
        zero_upstream: For gradients that are zero since the upstream ones were: the ids of these,
            where their origin is not known here.
        ids: What was seen of ids.
        called_functions: Whether a compiled function was called, into which the log does not see.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.not_finite: dict[int, NotFinite] = {}
        self.zero_gradients: dict[int, ZeroGradient] = {}
        self.zero_upstream: dict[int, tuple[int, ...]] = {}
        self.ids = IdLog(recorder)
        self.called_functions = False
        self._used_by: dict[int, list[Event]] = {}
        self._indexed = 0
        # The ops whose gradient functions run now, the innermost last: type, inputs, outputs.
        self._differentiating: list[tuple[str, Sequence[Any], Sequence[Any]]] = []
        self._busy = False

    def __enter__(self) -> ValueLog:
        op_callbacks.add_op_callback(self._on_op)
        _GradientFunctionHooks.push(self._on_gradient_function)
        return self

    def __exit__(self, *exception: object) -> None:
        _GradientFunctionHooks.remove(self._on_gradient_function)
        op_callbacks.remove_op_callback(self._on_op)

    def producer(self, tensor: int | None) -> Event | None:
        """The op that made a tensor."""
        return None if tensor is None else self.recorder.producers.get(tensor)

    def path(self, source: int | None, target: Event) -> tuple[Step, ...]:
        """The shortest chain of ops from a variable to an op; only the op where there is none.

        That the variable is read first goes without saying.
        """
        steps = [_step(target)]
        used_by = self._index()
        before: dict[int, Event | None] = {} if source is None else {source: None}
        waiting = list(before)
        while waiting:
            following = []
            for tensor in waiting:
                for user in used_by.get(tensor, ()):
                    if user is target:
                        producer = before[tensor]
                        while producer is not None:
                            if producer.op != "ReadVariableOp":
                                steps.append(_step(producer))
                            producer = before[next(i for i in producer.inputs if i in before)]
                        return tuple(reversed(steps))
                    for output in user.outputs:
                        if output not in before:
                            before[output] = user
                            following.append(output)
            waiting = following
        return tuple(steps)

    def _index(self) -> dict[int, list[Event]]:
        """The ops that took a tensor, by the tensor's id."""
        if len(self._used_by) > 2 * self.recorder.limit:  # much of it is forgotten there
            self._used_by.clear()
            self._indexed = 0
        new = []
        for event in reversed(self.recorder.events):
            if event.order <= self._indexed:
                break
            new.append(event)
        for event in reversed(new):
            for number in event.inputs:
                self._used_by.setdefault(number, []).append(event)
        self._indexed = self.recorder.clock
        return self._used_by

    def _on_op(
        self,
        op_type: str | bytes,
        inputs: Iterable[Any],
        attributes: Any,
        outputs: Iterable[Any] | None,
        op_name: str | None = None,
        graph: tf.Graph | None = None,
    ) -> None:
        """Is called by TensorFlow after every op."""
        if graph is not None or self._busy or not outputs or not is_recording(self.recorder):
            return
        self._busy = True
        try:
            op = op_type.decode() if isinstance(op_type, bytes) else op_type
            inputs, outputs = eager(inputs), eager(outputs)
            self.called_functions |= op.startswith(_FUNCTIONS)
            self.ids.follow(op, inputs, outputs)
            self._find_not_finite(op, inputs, outputs)
            # What a function gives depends on more than one of the gradients that it takes.
            if self.zero_gradients and not self._differentiating and not op.startswith(_FUNCTIONS):
                self._follow_zeros(inputs, outputs)
        finally:
            self._busy = False

    def _find_not_finite(self, op: str, inputs: list[Any], outputs: list[Any]) -> None:
        for output in outputs:
            if _all_finite(output):
                continue
            nan = bool(np.isnan(array_of(output)).any())
            origins = [origin for origin in map(self._origin, inputs) if origin is not None]
            same = [origin for origin in origins if origin.nan or not nan]
            origin = same[0] if same else self._made_here(op, inputs, output, nan, origins)
            self.not_finite[output._id] = origin
            _forget_old(self.not_finite)

    def _origin(self, tensor: Any) -> NotFinite | None:
        """Where the NaN or Inf in an input comes from; None for finite values."""
        if tensor._id not in self.not_finite and not _all_finite(tensor):
            nan = bool(np.isnan(array_of(tensor)).any())
            # An op that is given a variable reads it itself: the recorder alone knows of that.
            producer = self.producer(tensor._id)
            resource = producer.inputs[0] if producer is not None and producer.op in READS else None
            self.not_finite[tensor._id] = NotFinite(None, resource, False, "", nan)
        return self.not_finite.get(tensor._id)

    def _made_here(
        self, op: str, inputs: list[Any], output: Any, nan: bool, origins: list[NotFinite]
    ) -> NotFinite:
        source = origins[0] if origins else None
        if op in READS:
            return NotFinite(None, inputs[0]._id, False, "", nan)
        if not self._differentiating:
            return NotFinite(output._id, None, False, _range_of("input", inputs), nan, source)
        op, seen_inputs, seen_outputs = self._differentiating[-1]
        forward = self._forward(op, seen_inputs, seen_outputs)
        made = forward.outputs[0] if forward is not None else output._id
        seen = _range_of("input", eager(seen_inputs)) or _range_of("result", eager(seen_outputs))
        return NotFinite(made, None, True, seen, nan, source)

    def _follow_zeros(self, inputs: list[Any], outputs: list[Any]) -> None:
        """The sum or the like of gradients that are zero is zero for the same reason."""
        zero = next(
            (
                self.zero_gradients[tensor._id]
                for tensor in inputs
                if tensor._id in self.zero_gradients
            ),
            None,
        )
        if zero is not None:
            for output in outputs:
                if is_zero(output):
                    self.zero_gradients[output._id] = zero

    def _on_gradient_function(self, previous: Callable[..., Any], *arguments: Any) -> Any:
        """Is called by a tape for the gradient of every op that it recorded."""
        op_type, _, _, inputs, outputs, output_gradients, *_ = arguments
        inputs, outputs = inputs or (), outputs or ()
        self._differentiating.append((op_type, inputs, outputs))
        try:
            result = previous(*arguments)
        finally:
            self._differentiating.pop()
        upstream = eager(values_of(gradient) for gradient in output_gradients or ())
        if upstream and not self._busy and is_recording(self.recorder):
            input_gradients = result if isinstance(result, (list, tuple)) else [result]
            self._find_zero_gradients(
                op_type, inputs, outputs, upstream, [values_of(g) for g in input_gradients]
            )
        return result

    def _find_zero_gradients(
        self,
        op_type: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        upstream: list[Any],
        input_gradients: Sequence[Any],
    ) -> None:
        alive = not all(is_zero(gradient) for gradient in upstream)
        cause = None
        if not alive:
            cause = next(
                (self.zero_gradients[g._id] for g in upstream if g._id in self.zero_gradients), None
            )
            if cause is None:
                numbers = tuple([gradient._id for gradient in upstream])
                new = [g._id for g in input_gradients if is_concrete(g) and g._id not in numbers]
                self.zero_upstream.update(dict.fromkeys(new, numbers))
                _forget_old(self.zero_upstream)
                return
        for position, gradient in enumerate(input_gradients):
            if not is_concrete(gradient) or not is_zero(gradient):
                continue
            zero = cause
            if zero is None:
                event = self._forward(op_type, inputs, outputs)
                reason, factor = _why_zero(op_type, inputs, outputs, position)
                resources = frozenset() if factor is None else self.origins_of(factor._id)
                zero = ZeroGradient(op_type, event, reason, resources)
            self.zero_gradients[gradient._id] = zero
        _forget_old(self.zero_gradients)

    def _forward(self, op: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> Event | None:
        """The op that ran with these inputs or outputs, of which the tape keeps only some."""
        for tensor in eager(outputs):
            event = self.producer(tensor._id)
            if event is not None and event.op == op:
                return event
        numbers = {tensor._id for tensor in eager(inputs)}
        for number in numbers:
            for event in self._index().get(number, ()):
                if event.op == op and numbers <= set(event.inputs):
                    return event
        return None

    def origins_of(self, number: int) -> frozenset[int]:
        """Everything that a tensor was computed from and no op made, variables among it."""
        found, seen, waiting = set(), {number}, [number]
        while waiting:
            tensor = waiting.pop()
            producer = self.producer(tensor)
            if producer is None:
                found.add(tensor)
                continue
            waiting += set(producer.inputs) - seen
            seen.update(producer.inputs)
        return frozenset(found)


def _forget_old(memory: dict[int, Any]) -> None:
    """Drops the older half of a memory that is full."""
    if len(memory) > _MEMORY:
        for number in list(itertools.islice(memory, _MEMORY // 2)):
            del memory[number]


class _GradientFunctionHooks:
    """What tapes call for the gradient of an op: TensorFlow's function, or ours around it."""

    _around: list[Callable[..., Any]] = []

    @classmethod
    def push(cls, function: Callable[..., Any]) -> None:
        cls._around.append(function)
        cls._register()

    @classmethod
    def remove(cls, function: Callable[..., Any]) -> None:
        cls._around.remove(function)
        cls._register()

    @classmethod
    def _register(cls) -> None:
        current = backprop._gradient_function
        for function in cls._around:
            current = _bind(function, current)
        backprop.pywrap_tfe.TFE_Py_RegisterGradientFunction(current)


def _bind(function: Callable[..., Any], previous: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(previous, *arguments)


def _all_finite(tensor: Any) -> bool:
    """Whether a tensor holds no NaN and no Inf, as those that are not floats do."""
    if tensor._datatype_enum() not in FLOATS:
        return True
    values = array_of(tensor)
    # The sum of squares is quick and shows what is not finite; where it overflows look closer.
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def _step(event: Event) -> Step:
    return Step(event.op, "", event.place)


def _range_of(what: str, tensors: list[Any]) -> str:
    """Between which values the first floating-point tensor lies, in words."""
    for tensor in tensors:
        if tensor.dtype.is_floating and tensor.shape.num_elements():
            values = array_of(tensor).astype(np.float64)
            low, high = f"{np.min(values):.4g}", f"{np.max(values):.4g}"
            return f"its {what} is {low}" if low == high else f"its {what} is {low} to {high}"
    return ""


_SATURATING = frozenset(
    {"Elu", "Erf", "Exp", "LogSoftmax", "Relu", "Relu6", "Selu", "Sigmoid", "Softmax", "Softplus"}
    | {"Tanh"}
)
_PRODUCTS = frozenset(
    {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Einsum", "MatMul", "Mul"}
    | {"MulNoNan"}
)
_CROSS_ENTROPIES = ("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits")


def _why_zero(
    op_type: str, inputs: Sequence[Any], outputs: Sequence[Any], position: int
) -> tuple[str, Any]:
    """Why an op's gradient is zero, or nothing, and the factor of zero if that is the reason."""
    shapes = [tensor.shape for tensor in eager([*outputs, *inputs])]
    one_class = any(shape.rank and shape[-1] == 1 for shape in shapes)
    if op_type in ("Softmax", "LogSoftmax", *_CROSS_ENTROPIES) and one_class:
        return "a softmax over one class is 1 whatever its input", None
    if op_type == "Sign":
        return "the sign is flat on both sides of 0", None
    if op_type in ("Minimum", "Maximum"):
        return f"{op_type} takes its other input everywhere (clipped)", None
    if op_type in ("Select", "SelectV2"):
        return "the condition picks the other input everywhere", None
    if op_type in _SATURATING:
        return f"{op_type} is flat at all values seen: {_range_of('result', eager(outputs))}", None
    if op_type in _PRODUCTS and len(inputs) == 2:
        factor = inputs[1 - position]
        if is_concrete(factor) and is_zero(factor):
            return "its other factor is all zeros", factor
    return "", None
