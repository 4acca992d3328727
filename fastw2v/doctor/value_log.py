"""Looks at the values of what runs eagerly: where NaN and Inf come from, where a gradient dies.

Every tensor is looked at when it is made and is not kept; what is remembered are numbers of
tensors. Of a compiled tf.function only the call is seen; `replay.py` looks inside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

# Private modules, each used at one place below. They have been where they are since TensorFlow 2.2.
from tensorflow.python.eager import backprop
from tensorflow.python.framework import op_callbacks, ops

from fastw2v.doctor.events import Event
from fastw2v.doctor.recording import Recorder, records
from fastw2v.doctor.report import Place, Step

# Tensors remembered at most, of each sort.
_MEMORY = 50_000
_FLOATS = frozenset(
    dtype.as_datatype_enum for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64)
)
EXACT_INTEGERS = {tf.float32: 2**24, tf.float16: 2**11, tf.bfloat16: 2**8}
# Ops whose results are elements of their inputs, so that an id stays an id, and the place of an
# input that they hand on.
HANDS_ON = {
    **dict.fromkeys(("Cast", "ConcatV2", "ExpandDims", "GatherV2", "Identity", "Pack"), 0),
    **dict.fromkeys(("Reshape", "Slice", "Squeeze", "StridedSlice", "Tile", "Transpose"), 0),
    "SelectV2": 2,  # Keras counts negative ids from the end: where(x < 0, x + rows, x)
    "Split": 1,
    "Unpack": 0,
}
_FUNCTIONS = ("__inference_", "__forward_", "PartitionedCall", "StatefulPartitionedCall")
_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")
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
class NotFinite:
    """The op that made a NaN or Inf from finite values.

    Attributes:
        tensor: Number of the tensor that it made; None where the value was there before: data, or
            a variable.
        resource: Number of the variable's handle, where the value was read from a variable.
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
class Dead:
    """An op whose gradient is exactly zero for a gradient that is not.

    Attributes:
        op: Its type.
        event: Its record, where it was found.
        reason: Why that is so, in words; empty where the op is not known to do that.
        resources: Handles of the variables behind a factor of zero.
    """

    op: str
    event: Event | None
    reason: str
    resources: frozenset[int] = frozenset()


@dataclass(frozen=True)
class WrongIds:
    """Ids that name something else than meant.

    Attributes:
        kind: A key of `kinds.KINDS`.
        tensor: Number of the tensor that was looked up with them.
        resource: Number of the handle of the table, where it is a variable.
    """

    kind: str
    tensor: int
    detail: str
    resource: int | None = None


class ValueLog:
    """A context in which the values of eager ops and of their gradients are looked at.

    Args:
        recorder: Knows which op made a tensor; it must be open while this context is.

    Attributes:
        not_finite: The origin of every tensor with NaN or Inf, by the tensor's number.
        dead: The origin of every gradient that is exactly zero, by the tensor's number.
        zeros_from: For gradients that are zero since those above were: the numbers of these, where
            their origin is not known here.
        wrong_ids: Ids changed or out of range.
        functions: Whether a compiled function was called, into which the log does not see.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.not_finite: dict[int, NotFinite] = {}
        self.dead: dict[int, Dead] = {}
        self.zeros_from: dict[int, tuple[int, ...]] = {}
        self.wrong_ids: list[WrongIds] = []
        self.functions = False
        self._changed: dict[int, str] = {}
        self._used_by: dict[int, list[Event]] = {}
        self._indexed = 0
        # The ops whose gradient functions run now, the innermost last: type, inputs, outputs.
        self._differentiating: list[tuple[str, Sequence[Any], Sequence[Any]]] = []
        self._looking = False

    def __enter__(self) -> ValueLog:
        op_callbacks.add_op_callback(self._see)
        _GradientFunctions.push(self._differentiate)
        return self

    def __exit__(self, *exception: object) -> None:
        _GradientFunctions.remove(self._differentiate)
        op_callbacks.remove_op_callback(self._see)

    def maker(self, tensor: int | None) -> Event | None:
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
                        maker = before[tensor]
                        while maker is not None:
                            if maker.op != "ReadVariableOp":
                                steps.append(_step(maker))
                            maker = before[next(i for i in maker.inputs if i in before)]
                        return tuple(reversed(steps))
                    for output in user.outputs:
                        if output not in before:
                            before[output] = user
                            following.append(output)
            waiting = following
        return tuple(steps)

    def _index(self) -> dict[int, list[Event]]:
        """The ops that took a tensor, by the tensor's number."""
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

    def _see(
        self,
        op_type: str | bytes,
        inputs: Iterable[Any],
        attributes: Any,
        outputs: Iterable[Any] | None,
        op_name: str | None = None,
        graph: tf.Graph | None = None,
    ) -> None:
        """Is called by TensorFlow after every op."""
        if graph is not None or self._looking or not outputs or not records(self.recorder):
            return
        self._looking = True
        try:
            op = op_type.decode() if isinstance(op_type, bytes) else op_type
            inputs, outputs = _eager(inputs), _eager(outputs)
            self.functions |= op.startswith(_FUNCTIONS)
            self._follow_ids(op, inputs, outputs)
            self._find_not_finite(op, inputs, outputs)
            # What a function gives depends on more than one of the gradients that it takes.
            if self.dead and not self._differentiating and not op.startswith(_FUNCTIONS):
                self._follow_zeros(inputs, outputs)
        finally:
            self._looking = False

    def _find_not_finite(self, op: str, inputs: list[Any], outputs: list[Any]) -> None:
        for output in outputs:
            if _all_finite(output):
                continue
            nan = bool(np.isnan(_array(output)).any())
            origins = [origin for origin in map(self._origin, inputs) if origin is not None]
            same = [origin for origin in origins if origin.nan or not nan]
            origin = same[0] if same else self._made_here(op, inputs, output, nan, origins)
            self.not_finite[output._id] = origin
            _forget_old(self.not_finite)

    def _origin(self, tensor: Any) -> NotFinite | None:
        """Where the NaN or Inf in an input comes from; None for finite values."""
        if tensor._id not in self.not_finite and not _all_finite(tensor):
            nan = bool(np.isnan(_array(tensor)).any())
            # An op that is given a variable reads it itself: the recorder alone knows of that.
            maker = self.maker(tensor._id)
            resource = maker.inputs[0] if maker is not None and maker.op in _READS else None
            self.not_finite[tensor._id] = NotFinite(None, resource, False, "", nan)
        return self.not_finite.get(tensor._id)

    def _made_here(
        self, op: str, inputs: list[Any], output: Any, nan: bool, origins: list[NotFinite]
    ) -> NotFinite:
        source = origins[0] if origins else None
        if op in _READS:
            return NotFinite(None, inputs[0]._id, False, "", nan)
        if not self._differentiating:
            return NotFinite(output._id, None, False, _range_of("input", inputs), nan, source)
        op, seen_inputs, seen_outputs = self._differentiating[-1]
        forward = self._forward(op, seen_inputs, seen_outputs)
        made = forward.outputs[0] if forward is not None else output._id
        seen = _range_of("input", _eager(seen_inputs)) or _range_of("result", _eager(seen_outputs))
        return NotFinite(made, None, True, seen, nan, source)

    def _follow_ids(self, op: str, inputs: list[Any], outputs: list[Any]) -> None:
        if op == "Cast" and inputs:
            self._see_cast(inputs[0], outputs[0])
        if self._changed and op in HANDS_ON:
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
            self.wrong_ids.append(WrongIds("ids_cast_to_float", made, detail, table))
        if op == "OneHot":
            values, depth = _array(ids), int(_array(inputs[1]))
            # Negative indices are a common way to ask for a row of zeros.
            if values.size and values.max() >= depth > 0 and values.min() >= -1:
                detail = f"{values.max()} is not in [0, {depth})."
                self.wrong_ids.append(WrongIds("label_out_of_range", made, detail))

    def _see_cast(self, before: Any, after: Any) -> None:
        """Remembers integers that a cast to floats changes."""
        limit = EXACT_INTEGERS.get(after.dtype)
        if limit is not None and before.dtype.is_integer and not before.dtype.is_bool:
            values = _array(before)
            if values.size and max(abs(int(values.max())), abs(int(values.min()))) > limit:
                changed = _array(after).astype(np.int64) != values
                if changed.any():
                    old = values[changed].flat[0]
                    new = int(_array(after)[changed].flat[0])
                    self._changed[after._id] = (
                        f"{old} became {new} in a cast to {after.dtype.name}, which holds integers "
                        f"up to {limit:,} only."
                    )
            return
        limit = EXACT_INTEGERS.get(before.dtype)
        # Floats that no op made are data: a caller's array or Python's numbers.
        arrived = limit is not None and self.maker(before._id) is None
        values = _array(before) if arrived and after.dtype.is_integer else np.empty(0)
        if values.size:
            largest = float(values.max())
            if largest >= limit and (values == np.floor(values)).all():
                self._changed[after._id] = (
                    f"{int(largest)} came as {before.dtype.name}, which holds integers up to "
                    f"{limit:,} only."
                )

    def _table(self, op: str, number: int) -> int | None:
        """The handle of the variable whose rows an op looks up."""
        if op in _READS:
            return number
        maker = self.maker(number)
        return maker.inputs[0] if maker is not None and maker.op == "ReadVariableOp" else None

    def _follow_zeros(self, inputs: list[Any], outputs: list[Any]) -> None:
        """The sum or the like of gradients that are zero is zero for the same reason."""
        dead = next((self.dead[tensor._id] for tensor in inputs if tensor._id in self.dead), None)
        if dead is not None:
            for output in outputs:
                if is_zero(output):
                    self.dead[output._id] = dead

    def _differentiate(self, previous: Callable[..., Any], *arguments: Any) -> Any:
        """Is called by a tape for the gradient of every op that it recorded."""
        op_type, _, _, inputs, outputs, gradients_above, *_ = arguments
        inputs, outputs = inputs or (), outputs or ()
        self._differentiating.append((op_type, inputs, outputs))
        try:
            result = previous(*arguments)
        finally:
            self._differentiating.pop()
        above = _eager(values_of(gradient) for gradient in gradients_above or ())
        if above and not self._looking and records(self.recorder):
            below = result if isinstance(result, (list, tuple)) else [result]
            self._find_dead(op_type, inputs, outputs, above, [values_of(g) for g in below])
        return result

    def _find_dead(
        self,
        op_type: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        above: list[Any],
        below: Sequence[Any],
    ) -> None:
        alive = not all(is_zero(gradient) for gradient in above)
        cause = None
        if not alive:
            cause = next((self.dead[g._id] for g in above if g._id in self.dead), None)
            if cause is None:
                numbers = tuple([gradient._id for gradient in above])
                new = [g._id for g in below if is_concrete(g) and g._id not in numbers]
                self.zeros_from.update(dict.fromkeys(new, numbers))
                _forget_old(self.zeros_from)
                return
        for position, gradient in enumerate(below):
            if not is_concrete(gradient) or not is_zero(gradient):
                continue
            dead = cause
            if dead is None:
                event = self._forward(op_type, inputs, outputs)
                reason, factor = _why_zero(op_type, inputs, outputs, position)
                resources = frozenset() if factor is None else self.behind(factor._id)
                dead = Dead(op_type, event, reason, resources)
            self.dead[gradient._id] = dead
        _forget_old(self.dead)

    def _forward(self, op: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> Event | None:
        """The op that ran with these inputs or outputs, of which the tape keeps only some."""
        for tensor in _eager(outputs):
            event = self.maker(tensor._id)
            if event is not None and event.op == op:
                return event
        numbers = {tensor._id for tensor in _eager(inputs)}
        for number in numbers:
            for event in self._index().get(number, ()):
                if event.op == op and numbers <= set(event.inputs):
                    return event
        return None

    def behind(self, number: int) -> frozenset[int]:
        """Everything that a tensor was computed from and no op made, variables among it."""
        found, seen, waiting = set(), {number}, [number]
        while waiting:
            tensor = waiting.pop()
            maker = self.maker(tensor)
            if maker is None:
                found.add(tensor)
                continue
            waiting += set(maker.inputs) - seen
            seen.update(maker.inputs)
        return frozenset(found)


def _forget_old(memory: dict[int, Any]) -> None:
    """Drops the older half of a memory that is full."""
    if len(memory) > _MEMORY:
        for number in list(itertools.islice(memory, _MEMORY // 2)):
            del memory[number]


class _GradientFunctions:
    """What the tape calls for the gradient of an op: TensorFlow's function, or ours around it."""

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


def values_of(gradient: Any) -> Any:
    """The tensor with the numbers of a gradient, which may be sparse."""
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def is_concrete(tensor: Any) -> bool:
    """Whether it is a tensor whose values are known now."""
    return isinstance(tensor, ops.EagerTensor)


def is_zero(tensor: Any) -> bool:
    """Whether all elements of a floating-point tensor are exactly 0; an empty one is not zero."""
    if tensor._datatype_enum() not in _FLOATS:
        return False
    values = _array(tensor)
    # Mostly the first element tells.
    return values.size > 0 and not values.item(0) and not values.any()


def _all_finite(tensor: Any) -> bool:
    """Whether a tensor holds no NaN and no Inf, as those that are not floats do."""
    if tensor._datatype_enum() not in _FLOATS:
        return True
    values = _array(tensor)
    # The sum of squares is quick and shows what is not finite; where it overflows look closer.
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def _array(tensor: Any) -> np.ndarray:
    """The values of an eager tensor, by a way that a watch on `.numpy()` does not see."""
    return tensor._numpy()


def _eager(tensors: Iterable[Any]) -> list[Any]:
    """The eager tensors among others and Nones."""
    return [tensor for tensor in tensors if isinstance(tensor, ops.EagerTensor)]


def place_of(event: Event) -> Place | None:
    """The user's line that made an op run."""
    return event.origin.place if event.origin is not None else None


def _step(event: Event) -> Step:
    return Step(event.op, "", place_of(event))


def _range_of(what: str, tensors: list[Any]) -> str:
    """Between which values the first floating-point tensor lies, in words."""
    for tensor in tensors:
        if tensor.dtype.is_floating and tensor.shape.num_elements():
            values = _array(tensor).astype(np.float64)
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
    shapes = [tensor.shape for tensor in _eager([*outputs, *inputs])]
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
        return f"{op_type} is flat at all values met: {_range_of('result', _eager(outputs))}", None
    if op_type in _PRODUCTS and len(inputs) == 2:
        factor = inputs[1 - position]
        if is_concrete(factor) and is_zero(factor):
            return "its other factor is all zeros", factor
    return "", None
