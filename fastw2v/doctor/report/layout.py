"""What the text and the picture of a report have in common: grouped findings, shortened paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.trace.steps import Step

# Longer paths are shown by their ends: what matters is where they start and where they break.
_PATH_HEAD, _PATH_TAIL = 3, 6


@dataclass(frozen=True)
class Cause:
    """One cause and all variables that it concerns: findings that differ in the variable only."""

    variables: tuple[str, ...]
    finding: Finding


def group_by_cause(findings: tuple[Finding, ...]) -> list[Cause]:
    """The findings with those that are one cause put together, in order."""
    groups: dict[tuple[Any, ...], list[Finding]] = {}
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


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 variable", "2,000 variables"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
