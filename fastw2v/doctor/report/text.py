"""A report as text for a person."""

from __future__ import annotations

import textwrap

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.kinds import KINDS
from fastw2v.doctor.report.layout import broken_edge, counted, group_by_cause, shortened

_WIDTH = 80
_NAMES_SHOWN = 12


def as_text(connected: tuple[str, ...], findings: tuple[Finding, ...], color: bool = False) -> str:
    """The text of a report.

    Args:
        connected: Names of the variables that have a gradient.
        findings: What is wrong.
        color: Whether to paint titles and lines of the program by the codes of a terminal.
    """
    paint = _bold_and_red if color else _plain
    lines = [*_wrapped(f"fastw2v.doctor: {_summary(connected, findings)}", "")]
    for cause in group_by_cause(findings):
        finding = cause.finding
        kind = KINDS[finding.kind]
        names = _names(cause.variables)
        title, *rest = _wrapped(f"{names}: {kind.title}" if names else kind.title, "    ", "")
        lines += ["", paint(title, "bold"), *(paint(line, "bold") for line in rest)]
        if finding.place is not None:
            lines.append(f"  {finding.place}")
            code = finding.place.text.strip()
            if code:
                lines.append(paint(f"    {_clipped(code, _WIDTH - 4)}", "red"))
        lines += _wrapped(kind.explanation, "  ")
        if finding.detail:
            lines += _wrapped(f"Here: {finding.detail}", "  ")
        if finding.path:
            lines += _wrapped(f"Path: {_path(finding)}", "        ", "  ")
        lines += _fix(kind.fix)
    named = {finding.variable for finding in findings}
    others = tuple(name for name in connected if name not in named)
    if named and others:
        lines += ["", *_wrapped(f"With a gradient: {_names(others)}", "  ", "")]
    return "\n".join(lines)


def _summary(connected: tuple[str, ...], findings: tuple[Finding, ...]) -> str:
    concerned: dict[str, set[str]] = {}
    for finding in findings:
        concerned.setdefault(KINDS[finding.kind].effect, set()).add(finding.variable)
    missing = concerned.get("missing", set()) - set(connected)
    variables = len(connected) + len(missing)
    parts = []
    if "error" in concerned:
        parts.append("the loss cannot be computed")
    if "missing" in concerned:
        parts.append(f"{len(missing):,} of {counted(variables, 'variable')} without a gradient")
    if "useless" in concerned:
        parts.append("there are gradients that do not train")
    if parts:
        return "; ".join(parts)
    if findings:
        return "a note"
    return f"nothing wrong; {counted(variables, 'variable')} with a gradient"


def _names(variables: tuple[str, ...]) -> str:
    shown = ", ".join(variables[:_NAMES_SHOWN])
    hidden = len(variables) - _NAMES_SHOWN
    return f"{shown} and {hidden:,} more" if hidden > 0 else shown


def _path(finding: Finding) -> str:
    head, left_out, tail = shortened(finding.path)
    ops = [step.op for step in head]
    if left_out:
        ops.append(f"({counted(left_out, 'op')})")
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


def _plain(text: str, style: str) -> str:
    return text


def _bold_and_red(text: str, style: str) -> str:
    return f"\033[{ {'bold': '1', 'red': '31;1'}[style] }m{text}\033[0m"
