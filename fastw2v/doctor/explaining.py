"""Asks a loss function for its gradients and says which are missing, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastw2v.doctor import causes
from fastw2v.doctor.recording import Recorder
from fastw2v.doctor.report import Finding, Report


def explain(loss_fn: Callable[..., Any], variables: Any, *args: Any, **kwargs: Any) -> Report:
    """Says for each variable whether it gets a gradient, and if not, why.

    The loss is computed once, under a recorder and a gradient tape; variables are not changed by
    it unless `loss_fn` changes them. What `loss_fn` takes from outside was computed before and is
    not seen: a loss that uses `y`, computed from a variable beforehand, does not use the variable.

    Args:
        loss_fn: Computes the loss: a scalar, or any structure of floating-point tensors, which
            are then summed. A tf.function or a model's method will do.
        variables: Variables of TensorFlow or Keras, or tensors; a list or any structure of them.
        args, kwargs: Passed to `loss_fn`.

    Returns:
        A report; `report.ok` if all variables get a gradient, `print(report)` for what is wrong.

    Raises:
        Exception: Whatever `loss_fn` raises, except the errors that are about gradients.

    Example:
        >>> import tensorflow as tf
        >>> from fastw2v.doctor import explain
        >>> w = tf.Variable([0.2, 0.7])
        >>> report = explain(lambda: tf.reduce_sum(tf.round(w)), [w])
        >>> [finding.kind for finding in report.findings]
        ['rounding']
    """
    sources = tf.nest.flatten(variables)
    with Recorder() as recorder:
        tape = tf.GradientTape()
        loss = None
        try:
            with tape:
                loss = loss_fn(*args, **kwargs)
            gradients = _gradients(tape, loss, sources)
        except (LookupError, RuntimeError) as error:
            findings = causes.diagnose_error(error, loss, sources, recorder, tape)
            if not findings:
                raise
            return _report(sources, findings)
        findings = causes.diagnose(loss, sources, gradients, recorder, tape)
    return _report(sources, findings)


def _gradients(tape: tf.GradientTape, loss: Any, sources: list[Any]) -> list[Any]:
    """The tape's answer; None for all if the loss is no tensor."""
    if loss is None:
        raise TypeError("loss_fn returned None; it must return the loss")
    if any(not tf.is_tensor(t) and not hasattr(t, "handle") for t in tf.nest.flatten(loss)):
        return [None] * len(sources)
    return tape.gradient(loss, sources)


def _report(sources: list[Any], findings: list[Finding]) -> Report:
    missing = {finding.variable for finding in findings}
    names = (causes.name_of(source) for source in sources)
    return Report(tuple(name for name in names if name not in missing), tuple(findings))
