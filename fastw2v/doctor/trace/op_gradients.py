"""Whether a gradient passes an op, from its outputs back to one of its inputs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import backprop, backprop_util, record
from tensorflow.python.framework import func_graph, ops

from fastw2v.doctor.observe.events import Event
from fastw2v.doctor.observe.recording import Recorder, paused
from fastw2v.doctor.trace.computation import Node, Value

PASSES = "passes"
# Why nothing passes.
BY_OP = "the op has no gradient"
BY_DTYPE = "a result is no floating-point number"
UNREGISTERED = "no gradient is registered"
CUSTOM = "the custom gradient returned None"

# Control flow of TensorFlow 1, whose gradient functions need the loop around them.
_CONTROL_FLOW = ("Switch", "Merge", "Enter", "Exit", "NextIteration", "RefSwitch", "RefMerge")


@functools.cache
def has_gradients(dtype: tf.DType) -> bool:
    """Whether tensors of a type have gradients."""
    return backprop_util.IsTrainable(dtype)


def is_differentiable(value: Value) -> bool:
    """Whether a value may have a gradient."""
    if value.dtype == tf.variant and value.tensor is not None:
        return backprop_util.IsTrainable(value.tensor)  # by the type of the list inside
    return has_gradients(value.dtype)


class OpGradients:
    """Answers for the nodes of one computation; of like ops the first is asked."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._graph = func_graph.FuncGraph("fastw2v_doctor")
        self._answers: dict[Any, tuple[bool, ...] | str | None] = {}

    def verdict(self, node: Node, index: int) -> str:
        """PASSES, or why no gradient comes back from the node to its input `index`."""
        if node.cause:
            return BY_OP
        if not node.op or node.op in _CONTROL_FLOW:
            return PASSES if any(map(is_differentiable, node.outputs)) else BY_DTYPE
        if node.op in ("CustomGradient", "IdentityN"):
            return self._custom_verdict(node, index)
        answer = self._input_gradients(node)
        if answer is None:
            return BY_OP
        if not any(map(is_differentiable, node.outputs)):
            return BY_DTYPE
        if answer == UNREGISTERED:
            return UNREGISTERED
        return PASSES if index >= len(answer) or answer[index] else BY_OP

    def _custom_verdict(self, node: Node, index: int) -> str:
        observed = None
        if isinstance(node.event_or_op, Event):
            observed = node.event_or_op.gradient
        elif has_custom_gradient(node.event_or_op):
            observed = self._recorder.observed.get(node.event_or_op.graph, {}).get(
                node.event_or_op.name
            )
        else:  # each output is one input
            same = any(v.tensor.value_index == index for v in node.outputs)
            return PASSES if same else BY_OP
        if observed is None or observed.passes is None or index >= len(observed.passes):
            return PASSES  # it was not called, so nothing is known against it
        return PASSES if observed.passes[index] else CUSTOM

    def _input_gradients(self, node: Node) -> tuple[bool, ...] | str | None:
        """Which inputs the op's gradient function gives a gradient."""
        event_or_op = node.event_or_op
        if isinstance(event_or_op, Event):
            attrs: Any = event_or_op.attrs
            inputs = list(zip(event_or_op.in_dtypes, event_or_op.in_shapes, strict=True))
            outputs = list(zip(event_or_op.out_dtypes, event_or_op.out_shapes, strict=True))
            key = (node.op, repr(attrs), event_or_op.in_dtypes, event_or_op.out_dtypes)
        else:
            attrs = event_or_op
            inputs = [(t.dtype.base_dtype, t.shape) for t in event_or_op.inputs]
            outputs = [(t.dtype.base_dtype, t.shape) for t in event_or_op.outputs]
            shown = sorted(
                (name, value.SerializeToString())
                for name, value in event_or_op.node_def.attr.items()
                if name == "_gradient_op_type" or not name.startswith("_")
            )
            key = (node.op, repr(shown), tuple(d for d, _ in inputs), tuple(d for d, _ in outputs))
        if key not in self._answers:
            self._answers[key] = self._call_gradient_function(node.op, attrs, inputs, outputs)
        return self._answers[key]

    def _call_gradient_function(
        self, op: str, attrs: Any, inputs: list[Any], outputs: list[Any]
    ) -> tuple[bool, ...] | str | None:
        with _hidden_graph(self._graph):
            name = op
            if not isinstance(attrs, tuple) and has_custom_gradient(attrs):
                name = attrs.get_attr("_gradient_op_type").decode()
            try:
                function = ops.gradient_registry.lookup(name)
            except LookupError:
                return () if op.startswith(("__forward_", "__inference_")) else UNREGISTERED
            if function is None:
                return None
            fake_op = _FakeOp(
                op, attrs, list(map(_placeholder, inputs)), list(map(_placeholder, outputs))
            )
            gradients = [
                _placeholder(spec) if backprop_util.IsTrainable(t) else None
                for spec, t in zip(outputs, fake_op.outputs, strict=True)
            ]
            try:
                result = function(fake_op, *gradients)
            except Exception:  # noqa: BLE001 - it is not said what gradient functions may raise
                # It wants to know more than types and shapes, so it computes something.
                return ()
        result = result if isinstance(result, (list, tuple)) else [result]
        return tuple(gradient is not None for gradient in result)


def has_custom_gradient(op: Any) -> bool:
    """Whether an op of a graph has a gradient function other than that of its type."""
    return "_gradient_op_type" in op.node_def.attr


def _placeholder(spec: tuple[Any, Any]) -> Any:
    dtype, shape = spec
    return tf.raw_ops.Placeholder(dtype=tf.as_dtype(dtype), shape=tf.TensorShape(shape))


@contextlib.contextmanager
def _hidden_graph(graph: Any) -> Iterator[None]:
    """Ops made inside go into the graph, and no tape or recorder sees them."""
    with paused(), record.stop_recording(), graph.as_default():
        yield


@dataclass
class _FakeOp:
    """What gradient functions take for the op."""

    type: str
    attrs: Any
    inputs: list[Any]
    outputs: list[Any]
    skip_input_indices: tuple[int, ...] = ()

    def get_attr(self, name: str) -> Any:
        if not isinstance(self.attrs, tuple):
            return self.attrs.get_attr(name)
        for key, value in zip(self.attrs[::2], self.attrs[1::2], strict=True):
            if key == name:
                return backprop.make_attr(backprop.op_attr_type(self.type, name), value)
        raise ValueError(f"{self.type} has no attribute {name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or isinstance(self.attrs, tuple):
            raise AttributeError(name)
        return getattr(self.attrs, name)
