"""Wraps the functions of TensorFlow and Keras that compute or apply gradients.

The wrappers change no result and no exception. They are there while somebody listens.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any, NamedTuple, Protocol

import tensorflow as tf
from tensorflow.python.autograph.pyct import error_utils
from tensorflow.python.ops import gradients_util
from tensorflow.python.util import traceback_utils

from fastw2v._core.after_import import after_import
from fastw2v.doctor.program import tracebacks

# Gradients that TensorFlow takes for purposes of its own: a custom gradient may well be None there.
_INTERNAL = (
    "tensorflow.python.eager.forwardprop",
    "tensorflow.python.framework.",
    "tensorflow.python.ops.",
)

_thread = threading.local()


class GradientCall(NamedTuple):
    """How gradients were asked for.

    Attributes:
        tape: The tape; None for tf.gradients.
        caller: The frame that asked.
        all_variables: Whether an optimizer of TensorFlow 1 asked for every variable there is.
    """

    tape: Any
    caller: FrameType
    all_variables: bool


class Listener(Protocol):
    """Who is called when gradients are computed or applied."""

    def is_busy(self) -> bool:
        """Whether the wrappers are to do nothing of their own now."""

    def gradients_computed(
        self, target: Any, sources: Any, outcome: Any, call: GradientCall
    ) -> None:
        """Is called after gradients were computed.

        Args:
            target: What was differentiated.
            sources: Variables or tensors, or a nested structure of them.
            outcome: The gradients, or the exception.
            call: How they were asked for.
        """

    def gradients_applied(self, optimizer: Any, gradients: Any, variables: Any) -> None:
        """Is called before an optimizer of Keras applies gradients.

        Args:
            variables: None for all variables of the optimizer.
        """


def install(listener: Listener) -> Callable[[], None]:
    """Puts the wrappers in place; returns a function that takes them away."""
    wrappers = _Wrappers(listener)
    return wrappers.remove


class _Wrappers:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._undo = ExitStack()
        self._replace(tf.GradientTape, "gradient", self._around_gradient)
        self._replace(gradients_util, "_GradientsHelper", self._around_graph_gradients)
        self._replace(tf.compat.v1.train.Optimizer, "compute_gradients", _around_compute_gradients)
        self._replace(error_utils, "_stack_trace_inside_mapped_code", _around_stack_trace)
        self._replace(traceback_utils, "include_frame", _around_include_frame)
        for module, wrap in (
            ("keras.src.optimizers.base_optimizer", self._wrap_optimizers),
            ("keras.src.utils.traceback_utils", self._wrap_tracebacks),
        ):
            self._undo.callback(after_import(module, wrap))

    def remove(self) -> None:
        self._undo.close()

    def _wrap_optimizers(self) -> None:
        from keras.src.optimizers.base_optimizer import BaseOptimizer

        self._replace(BaseOptimizer, "apply", self._around_apply)

    def _wrap_tracebacks(self) -> None:
        from keras.src.utils import traceback_utils

        self._replace(traceback_utils, "include_frame", _around_include_frame)

    def _replace(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        wrapper = functools.wraps(original)(around(original))
        setattr(owner, name, wrapper)

        def restore() -> None:
            # Inside a wrapper of somebody else ours stays; it does nothing while nobody listens.
            if owner.__dict__[name] is wrapper:
                setattr(owner, name, original)

        self._undo.callback(restore)

    def _around_gradient(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1)
            if self._listener.is_busy() or _is_internal(caller):
                return original(tape, target, sources, *args, **kwargs)
            given = (tape, target, sources, *args)
            return self._report_outcome(original, given, kwargs, target, sources, tape, caller)

        return gradient

    def _around_graph_gradients(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def gradients(ys: Any, xs: Any, *args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1)
            public = caller.f_globals.get("__name__") == "tensorflow.python.ops.gradients_impl"
            if self._listener.is_busy() or not public:
                return original(ys, xs, *args, **kwargs)
            return self._report_outcome(original, (ys, xs, *args), kwargs, ys, xs, None, caller)

        return gradients

    def _around_apply(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            if not self._listener.is_busy():
                self._listener.gradients_applied(optimizer, grads, trainable_variables)
            return original(optimizer, grads, trainable_variables)

        return apply

    def _report_outcome(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        target: Any,
        sources: Any,
        tape: Any,
        caller: FrameType,
    ) -> Any:
        """Calls a function for gradients, and tells the listener what comes out of it."""
        call = GradientCall(tape, caller, getattr(_thread, "all_variables", False))
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            self._listener.gradients_computed(target, sources, error, call)
            raise
        self._listener.gradients_computed(target, sources, result, call)
        return result


def _around_compute_gradients(original: Callable[..., Any]) -> Callable[..., Any]:
    def compute_gradients(
        optimizer: Any, loss: Any, var_list: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        before = getattr(_thread, "all_variables", False)
        _thread.all_variables = var_list is None
        try:
            return original(optimizer, loss, var_list, *args, **kwargs)
        finally:
            _thread.all_variables = before

    return compute_gradients


def _around_stack_trace(original: Callable[..., Any]) -> Callable[..., Any]:
    def stack_trace(tb: Any, *args: Any) -> Any:
        """Leaves our wrappers out of the stacks in messages of AutoGraph."""
        return original([frame for frame in tb if not tracebacks.is_ours(frame[0])], *args)

    return stack_trace


def _around_include_frame(original: Callable[..., Any]) -> Callable[..., Any]:
    def include_frame(file: str) -> bool:
        """Keeps our wrappers out of the tracebacks that TensorFlow and Keras shorten."""
        return original(file) and not tracebacks.is_ours(file)

    return include_frame


def _is_internal(caller: FrameType) -> bool:
    name = caller.f_globals.get("__name__", "")
    return name.startswith(_INTERNAL) or tracebacks.is_ours(caller.f_code.co_filename)
