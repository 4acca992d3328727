"""Explains missing and useless gradients while a program runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, TextIO

import tensorflow as tf

from fastw2v.doctor.findings import loss_errors, missing
from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.repeated_rows import repeated_rows
from fastw2v.doctor.findings.sources import name_of
from fastw2v.doctor.findings.useless import UselessGradients
from fastw2v.doctor.observe import gradient_calls
from fastw2v.doctor.observe.gradient_calls import GradientCall
from fastw2v.doctor.observe.recording import Recorder, paused
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.program import places
from fastw2v.doctor.report.layout import counted
from fastw2v.doctor.report.printing import print_line
from fastw2v.doctor.report.report import Report
from fastw2v.doctor.trace.value_log import ValueLog

__all__ = ["Watch", "watch"]

# How often one call for gradients is explained; in a loop it says the same again.
_EXPLANATIONS_PER_CALL = 3
# A gradient that is exactly zero for so many steps is reported.
_PATIENCE = 3


def watch(file: TextIO | None = None) -> Watch:
    """Explains every gradient that comes out as None while it is on.

    A report is printed when `tf.GradientTape.gradient`, `tf.gradients` or an optimizer of
    TensorFlow 1 gives None or fails for want of a gradient, or when a Keras optimizer is given
    None. The same findings are printed once. Results, exceptions and random numbers are those of a
    program that nobody watches. Watches may be nested: all collect, the innermost prints.

    Also reported: NaN or Inf in a loss or a gradient, a gradient that is exactly zero in three
    steps in a row, ids changed or out of range, a missing batch axis, and repeated rows that an
    optimizer does not sum. In a compiled tf.function values are not seen: NaN is reported without
    its op, a gradient of zero not at all; `explain` looks there. What other threads compute eagerly
    is not recorded: a gradient that is None there is reported as undecided.

    Args:
        file: Where to print; standard error if None. Where it cannot be written the program goes
            on, and `reports` has all.

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


class Watch:
    """What `watch` returns.

    Attributes:
        reports: What was found so far, equal findings once.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.reports: list[Report] = []
        self._file = file
        self._variables: set[int] | None = None
        self._found: set[Any] = set()

    def start(self) -> Watch:
        """Begins to watch."""
        _session.add(self)
        return self

    def stop(self) -> None:
        """Ends watching; TensorFlow is as it was before."""
        _session.remove(self)

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
        _session.explain_error(self, error)

    def count_variables(self, variables: Iterable[int]) -> None:
        """Counts variables, given by their ids, whose gradients were computed."""
        if self._variables is None:
            self._variables = set()
        self._variables.update(variables)

    def add_report(self, report: Report, printed: bool) -> None:
        """Is given what was found."""
        findings = {(f.variable, f.kind, f.op, f.place) for f in report.findings}
        if findings <= self._found:
            return
        self._found |= findings
        self.reports.append(report)
        if printed:
            print_line(str(report), self._file)

    def print_if_nothing_found(self) -> None:
        """Prints in a line how many variables were looked at, unless there are reports."""
        if self.reports:
            return
        if self._variables is None:
            nothing = "fastw2v.doctor: no gradient was taken, so there was none to look at"
            print_line(nothing, self._file)
            return
        of = counted(len(self._variables), "variable") if self._variables else "tensors"
        print_line(f"fastw2v.doctor: nothing wrong; {of} with a gradient", self._file)


class _Session:
    """What all watches share: one recorder, and what was explained already.

    It listens to calls for gradients while there is a watch.

    Attributes:
        watches: Those that are on, the innermost last.
    """

    def __init__(self) -> None:
        self.watches: list[Watch] = []
        self._lock = threading.RLock()
        self._local = threading.local()
        self._undo = ExitStack()
        self._recorder = Recorder()
        self._recorded_thread = 0  # the one whose eager ops are recorded
        self._useless = UselessGradients(ValueLog(self._recorder))
        self._explanations: Counter[Any] = Counter()
        # Sources whose missing gradient was reported, and exceptions.
        self._reported: set[int] = set()

    def add(self, watch: Watch) -> None:
        """Gives a watch what is found from now on."""
        with self._lock:
            if watch not in self.watches:
                if not self.watches:
                    self._open()
                self.watches.append(watch)

    def remove(self, watch: Watch) -> None:
        """Ends that; the wrappers go with the last watch."""
        with self._lock:
            if watch in self.watches:
                self.watches.remove(watch)
                if not self.watches:
                    self._undo.close()

    def _open(self) -> None:
        self._recorded_thread = threading.get_ident()
        self._recorder = self._undo.enter_context(Recorder())
        log = self._undo.enter_context(ValueLog(self._recorder))
        self._useless = UselessGradients(log, _PATIENCE)
        self._undo.callback(self._explanations.clear)
        self._undo.callback(self._reported.clear)
        self._undo.callback(gradient_calls.install(self))

    def explain_error(self, watch: Watch, error: BaseException) -> None:
        """Gives a watch what an exception of the program means, where that is known."""
        findings = loss_errors.explain_error(error)
        findings = findings or missing.diagnose_error(error, None, [], self._recorder)
        if findings:
            with self._lock:
                printed = id(error) not in self._reported
                watch.add_report(Report((), tuple(findings)), printed)
                self._reported.add(id(error))

    # What the wrappers call ---------------------------------------------------------------------

    def is_busy(self) -> bool:
        """Whether there is no watch, or this thread is at work for the doctor."""
        return not self.watches or getattr(self._local, "working", False)

    def gradients_computed(
        self, target: Any, sources: Any, outcome: Any, call: GradientCall
    ) -> None:
        """Explains an outcome, gradients or an exception, if there is something to explain."""
        with self._working():
            variables = tf.nest.flatten(sources)
            with self._lock:
                numbers = [n for v in variables if hasattr(v, "handle") for n in ids_of(v)[:1]]
                for watch in self.watches:
                    watch.count_variables(numbers)
            if isinstance(outcome, Exception):
                is_missing = [True] * len(variables)
            else:
                gradients = tf.nest.flatten(outcome)
                is_missing = [gradient is None for gradient in gradients]
                useless = self._useless.find(target, variables, gradients)
                self._report(variables, is_missing, useless)
            if not any(is_missing):
                return
            key = (*_stack(call.caller), type(outcome), *is_missing, *map(_identity, variables))
            self._explanations[key] += 1
            if self._explanations[key] > _EXPLANATIONS_PER_CALL:
                return
            if isinstance(outcome, Exception):
                findings = missing.diagnose_error(
                    outcome, target, variables, self._recorder, call.tape
                )
            elif tf.executing_eagerly() and threading.get_ident() != self._recorded_thread:
                detail = "It was computed in a thread not watched."
                findings = _undecided(variables, is_missing, detail)
            else:
                findings = missing.diagnose(target, sources, outcome, self._recorder, call.tape)
            if call.all_variables:
                # Other parts of the graph may use them.
                findings = [finding for finding in findings if finding.kind != "unused"]
            self._report(variables, is_missing, findings)

    def gradients_applied(self, optimizer: Any, gradients: Any, variables: Any) -> None:
        """Reports gradients that reach an optimizer as None, and rows that it does not sum."""
        with self._working():
            variables = list(variables or optimizer._trainable_variables)
            self._report_unknown(gradients, variables)
            if self._explanations[id(optimizer)] < _EXPLANATIONS_PER_CALL:
                self._explanations[id(optimizer)] += 1
                self._report(variables, (), repeated_rows(variables, list(gradients), optimizer))

    @contextmanager
    def _working(self) -> Iterator[None]:
        """What is called inside is not watched, and a failure of the doctor ends in a line."""
        self._local.working = True
        try:
            with paused():
                yield
        except Exception as error:
            name = type(error).__name__
            print_line(f"fastw2v.doctor: could not explain a gradient: {name}: {error}")
        finally:
            self._local.working = False

    def _report_unknown(self, gradients: Any, variables: list[Any]) -> None:
        """Reports gradients that no tape gave and that reach an optimizer as None."""
        unknown = [
            variable
            for gradient, variable in zip(gradients, variables, strict=False)
            if gradient is None and _identity(variable) not in self._reported
        ]
        if unknown:
            detail = "The optimizer was given None, which came from no tape that was watched."
            is_missing = [True] * len(unknown)
            self._report(unknown, is_missing, _undecided(unknown, is_missing, detail))

    def _report(
        self, variables: list[Any], is_missing: Sequence[bool], findings: list[Finding]
    ) -> None:
        pairs = list(zip(variables, is_missing, strict=False))
        self._reported.update(_identity(variable) for variable, without in pairs if without)
        if not findings:
            return
        connected = [name_of(variable) for variable, without in pairs if not without]
        report = Report(tuple(connected), tuple(findings))
        with self._lock:
            for watch in self.watches:
                watch.add_report(report, printed=watch is self.watches[-1])


_session = _Session()


def _undecided(variables: list[Any], is_missing: Sequence[bool], detail: str) -> list[Finding]:
    place = places.place_of(places.of_caller())
    return [
        Finding(name_of(variable), "undecided", None, place, detail)
        for variable, without in zip(variables, is_missing, strict=True)
        if without
    ]


def _stack(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def _identity(source: Any) -> int:
    """The same number for a Keras variable and the variable of TensorFlow inside."""
    return id(getattr(source, "handle", source))
