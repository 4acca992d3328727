"""What the doctor found, as data and as text."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from fastw2v.doctor.kinds import KINDS

_WIDTH = 80
# Longer paths are shown by their ends: what matters is where they start and where they break.
_PATH_HEAD, _PATH_TAIL = 3, 6
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Place:
    """A line of the user's program."""

    file: str
    line: int
    text: str
    function: str

    def __str__(self) -> str:
        where = f"{_short(self.file)}:{self.line}"
        return where if self.function in ("", "<module>") else f"{where} in {self.function}"


@dataclass(frozen=True)
class Step:
    """An op on the way from a variable to the loss."""

    op: str
    name: str
    place: Place | None


@dataclass(frozen=True)
class Finding:
    """Why one variable has no gradient, or a useless one.

    Attributes:
        variable: Name of the variable or tensor.
        kind: A key of `kinds.KINDS`.
        op: Type of the op at which the path ends, where there is one.
        place: The line of the user's program that did it, where it is known.
        detail: A sentence about this case, names and values included.
        path: Ops from the variable up to and including the one that ends it.
    """

    variable: str
    kind: str
    op: str | None
    place: Place | None
    detail: str
    path: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was found about a loss and its variables.

    `print(report)` is the text for a person, `as_dict()` the same for a tool.

    Attributes:
        connected: Names of the variables that have a gradient.
        findings: What is wrong, the first cause of a variable before its further ones.
        graph: Gives the traced graph for `write_graph`, where there is one.
    """

    connected: tuple[str, ...]
    findings: tuple[Finding, ...]
    graph: Callable[[], Any] | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that keeps a variable from being trained."""
        return all(KINDS[finding.kind].effect == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, tuples, strings and numbers."""
        return {
            "connected": self.connected,
            "findings": tuple(asdict(finding) for finding in self.findings),
        }

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def show(self, stream: TextIO | None = None) -> None:
        """Prints the report, in colour on a terminal (unless NO_COLOR is set)."""
        stream = sys.stderr if stream is None else stream
        color = stream.isatty() and not os.environ.get("NO_COLOR")
        print("\n".join(_lines(self, _bold_and_red if color else _plain)), file=stream)

    def write_svg(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture of every path that breaks, the broken edge in red."""
        from fastw2v.doctor import picture

        Path(path).write_text(picture.svg(self), encoding="utf-8")

    def write_graph(self, log_dir: str | os.PathLike[str]) -> None:
        """Writes the traced graph of the loss for TensorBoard's page "Graphs".

        Raises:
            ValueError: The report knows no graph: what it is about ran eagerly, in `watch()`.
        """
        if self.graph is None:
            raise ValueError(
                "write_graph: this report has no graph, since the program ran eagerly; "
                "explain(loss_fn, variables) gives a report that can trace loss_fn"
            )
        import tensorflow as tf

        graph = self.graph()
        with tf.summary.create_file_writer(os.fspath(log_dir)).as_default():
            tf.summary.graph(graph)


@dataclass(frozen=True)
class Cause:
    """One cause and all variables that it concerns: findings that differ in the variable only."""

    variables: tuple[str, ...]
    finding: Finding


def causes(findings: tuple[Finding, ...]) -> list[Cause]:
    """The findings with those that are one cause put together, in order."""
    groups: dict[tuple, list[Finding]] = {}
    for finding in findings:
        detail = finding.detail.replace(finding.variable, "\0") if finding.variable else ""
        key = (finding.kind, finding.op, finding.place, detail or finding.detail)
        groups.setdefault(key, []).append(finding)
    return [
        Cause(tuple(dict.fromkeys(finding.variable for finding in group)), group[0])
        for group in groups.values()
    ]


def broken_edge(finding: Finding) -> int:
    """Which edge of variable -> path -> loss holds the gradient back, counted from 0.

    It leads into the op that ends the path. Where no op does, since the value left TensorFlow,
    it is the one behind the last op.
    """
    if finding.path and finding.path[-1].op == finding.op:
        return len(finding.path) - 1
    return len(finding.path)


def shortened(path: tuple[Step, ...]) -> tuple[tuple[Step, ...], int, tuple[Step, ...]]:
    """First steps, number of steps left out, last steps."""
    if len(path) <= _PATH_HEAD + _PATH_TAIL + 1:
        return path, 0, ()
    left_out = len(path) - _PATH_HEAD - _PATH_TAIL
    return path[:_PATH_HEAD], left_out, path[-_PATH_TAIL:]


def _plain(text: str, style: str) -> str:
    return text


def _bold_and_red(text: str, style: str) -> str:
    return f"\033[{ {'bold': '1', 'red': '31;1'}[style] }m{text}\033[0m"


def _lines(report: Report, paint: Callable[[str, str], str] = _plain) -> list[str]:
    lines = [*_wrapped(f"fastw2v.doctor: {_summary(report)}", "")]
    for cause in causes(report.findings):
        finding = cause.finding
        kind = KINDS[finding.kind]
        names = _names(cause.variables)
        title, *rest = _wrapped(f"{names}: {kind.title}" if names else kind.title, "    ", "")
        lines += ["", paint(title, "bold"), *(paint(line, "bold") for line in rest)]
        if finding.place is not None:
            lines.append(f"  {finding.place}")
            text = finding.place.text.strip()
            if text:
                lines.append(paint(f"    {_clipped(text, _WIDTH - 4)}", "red"))
        lines += _wrapped(kind.explanation, "  ")
        if finding.detail:
            lines += _wrapped(f"Here: {finding.detail}", "  ")
        if finding.path:
            lines += _wrapped(f"Path: {_path(finding)}", "        ", "  ")
        lines += _fix(kind.fix)
    told = {finding.variable for finding in report.findings}
    others = tuple(name for name in report.connected if name not in told)
    if told and others:
        lines += ["", *_wrapped(f"With a gradient: {_names(others)}", "  ", "")]
    return lines


def _summary(report: Report) -> str:
    concerned: dict[str, set[str]] = {}
    for finding in report.findings:
        concerned.setdefault(KINDS[finding.kind].effect, set()).add(finding.variable)
    missing = concerned.get("missing", set()) - set(report.connected)
    variables = len(report.connected) + len(missing)
    parts = []
    if "error" in concerned:
        parts.append("the loss cannot be computed")
    if "missing" in concerned:
        parts.append(f"{len(missing):,} of {_count(variables, 'variable')} without a gradient")
    if "useless" in concerned:
        parts.append("there are gradients that do not train")
    if parts:
        return "; ".join(parts)
    if report.findings:
        return "a note"
    return f"nothing wrong; {_count(variables, 'variable')} with a gradient"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _names(variables: tuple[str, ...]) -> str:
    shown = ", ".join(variables[:_NAMES_SHOWN])
    hidden = len(variables) - _NAMES_SHOWN
    return f"{shown} and {hidden:,} more" if hidden > 0 else shown


def _path(finding: Finding) -> str:
    head, left_out, tail = shortened(finding.path)
    ops = [step.op for step in head]
    if left_out:
        ops.append(f"({_count(left_out, 'op')})")
    ops += [step.op for step in tail]
    if broken_edge(finding) < len(finding.path):
        return " -> ".join([finding.variable, *ops[:-1]]) + f" -x-> {ops[-1]} -> loss"
    return " -> ".join([finding.variable, *ops]) + " -x-> loss"


def _fix(fix: str) -> list[str]:
    """What to write instead: a sentence is wrapped, lines of code after it stay as they are."""
    sentence, _, code = fix.partition("\n")
    lines = _wrapped(f"Instead: {sentence}", "  ")
    return lines + [f"    {line}".rstrip() for line in code.splitlines()]


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def _short(file: str) -> str:
    """The file relative to the working directory, where it lies below it."""
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
