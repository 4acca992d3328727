"""A picture of the paths from variables to the loss, with the edge that breaks each in red.

The picture is one SVG file that needs nothing else: no script, no style sheet, no font. Every cause
is a column of boxes from the variable down to the loss; beside a box stands the line of the user's
program that made the op.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from xml.sax.saxutils import escape

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.kinds import KINDS
from fastw2v.doctor.program.places import Place
from fastw2v.doctor.report.layout import Cause, broken_edge, counted, group_by_cause, shortened
from fastw2v.doctor.trace.steps import Step

_FONT = 13
# The advance of a monospaced character; text is placed and clipped by it.
_CHARACTER = 0.602 * _FONT
_MARGIN, _BOX_WIDTH, _BOX_HEIGHT = 24, 250, 40
_EDGE_HEIGHT, _BROKEN_EDGE_HEIGHT = 30, 54
_WIDTH = 1000
_ASIDE = _MARGIN + _BOX_WIDTH + 20
_TITLE_HEIGHT = 54
_COLORS = {
    "ink": "#1f2430",
    "faint": "#667085",
    "line": "#98a2b3",
    "box": "#f2f4f7",
    "variable": "#e0ecff",
    "broken": "#d92d20",
    "broken box": "#fee4e2",
}
# XML 1.0 has no way to write these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg(connected: tuple[str, ...], findings: tuple[Finding, ...]) -> str:
    """The picture of a report as the text of an SVG file.

    Args:
        connected: Names of the variables that have a gradient.
        findings: What is wrong.
    """
    parts: list[str] = []
    top = _MARGIN
    for cause in group_by_cause(findings):
        column, height = _column(cause, top)
        parts += column
        top += height + _MARGIN
    if not parts:
        words = f"nothing wrong: {counted(len(connected), 'variable')} with a gradient"
        parts.append(_text(_MARGIN, top + 20, words, bold=True))
        top += 40
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
            f'viewBox="0 0 {_WIDTH} {top}" font-family="ui-monospace, Menlo, Consolas, '
            f'\'DejaVu Sans Mono\', monospace" font-size="{_FONT}">',
            "<title>fastw2v.doctor</title>",
            f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _column(cause: Cause, top: int) -> tuple[list[str], int]:
    """The elements of one cause and their height."""
    finding = cause.finding
    kind = KINDS[finding.kind]
    title_width = _WIDTH - 2 * _MARGIN
    parts = [
        _text(_MARGIN, top + 16, kind.title, width=title_width, bold=True, color="broken"),
        _text(_MARGIN, top + 36, kind.explanation, width=title_width, color="faint"),
    ]
    y = top + _TITLE_HEIGHT
    broken = broken_edge(finding)
    gradient = "gradient: None" if kind.effect == "missing" else ""
    parts += _box(y, ", ".join(cause.variables), gradient, fill="variable")
    for edge, step in _edges(finding.path):
        y += _BOX_HEIGHT
        ends = edge == broken
        height = _BROKEN_EDGE_HEIGHT if ends else _EDGE_HEIGHT
        parts += _edge(y, height, kind.title if ends else "")
        if ends and step is None and finding.place is not None:
            parts += _aside(y + 6, finding.place, "broken")
        y += height
        if isinstance(step, int):
            parts.append(_text(_MARGIN + 20, y + 25, f"({step:,} more)", color="faint"))
        elif step is None:
            parts += _box(y, "loss", "", fill="variable")
        else:
            parts += _box(y, step.op, step.name, fill="broken box" if ends else "box", ends=ends)
            if step.place is not None:
                parts += _aside(y, step.place, "broken" if ends else "ink")
    return parts, y + _BOX_HEIGHT - top


def _edges(path: tuple[Step, ...]) -> Iterator[tuple[int, Step | int | None]]:
    """Each edge's number and where it leads: a step, a number of steps left out, or the loss."""
    head, left_out, tail = shortened(path)
    for edge, step in enumerate(head):
        yield edge, step
    if left_out:
        yield len(head), left_out
    for edge, step in enumerate(tail, start=len(head) + left_out):
        yield edge, step
    yield len(path), None


def _box(y: int, label: str, below: str, *, fill: str, ends: bool = False) -> list[str]:
    border = _COLORS["broken" if ends else "line"]
    middle = y + (17 if below else 25)
    parts = [
        f'<rect x="{_MARGIN}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" '
        f'fill="{_COLORS[fill]}" stroke="{border}"/>',
        _text(_MARGIN + 10, middle, label, width=_BOX_WIDTH - 20, bold=True),
    ]
    if below:
        parts.append(_text(_MARGIN + 10, y + 33, below, width=_BOX_WIDTH - 20, color="faint"))
    return parts


def _aside(y: int, place: Place, color: str = "ink") -> list[str]:
    width = _WIDTH - _ASIDE - _MARGIN
    parts = [_text(_ASIDE, y + 17, str(place), width=width, color="faint")]
    parts.append(_text(_ASIDE, y + 33, place.text.strip(), width=width, color=color))
    return parts


def _edge(y: int, height: int, broken: str) -> list[str]:
    """An arrow from `y` down to the next box; a broken one says why, in red, and is crossed out."""
    x = _MARGIN + 40
    end = y + height
    color = _COLORS["broken" if broken else "line"]
    dashes = ' stroke-dasharray="5 4"' if broken else ""
    parts = [
        f'<path d="M{x} {y} V{end - 7}" stroke="{color}" stroke-width="2" fill="none"{dashes}/>',
        f'<path d="M{x - 5} {end - 8} L{x} {end} L{x + 5} {end - 8} Z" fill="{color}"/>',
    ]
    if broken:
        middle = y + height // 2 - 3
        parts += [
            f'<path d="M{x - 7} {middle - 7} l14 14 m0 -14 l-14 14" stroke="{color}" '
            'stroke-width="3" fill="none"/>',
            _text(x + 18, middle + 5, broken, width=_BOX_WIDTH - 60, color="broken"),
        ]
    return parts


def _text(
    x: float, y: float, text: str, *, width: float = 0, bold: bool = False, color: str = "ink"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    shown = escape(_clipped(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), width))
    return (
        f'<text x="{x}" y="{y}" fill="{_COLORS[color]}"{weight} xml:space="preserve">{shown}</text>'
    )


def _clipped(text: str, width: float) -> str:
    """As much of a text as fits into so many pixels; all of it for width 0."""
    room = int(width / _CHARACTER)
    columns = 0
    for position, character in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width and columns > room:
            return f"{text[: max(position - 1, 0)]}\N{HORIZONTAL ELLIPSIS}"
    return text
