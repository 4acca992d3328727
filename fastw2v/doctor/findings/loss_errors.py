"""Errors that keep a loss from being computed: ids out of range, missing batch axes."""

from __future__ import annotations

import linecache
import re

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.program import places
from fastw2v.doctor.program.places import Place

_ERRORS = {
    "ids_out_of_range": (
        re.compile(r"indices\[[\d,]*\] = -?\d+ is not in \[0, \d+\)"),
        re.compile(r"indices\[[\d,]*\] = \[[-\d, ]*\] does not index into param shape \[[\d,]*\]"),
        re.compile(r"Received a label value of -?\d+ which is outside the valid range of [^)]*\)"),
        re.compile(r"segment_ids\[[\d,]*\] = -?\d+ is out of range \[0, \d+\)"),
    ),
    "rank": (
        re.compile(r"In\[0\] and In\[1\] has different ndims: \[[\d,]*\] vs\. \[[\d,]*\]"),
        re.compile(r"In\[\d\] ndims must be >= 2(: \d+)?"),  # oneDNN names no number
        re.compile(r"true_classes must be a matrix"),
        re.compile(r"Shape must be (at least )?rank \d+ but is rank \d+"),
        re.compile(r"Expected input \d+ to have rank \d+ but got: \d+"),
        re.compile(r"`labels\.shape\.rank` must equal `logits\.shape\.rank - 1`[^\n]*"),
        re.compile(r"Argument `output` must have rank \(ndim\) `target\.ndim - 1`[^\n]*"),
        re.compile(r"expected min_ndim=\d+, found ndim=\d+"),
    ),
}
# The type of the op, as TensorFlow writes it into messages: eagerly, and while it traces.
_OP_IN_MESSAGE = re.compile(r"\[Op:(\w+)\]|'\{\{node [^}]*\}\} = (\w+)[\[(]")


def explain_error(error: BaseException) -> list[Finding]:
    """What an exception raised by a loss means; empty where the doctor does not know it."""
    message = str(error)
    for kind, patterns in _ERRORS.items():
        found = next(filter(None, (pattern.search(message) for pattern in patterns)), None)
        if found:
            match = _OP_IN_MESSAGE.search(message)
            op = (match[1] or match[2]) if match else None
            if op is not None and op.startswith("__"):  # the name of a function, not of an op
                op = None
            detail = f"TensorFlow says: {found[0].rstrip('.')}."
            return [Finding("loss", kind, op, _place_of_error(error), detail)]
    return []


def _place_of_error(error: BaseException) -> Place | None:
    """The user's innermost line on the way of an exception, converted by AutoGraph or not."""
    converted = getattr(error, "ag_error_metadata", None)
    if converted is not None:
        for frame in converted.translated_stack:
            if places.owner(frame.filename) == "user":
                text = linecache.getline(frame.filename, frame.lineno).strip()
                return Place(frame.filename, frame.lineno, text, frame.function_name)
    return places.place_of(places.of_error(error))
