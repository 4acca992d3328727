"""Wraps the functions of TensorFlow and Keras that compute or take gradients.

The wrappers change no result and no exception. They are there while a watch is.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.autograph.pyct import error_utils
from tensorflow.python.ops import gradients_util
from tensorflow.python.util import traceback_utils

from fastw2v._after_import import after_import
from fastw2v.doctor import causes, health, places, tracebacks
from fastw2v.doctor.recording import Recorder, paused
from fastw2v.doctor.report import Finding, Report
from fastw2v.doctor.value_log import ValueLog

if TYPE_CHECKING:
    from fastw2v.doctor.watch import Watch

# Gradients that TensorFlow takes for purposes of its own: a custom gradient may well be None there.
_INTERNAL = (
    "tensorflow.python.eager.forwardprop",
    "tensorflow.python.framework.",
    "tensorflow.python.ops.",
)
# A step is looked at so often; in a loop it says the same again.
_LOOKS_PER_CALL = 3
# A gradient that is exactly zero for so many steps is told.
_PATIENCE = 3

_lock = threading.RLock()
_watches: list[Watch] = []  # the innermost is the last
_undo = ExitStack()
_recorder = Recorder()
_thread = 0  # the one whose eager ops are recorded
_health = health.Health(ValueLog(_recorder))
_looks: Counter[Any] = Counter()
_told: set[int] = set()  # sources whose missing gradient has been reported
_local = threading.local()


def add(watch: Watch) -> None:
    """Has a watch told of what is found from now on."""
    with _lock:
        if watch not in _watches:
            if not _watches:
                _install()
            _watches.append(watch)


def remove(watch: Watch) -> None:
    """Ends that; the wrappers go with the last watch."""
    with _lock:
        if watch in _watches:
            _watches.remove(watch)
            if not _watches:
                _undo.close()


def tell_error(watch: Watch, error: BaseException) -> None:
    """Tells a watch what an exception means that the program raised, where that is known."""
    findings = health.of_error(error) or causes.diagnose_error(error, None, [], _recorder)
    if findings:
        with _lock:
            watch.take(Report((), tuple(findings)), printed=id(error) not in _told)
            _told.add(id(error))


def _install() -> None:
    global _recorder, _health, _thread
    _thread = threading.get_ident()
    _recorder = _undo.enter_context(Recorder())
    _health = health.Health(_undo.enter_context(ValueLog(_recorder)), _PATIENCE)
    _undo.callback(_looks.clear)
    _undo.callback(_told.clear)
    _replace(tf.GradientTape, "gradient", _around_gradient)
    _replace(gradients_util, "_GradientsHelper", _around_graph_gradients)
    _replace(tf.compat.v1.train.Optimizer, "compute_gradients", _around_compute_gradients)
    _replace(error_utils, "_stack_trace_inside_mapped_code", _around_stack_trace)
    _replace(traceback_utils, "include_frame", _around_include_frame)
    for module, install in (
        ("keras.src.optimizers.base_optimizer", _install_in_optimizers),
        ("keras.src.utils.traceback_utils", _install_in_tracebacks),
    ):
        _undo.callback(after_import(module, install))


def _install_in_optimizers() -> None:
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    _replace(BaseOptimizer, "apply", _around_apply)


def _install_in_tracebacks() -> None:
    from keras.src.utils import traceback_utils

    _replace(traceback_utils, "include_frame", _around_include_frame)


def _replace(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    wrapper = functools.wraps(original)(around(original))
    setattr(owner, name, wrapper)

    def restore() -> None:
        # Whoever wrapped it once more keeps our wrapper, which does nothing without a watch.
        if owner.__dict__[name] is wrapper:
            setattr(owner, name, original)

    _undo.callback(restore)


# --- The wrappers ------------------------------------------------------------------------------


def _around_gradient(original: Callable[..., Any]) -> Callable[..., Any]:
    def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        if _busy() or _is_internal(caller):
            return original(tape, target, sources, *args, **kwargs)
        given = (tape, target, sources, *args)
        return _look_at_outcome(original, given, kwargs, target, sources, tape, caller)

    return gradient


def _around_graph_gradients(original: Callable[..., Any]) -> Callable[..., Any]:
    def gradients(ys: Any, xs: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        if _busy() or caller.f_globals.get("__name__") != "tensorflow.python.ops.gradients_impl":
            return original(ys, xs, *args, **kwargs)
        return _look_at_outcome(original, (ys, xs, *args), kwargs, ys, xs, None, caller)

    return gradients


def _around_compute_gradients(original: Callable[..., Any]) -> Callable[..., Any]:
    def compute_gradients(
        optimizer: Any, loss: Any, var_list: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        before = getattr(_local, "all_variables", False)
        _local.all_variables = var_list is None
        try:
            return original(optimizer, loss, var_list, *args, **kwargs)
        finally:
            _local.all_variables = before

    return compute_gradients


def _around_apply(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
        if not _busy():
            with _working():
                variables = list(trainable_variables or optimizer._trainable_variables)
                _look_at_update(grads, variables)
                if _looks[id(optimizer)] < _LOOKS_PER_CALL:
                    _looks[id(optimizer)] += 1
                    _tell(variables, (), health.repeated_rows(variables, list(grads), optimizer))
        return original(optimizer, grads, trainable_variables)

    return apply


def _around_stack_trace(original: Callable[..., Any]) -> Callable[..., Any]:
    def stack_trace(tb: Any, *args: Any) -> Any:
        """Leaves our wrappers out of the messages that AutoGraph makes of stacks."""
        return original([frame for frame in tb if not tracebacks.is_ours(frame[0])], *args)

    return stack_trace


def _around_include_frame(original: Callable[..., Any]) -> Callable[..., Any]:
    def include_frame(file: str) -> bool:
        """Has TensorFlow and Keras leave out our wrappers where they leave out themselves."""
        return original(file) and not tracebacks.is_ours(file)

    return include_frame


def _is_internal(caller: FrameType) -> bool:
    name = caller.f_globals.get("__name__", "")
    return name.startswith(_INTERNAL) or tracebacks.is_ours(caller.f_code.co_filename)


# --- What they do ------------------------------------------------------------------------------


def _busy() -> bool:
    """Whether there is nobody to tell, or this thread is at work for the doctor."""
    return not _watches or getattr(_local, "working", False)


@contextmanager
def _working() -> Iterator[None]:
    """What is called inside is not watched, and a failure of the doctor ends in a line."""
    _local.working = True
    try:
        with paused():
            yield
    except Exception as error:
        name = type(error).__name__
        print(f"fastw2v.doctor: could not explain a gradient: {name}: {error}", file=sys.stderr)
    finally:
        _local.working = False


def _look_at_outcome(
    function: Callable[..., Any], args: Any, kwargs: Any, target: Any, sources: Any, *more: Any
) -> Any:
    """Calls a function for gradients, and looks at what comes out of it."""
    try:
        result = function(*args, **kwargs)
    except Exception as error:
        _look(target, sources, error, *more)
        raise
    _look(target, sources, result, *more)
    return result


def _look(target: Any, sources: Any, outcome: Any, tape: Any, caller: FrameType) -> None:
    """Explains an outcome, gradients or an exception, if there is something to explain."""
    with _working():
        variables = tf.nest.flatten(sources)
        if isinstance(outcome, Exception):
            missing = [True] * len(variables)
        else:
            gradients = tf.nest.flatten(outcome)
            missing = [gradient is None for gradient in gradients]
            _tell(variables, missing, _health.inspect(target, variables, gradients))
        if not any(missing):
            return
        call = (*_stack(caller), type(outcome), *missing, *map(_identity, variables))
        _looks[call] += 1
        if _looks[call] > _LOOKS_PER_CALL:
            return
        if isinstance(outcome, Exception):
            findings = causes.diagnose_error(outcome, target, variables, _recorder, tape)
        elif tf.executing_eagerly() and threading.get_ident() != _thread:
            findings = _undecided(variables, missing, "It was computed in a thread not watched.")
        else:
            findings = causes.diagnose(target, sources, outcome, _recorder, tape)
        if getattr(_local, "all_variables", False):
            # Other parts of the graph may use them.
            findings = [finding for finding in findings if finding.kind != "unused"]
        _tell(variables, missing, findings)


def _look_at_update(gradients: Any, variables: Any) -> None:
    """Tells of gradients that no tape gave and that reach an optimizer as None."""
    unknown = [
        variable
        for gradient, variable in zip(gradients, variables, strict=False)
        if gradient is None and _identity(variable) not in _told
    ]
    if unknown:
        detail = "The optimizer was given None, which came from no tape that was watched."
        missing = [True] * len(unknown)
        _tell(unknown, missing, _undecided(unknown, missing, detail))


def _undecided(variables: list[Any], missing: list[bool], detail: str) -> list[Finding]:
    origin = places.of_caller()
    return [
        Finding(causes.name_of(variable), "undecided", None, origin and origin.place, detail)
        for variable, without in zip(variables, missing, strict=True)
        if without
    ]


def _tell(variables: list[Any], missing: list[bool], findings: list[Finding]) -> None:
    _told.update(_identity(v) for v, m in zip(variables, missing, strict=False) if m)
    if not findings:
        return
    connected = [causes.name_of(v) for v, m in zip(variables, missing, strict=False) if not m]
    report = Report(tuple(connected), tuple(findings))
    with _lock:
        for one in _watches:
            one.take(report, printed=one is _watches[-1])


def _stack(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def _identity(source: Any) -> int:
    """The same number for a Keras variable and the variable of TensorFlow inside."""
    return id(getattr(source, "handle", source))
