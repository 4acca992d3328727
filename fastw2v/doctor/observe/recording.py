"""Records what runs eagerly, and what gradient tapes see of it.

TensorFlow's private modules are patched here alone. Of tensors only the ids are kept, so that
nothing lives longer because it was recorded; graphs of the last functions called are kept.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import imperative_grad, record
from tensorflow.python.eager.polymorphic_function import atomic_function
from tensorflow.python.framework import op_callbacks, ops
from tensorflow.python.ops import array_ops, resource_variable_ops, script_ops

from fastw2v.doctor.observe.events import (
    CONVERSION,
    WRITERS,
    Backward,
    Call,
    Event,
    Observed,
    Segment,
    TapeLog,
)
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.program import places

# Functions of TensorFlow that look at the shape of a tensor and may make a constant of it, which
# leaves no trace of the tensor: the ops that they stand for, and which argument the tensor is.
_SHAPES = {
    "shape_internal": ("Shape", 0),
    "size_internal": ("Size", 0),
    "rank_internal": ("Rank", 0),
    "zeros_like_impl": ("ZerosLike", 0),
    "ones_like_impl": ("OnesLike", 0),
    "array_like_impl": ("OnesLike", 2),
}
# Methods that convert a tensor for Python or NumPy. NumPy's functions read tensors without them.
_CONVERSIONS = (
    "numpy",
    "__array__",
    "__float__",
    "__int__",
    "__index__",
    "__bool__",
    "__complex__",
)
# Graphs of functions kept although their functions may be gone, and the like.
_RECENT = 64


class Recorder:
    """Context manager that records the eager ops of this thread and all tapes.

    Args:
        limit: Number of events kept; older ones are forgotten.
        origin: Says where an op that runs comes from.
        keep_calls: Whether calls of functions are kept with their tensors.

    Attributes:
        calls: The calls, where they are kept.
        backwards: What the gradients of functions took and gave lately.
        events: What ran, in order.
        producers: The event that made a tensor, by the tensor's id.
        tapes: What tapes did.
        writers: The last events that wrote into a resource, by its id.
        shapes: For tensors that stand for a shape: an event that takes the tensor looked at.
        observed: Custom gradients in graphs, by graph and name of the op.
        forgotten: Number of events that the limit has cost.
    """

    def __init__(
        self,
        limit: int = 100_000,
        origin: Callable[[], places.Origin | None] = places.of_caller,
        keep_calls: bool = False,
    ) -> None:
        self.limit = limit
        self.origin = origin
        self.calls: list[Call] | None = [] if keep_calls else None
        self.backwards: deque[Backward] = deque(maxlen=None if keep_calls else _RECENT)
        self.events: deque[Event] = deque()
        self.producers: dict[int, Event] = {}
        self.tapes: weakref.WeakKeyDictionary[Any, TapeLog] = weakref.WeakKeyDictionary()
        self.writers: dict[int, deque[Event]] = {}
        self.shapes: dict[int, Event] = {}
        self.observed: weakref.WeakKeyDictionary[Any, dict[str, Observed]] = (
            weakref.WeakKeyDictionary()
        )
        self.forgotten = 0
        self.clock = 0
        self.in_gradient = 0

    def __enter__(self) -> Recorder:
        if not _recorders:
            _install()
        _recorders.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _recorders.remove(self)
        if not _recorders:
            _uninstall()

    def tape_log(self, tape: Any) -> TapeLog:
        """What is known of a tape."""
        log = self.tapes.get(tape)
        if log is None:
            log = self.tapes[tape] = TapeLog(tape._watch_accessed_variables)
        return log

    def add(self, op: str, inputs: Sequence[Any], outputs: Sequence[Any], **more: Any) -> None:
        """Adds an event that happens now."""
        self.clock += 1
        event = self._event(op, inputs, outputs, self.clock, **more)
        self.events.append(event)
        for tensor in event.outputs:
            self.producers[tensor] = event
        if op in WRITERS:
            self.writers.setdefault(event.inputs[WRITERS[op][1]], deque(maxlen=8)).append(event)
        if len(self.events) > self.limit:
            self._forget(self.events.popleft())

    def add_conversion(self, tensors: Sequence[Any], since: int) -> None:
        """Adds that tensors were converted, with all that was computed after an event."""
        inside = list(itertools.takewhile(lambda e: e.order > since, reversed(self.events)))
        self.add(CONVERSION, tensors, [])
        conversion = self.events[-1]
        for event in reversed(inside):
            conversion.inputs += event.outputs
            conversion.in_dtypes += event.out_dtypes
            conversion.in_shapes += event.out_shapes

    def note_shape(self, op: str, tensor: Any, result: Any) -> None:
        """Notes that a tensor came from the shape of another."""
        name = None if isinstance(tensor, ops.EagerTensor) else tensor.name
        event = self._event(op, [tensor], [result], _now(self)[1], attrs=("tensor", name))
        self.shapes[result._id] = event
        if len(self.shapes) > self.limit:
            del self.shapes[next(iter(self.shapes))]

    def _event(
        self, op: str, inputs: Sequence[Any], outputs: Sequence[Any], order: int, **more: Any
    ) -> Event:
        return Event(
            op,
            tuple([t._id for t in inputs]),
            tuple([t._id for t in outputs]),
            *_specs(inputs),
            *_specs(outputs),
            order,
            self.in_gradient > 0,
            self.origin(),
            **more,
        )

    def _forget(self, event: Event) -> None:
        self.forgotten += 1
        for tensor in event.outputs:
            if self.producers.get(tensor) is event:
                del self.producers[tensor]


def _specs(tensors: Sequence[Any]) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Numbers of the types of tensors, and their shapes."""
    try:  # eager tensors, mostly: their types and shapes are asked for without Python's objects
        return (
            tuple([t._datatype_enum() for t in tensors]),
            tuple([t._shape_tuple() for t in tensors]),
        )
    except (AttributeError, ValueError, RuntimeError):
        return tuple([t.dtype.as_datatype_enum for t in tensors]), tuple(map(_shape, tensors))


def _shape(tensor: Any) -> Any:
    try:
        return None if tensor.shape.rank is None else tuple(tensor.shape)
    except (ValueError, RuntimeError):  # a tensor on a parallel device has several shapes
        return None


# --- What is patched while a recorder is open -----------------------------------------------

_recorders: list[Recorder] = []
_recent: deque[Any] = deque(maxlen=_RECENT)
_undo = contextlib.ExitStack()


class _Local(threading.local):
    """What holds for one thread.

    Attributes:
        paused: Whether nothing is recorded.
        recorded_by: The recorders that record, where not all do.
        in_call: Whether a function runs, which is one event.
        in_python: Whether a function of tf.numpy_function runs, which is one conversion.
        reads: Handles of the variables that the next tensors are read from, by the tensors' ids.
    """

    paused = False
    recorded_by: Sequence[Recorder] | None = None
    in_call = False
    in_python = False

    def __init__(self) -> None:
        self.reads: dict[int, Any] = {}


_local = _Local()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Nothing that this thread does inside is recorded."""
    before = _local.paused
    _local.paused = True
    try:
        yield
    finally:
        _local.paused = before


@contextlib.contextmanager
def recorded_by(recorder: Recorder) -> Iterator[None]:
    """What this thread does inside is recorded by one recorder alone."""
    before = _local.recorded_by, _local.paused
    _local.recorded_by, _local.paused = (recorder,), False
    try:
        yield
    finally:
        _local.recorded_by, _local.paused = before


def is_recording(recorder: Recorder) -> bool:
    """Whether a recorder records what this thread does."""
    return recorder in _listening()


def _listening() -> Sequence[Recorder]:
    if _local.paused:
        return ()
    return _recorders if _local.recorded_by is None else _local.recorded_by


def _replace(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    """Puts a function around one of TensorFlow's until the last recorder closes."""
    own = owner.__dict__.get(name)
    original = getattr(owner, name)
    wrapper = functools.wraps(original)(around(original))
    setattr(owner, name, wrapper)

    def restore() -> None:
        # A patch that somebody else put around this one later stays.
        if owner.__dict__.get(name) is wrapper:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

    _undo.callback(restore)


def _install() -> None:
    op_callbacks.add_op_callback(_on_op)
    _undo.callback(op_callbacks.remove_op_callback, _on_op)
    tape = tf.GradientTape
    _replace(tape, "_push_tape", _around_push)
    _replace(tape, "_pop_tape", _around_pop)
    _replace(tape, "watch", _around_watch)
    _replace(imperative_grad, "imperative_grad", _around_gradient)
    _replace(atomic_function.AtomicFunction, "call_flat", _around_call)
    _replace(record, "record_operation", _around_custom_gradient)
    _replace(ops.RegisterGradient, "__call__", _around_registration)
    for name, (op, index) in _SHAPES.items():
        if hasattr(array_ops, name):
            _replace(array_ops, name, functools.partial(_around_shape, op, index))
    for name in _CONVERSIONS:
        _replace(ops._EagerTensorBase, name, _around_conversion)
    _replace(script_ops, "py_func_common", _around_python)
    _watch_handles()


def _uninstall() -> None:
    _undo.close()
    _recent.clear()


def _on_op(
    op_type: str,
    inputs: tuple[Any, ...],
    attrs: tuple[Any, ...],
    outputs: list[Any],
    op_name: str | None = None,
    graph: Any = None,
) -> None:
    if graph is not None or _local.in_call:
        return
    reads = _local.reads
    if reads:
        _local.reads = {}
    op = op_type.decode() if isinstance(op_type, bytes) else op_type
    for recorder in _listening():
        for tensor in inputs if reads else ():
            if tensor._id in reads and tensor._id not in recorder.producers:
                recorder.add("ReadVariableOp", [reads[tensor._id]], [tensor])
        recorder.add(op, inputs, outputs or (), attrs=attrs)


@functools.cache
def _is_op(file: str) -> bool:
    """Whether a source file holds generated functions of ops, TensorFlow's or others'."""
    return os.path.basename(file).startswith("gen_") or places.owner(file) != "library"


def _watch_handles() -> None:
    """Sees which variable an op reads for itself.

    An op that is given a variable reads it without an event. It gets the variable's handle just
    before, and what it reads is the next tensor that is made: the id is known in advance.
    """

    def get(variable: Any) -> Any:
        try:
            handle = variable.__dict__["_handle"]
        except KeyError:
            raise AttributeError("_handle") from None
        if _listening() and _is_op(sys._getframe(1).f_code.co_filename):
            reads = _local.reads
            reads[pywrap_tfe.TFE_Py_UID() + 1] = handle
            if len(reads) > _RECENT:
                del reads[next(iter(reads))]
        return handle

    def put(variable: Any, handle: Any) -> None:
        variable.__dict__["_handle"] = handle

    resource_variable_ops.BaseResourceVariable._handle = property(get, put)
    _undo.callback(delattr, resource_variable_ops.BaseResourceVariable, "_handle")


def _now(recorder: Recorder) -> tuple[Any, int]:
    """The graph that is being built, None if eager, and how far it or the recorder is."""
    if tf.executing_eagerly():
        return None, recorder.clock
    graph = ops.get_default_graph()
    return graph, graph.version + 1


def _around_push(push: Callable[..., Any]) -> Callable[..., Any]:
    def push_tape(tape: Any) -> None:
        empty = tape._tape is None
        push(tape)
        for recorder in _listening():
            log = recorder.tape_log(tape)
            if empty:  # new, used up or reset
                log.origin = places.of_caller()
                log.segments.clear()
                log.watched.clear()
            graph, order = _now(recorder)
            log.segments.append(Segment(weakref.ref(graph) if graph is not None else None, order))

    return push_tape


def _around_pop(pop: Callable[..., Any]) -> Callable[..., Any]:
    def pop_tape(tape: Any) -> None:
        pop(tape)
        for recorder in _listening():
            log = recorder.tape_log(tape)
            graph, order = _now(recorder)
            if not log.segments:  # the recorder came later than the tape
                log.segments.append(Segment(weakref.ref(graph) if graph is not None else None, -1))
            log.segments[-1].last = order

    return pop_tape


def _around_watch(watch: Callable[..., Any]) -> Callable[..., Any]:
    def watch_tensor(tape: Any, tensor: Any) -> Any:
        result = watch(tape, tensor)
        for recorder in _listening():
            watched = recorder.tape_log(tape).watched
            for one in tf.nest.flatten(tensor, expand_composites=True):
                for number in ids_of(one):
                    watched.setdefault(number, _now(recorder)[1])
        return result

    return watch_tensor


def _around_gradient(gradient: Callable[..., Any]) -> Callable[..., Any]:
    def imperative_gradient(*args: Any, **kwargs: Any) -> Any:
        recorders = list(_listening())
        for recorder in recorders:
            recorder.in_gradient += 1
        try:
            return gradient(*args, **kwargs)
        finally:
            for recorder in recorders:
                recorder.in_gradient -= 1

    return imperative_gradient


def _around_call(call: Callable[..., Any]) -> Callable[..., Any]:
    def call_flat(function: Any, *args: Any) -> Any:
        if not _listening() or not tf.executing_eagerly():
            return call(function, *args)
        inside = _local.in_call
        _local.in_call = True
        try:
            outputs = call(function, *args)
        finally:
            _local.in_call = inside
        graph = function.graph
        _keep(graph)
        tensors = [t for t in outputs or () if isinstance(t, tf.Tensor)]
        for recorder in _listening():
            recorder.add(function.name.decode(), list(args), tensors, body=weakref.ref(graph))
            if recorder.calls is not None and not recorder.in_gradient:
                event = recorder.events[-1]
                recorder.calls.append(Call(event, graph, list(args), list(outputs or ())))
        return outputs

    return call_flat


def _keep(graph: Any) -> None:
    """Lets a graph live a little longer than its function, until the tape asks for it."""
    if not any(kept is graph for kept in _recent):
        _recent.append(graph)


def _observing(backward: Callable[..., Any], note: Observed) -> Callable[..., Any]:
    @functools.wraps(backward)
    def observed(*args: Any, **kwargs: Any) -> Any:
        result = backward(*args, **kwargs)
        gradients = result if isinstance(result, (list, tuple)) else [result]
        note.passes = tuple(g is not None for g in gradients)
        return result

    return observed


def _noting(
    backward: Callable[..., Any], event: Event, outputs: list[Any], inputs: Sequence[Any]
) -> Callable[..., Any]:
    """Notes what the gradient of a function that was called takes and gives."""
    numbers = [t._id for t in outputs], [t._id for t in inputs]

    @functools.wraps(backward)
    def noted(*args: Any, **kwargs: Any) -> Any:
        result = backward(*args, **kwargs)
        gradients = result if isinstance(result, (list, tuple)) else [result]
        for recorder in _listening():
            upstream = args if recorder.calls is not None else ()
            note = Backward(event, *numbers, _numbers(args), _numbers(gradients), upstream)
            recorder.backwards.append(note)
        return result

    return noted


def _numbers(gradients: Sequence[Any]) -> list[int | None]:
    """Ids of gradients, of sparse ones that of their values; None for those that are missing."""
    return [getattr(getattr(g, "values", g), "_id", None) for g in gradients]


def _around_custom_gradient(record_operation: Callable[..., Any]) -> Callable[..., Any]:
    def record_custom_gradient(
        op_type: Any,
        output_tensors: Any,
        input_tensors: Any,
        backward_function: Any,
        forward_function: Any = None,
    ) -> None:
        recorders = _listening()
        tensors = [t for t in tf.nest.flatten(output_tensors) if isinstance(t, tf.Tensor)]
        if recorders and tensors and tf.executing_eagerly():
            made_by = recorders[-1].producers.get(tensors[0]._id)
            # The call of a function is an event already.
            if made_by is None or made_by.body is None:
                note = Observed()
                backward_function = _observing(backward_function, note)
                sources = [getattr(t, "handle", t) for t in input_tensors]
                for recorder in recorders:
                    recorder.add(str(op_type), sources, tensors, gradient=note)
            else:
                backward_function = _noting(backward_function, made_by, tensors, input_tensors)
        elif recorders and tensors and tensors[0].op.type == "IdentityN":
            note = Observed()
            backward_function = _observing(backward_function, note)
            _note_in_graph(tensors[0].op, note)
        record_operation(
            op_type, output_tensors, input_tensors, backward_function, forward_function
        )

    return record_custom_gradient


def _note_in_graph(op: Any, note: Observed) -> None:
    for recorder in _listening():
        recorder.observed.setdefault(op.graph, {})[op.name] = note


def _around_registration(register: Callable[..., Any]) -> Callable[..., Any]:
    def register_gradient(registration: Any, function: Any) -> Any:
        if not str(registration._op_type).startswith("CustomGradient-") or function is None:
            return register(registration, function)

        @functools.wraps(function)
        def observed(op: Any, *gradients: Any) -> Any:
            note = Observed()
            result = _observing(function, note)(op, *gradients)
            if hasattr(op, "graph"):
                _note_in_graph(op, note)
            return result

        register(registration, observed)
        return function

    return register_gradient


def _around_shape(op: str, index: int, look: Callable[..., Any]) -> Callable[..., Any]:
    def look_at_shape(*args: Any, **kwargs: Any) -> Any:
        result = look(*args, **kwargs)
        source = args[index] if index < len(args) else None
        source = getattr(source, "handle", source)
        if isinstance(result, tf.Tensor) and isinstance(source, tf.Tensor):
            for recorder in _listening():
                recorder.note_shape(op, source, result)
        return result

    return look_at_shape


def _around_conversion(leave: Callable[..., Any]) -> Callable[..., Any]:
    def convert(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        for recorder in () if _local.in_python else _listening():
            recorder.add(CONVERSION, [tensor], [])
        # One such method calls another.
        with paused():
            return leave(tensor, *args, **kwargs)

    return convert


def _around_python(call: Callable[..., Any]) -> Callable[..., Any]:
    def call_python(func: Any, inp: Any, *args: Any, **kwargs: Any) -> Any:
        """All that a NumPy function is given, and all that it computes for itself, is converted."""
        if not tf.executing_eagerly() or _local.in_python:
            return call(func, inp, *args, **kwargs)
        given = [t for t in tf.nest.flatten(inp) if isinstance(t, tf.Tensor)]
        before = {recorder: recorder.clock for recorder in _listening()}
        _local.in_python = True
        try:
            return call(func, inp, *args, **kwargs)
        finally:
            _local.in_python = False
            for recorder, clock in before.items():
                recorder.add_conversion(given, clock)

    return call_python
