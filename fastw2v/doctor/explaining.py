"""Asks a loss function for its gradients and says which are missing or useless, and why."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastw2v.doctor.findings import loss_errors, missing
from fastw2v.doctor.findings.sources import name_of
from fastw2v.doctor.findings.useless import UselessGradients
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.report.report import Report
from fastw2v.doctor.trace.value_log import ValueLog

__all__ = ["assert_gradients", "explain"]


def explain(loss_fn: Callable[..., Any], variables: Any, *args: Any, **kwargs: Any) -> Report:
    """Says for each variable whether it gets a gradient, and if not, why.

    The loss is computed once, under a recorder and a gradient tape; variables are not changed by
    it unless `loss_fn` changes them. What `loss_fn` takes from outside was computed before and is
    not seen: a loss that uses `y`, computed from a variable beforehand, does not use the variable.

    Only where a tf.function gives NaN, or a gradient of zero, its ops are run once more to see
    which of them did it, and none that draws numbers, writes or calls Python. Where its results
    need such an op, a NaN is reported without the op that made it, and a gradient of zero not at
    all.

    Args:
        loss_fn: Computes the loss: a scalar, or any structure of floating-point tensors, which
            are then summed. A tf.function or a model's method will do.
        variables: Variables of TensorFlow or Keras, or tensors; a list or any structure of them.
        args, kwargs: Passed to `loss_fn`.

    Returns:
        A report; `report.ok` if all variables get a gradient that trains, `print(report)` for what
        is wrong: no gradient, NaN or Inf, a gradient of exactly zero, wrong ids.

    Raises:
        TypeError: `loss_fn` cannot be called, such as a loss that was computed before.
        ValueError: There are no variables, such as those of a Keras model that is not built yet.
        Exception: Whatever `loss_fn` raises, except the errors that the report explains: those
            about gradients, ids out of range, and missing batch axes.

    Example:
        >>> import tensorflow as tf
        >>> from fastw2v.doctor import explain
        >>> w = tf.Variable([0.2, 0.7])
        >>> report = explain(lambda: tf.reduce_sum(tf.round(w)), [w])
        >>> [finding.kind for finding in report.findings]
        ['rounding']
    """
    if not callable(loss_fn):
        kind = type(loss_fn).__name__
        raise TypeError(f"loss_fn has type {kind}, expected a function that computes the loss")
    sources = tf.nest.flatten(variables)
    if not sources:
        raise ValueError(
            f"variables = {variables!r} names no variable; a Keras model has its variables once it "
            "is built or was called"
        )
    graph = functools.partial(_trace, loss_fn, args, kwargs)
    with Recorder(keep_calls=True) as recorder, ValueLog(recorder) as log:
        tape = tf.GradientTape()
        loss = None
        try:
            with tape:
                loss = loss_fn(*args, **kwargs)
            gradients = _gradients(tape, loss, sources)
        except Exception as error:
            findings = missing.diagnose_error(error, loss, sources, recorder, tape)
            findings = findings or loss_errors.explain_error(error)
            if not findings:
                raise
            return Report((), tuple(findings), graph)
        findings = missing.diagnose(loss, sources, gradients, recorder, tape)
        findings += UselessGradients(log).find(loss, sources, gradients)
    connected = [
        name_of(source)
        for source, gradient in zip(sources, gradients, strict=True)
        if gradient is not None
    ]
    return Report(tuple(connected), tuple(findings), graph)


def assert_gradients(
    loss_fn: Callable[..., Any], variables: Any, *args: Any, **kwargs: Any
) -> None:
    """Raises AssertionError with the reasons if a variable gets no gradient from the loss.

    Args:
        loss_fn: Computes the loss, a tensor or a structure of tensors, from `args` and `kwargs`.
        variables: A variable, a watched tensor or a structure of them.

    Example:
        >>> import tensorflow as tf
        >>> from fastw2v import doctor
        >>> weights = tf.Variable([0.5, 1.5])
        >>> doctor.assert_gradients(lambda: tf.reduce_sum(weights**2), weights)
    """
    __tracebackhide__ = True
    report = explain(loss_fn, variables, *args, **kwargs)
    if not report.ok:
        raise AssertionError(f"not every variable has a gradient\n{report}")


def _trace(loss_fn: Callable[..., Any], args: Any, kwargs: Any) -> tf.Graph:
    """The graph of the loss, for TensorBoard."""
    function = loss_fn if hasattr(loss_fn, "get_concrete_function") else tf.function(loss_fn)
    return function.get_concrete_function(*args, **kwargs).graph


def _gradients(tape: tf.GradientTape, loss: Any, sources: list[Any]) -> list[Any]:
    """The tape's answer; None for all if the loss is no tensor."""
    if loss is None:
        raise TypeError("loss_fn returned None; it must return the loss")
    if any(not tf.is_tensor(t) and not hasattr(t, "handle") for t in tf.nest.flatten(loss)):
        return [None] * len(sources)
    return tape.gradient(loss, sources)
