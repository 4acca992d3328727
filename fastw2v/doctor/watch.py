"""Explains missing gradients while a program runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from fastw2v.doctor.report import Report


def watch(file: TextIO | None = None) -> Watch:
    """Explains every gradient that comes out as None while it is on.

    A report is printed when `tf.GradientTape.gradient`, `tf.gradients` or an optimizer of
    TensorFlow 1 gives None or fails for want of a gradient, or when a Keras optimizer is given
    None. The same findings are printed once. Results, exceptions and random numbers are those of a
    program that nobody watches. Watches may be nested: all collect, the innermost prints.

    Told too: NaN or Inf in a loss or a gradient, a gradient that is exactly zero in three steps in
    a row, ids changed or out of range, a missing batch axis, and repeated rows that an optimizer
    does not sum. In a compiled tf.function values are not seen: NaN is told without its op, a
    gradient of zero not at all; `explain` looks there. What other threads compute eagerly is not
    recorded: a gradient that is None there is told as undecided.

    Args:
        file: Where to print; standard error if None.

    Returns:
        A context manager with the attribute `reports`. Where a `with` block is in the way, as in
        the cells of a notebook, call its `start()` and `stop()`.

    Example:
        >>> import io, tensorflow as tf
        >>> from fastw2v import doctor
        >>> weights = tf.Variable([0.5, 1.5])
        >>> with doctor.watch(io.StringIO()) as watching:
        ...     with tf.GradientTape() as tape:
        ...         loss = tf.reduce_sum(tf.round(weights))
        ...     tape.gradient(loss, weights)
        >>> watching.reports[0].findings[0].kind
        'rounding'
    """
    return Watch(file)


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
    from fastw2v.doctor import explain

    __tracebackhide__ = True
    report = explain(loss_fn, variables, *args, **kwargs)
    if not report.ok:
        raise AssertionError(f"not every variable has a gradient\n{report}")


class Watch:
    """What `watch` returns.

    Attributes:
        reports: What was found so far, equal findings once.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.reports: list[Report] = []
        self._file = file
        self._seen: set[Any] = set()

    def start(self) -> Watch:
        """Begins to watch."""
        from fastw2v.doctor import hooks

        hooks.add(self)
        return self

    def stop(self) -> None:
        """Ends watching; TensorFlow is as it was before."""
        from fastw2v.doctor import hooks

        hooks.remove(self)

    def __enter__(self) -> Watch:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        if error is not None:
            self.explain_error(error)
        self.stop()

    def explain_error(self, error: BaseException) -> None:
        """Says what an exception of the program means, where it is one that the doctor knows."""
        from fastw2v.doctor import hooks

        hooks.tell_error(self, error)

    def take(self, report: Report, printed: bool) -> None:
        """Is given a report by the hooks."""
        findings = {(f.variable, f.kind, f.op, f.place) for f in report.findings}
        if findings <= self._seen:
            return
        self._seen |= findings
        self.reports.append(report)
        if printed:
            print(report, file=self._file or sys.stderr, flush=True)
