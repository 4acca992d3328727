"""Why gradients are None, or could not be computed for want of a gradient function."""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from fastw2v.doctor.findings import kinds
from fastw2v.doctor.findings.diagnosis import Diagnosis
from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.sources import kept_by, made_at, name_of
from fastw2v.doctor.findings.unused import UnusedSource
from fastw2v.doctor.observe.recording import Recorder, paused
from fastw2v.doctor.program import places
from fastw2v.doctor.trace.op_gradients import has_gradients

_NO_ENTRY = re.compile(
    r"(?:gradient registry has no entry for: |No gradient defined for operation.*op type: )(\w+)"
)


@tf.autograph.experimental.do_not_convert
def diagnose(
    target: Any,
    sources: Any,
    gradients: Any,
    recorder: Recorder,
    tape: tf.GradientTape | None = None,
) -> list[Finding]:
    """Why gradients are None.

    Args:
        target: What was differentiated: a tensor or a nested structure of them.
        sources: Variables or tensors, nested like `gradients`.
        gradients: What came out: one for each source.
        recorder: Open since before the target was computed.
        tape: The tape that gave the gradients; None for tf.gradients.

    Returns:
        For each source whose gradient is None one finding or more, the first of them first.
    """
    with paused(), _nothing_collected():
        missing = [
            source
            for source, gradient in zip(
                tf.nest.flatten(sources), tf.nest.flatten(gradients), strict=True
            )
            if gradient is None
        ]
        if not missing:
            return []
        diagnosis = Diagnosis(target, missing, recorder, tape)
        findings = []
        for number in range(len(missing)):
            findings += _causes(diagnosis, number) or [diagnosis.undecided(number)]
        return findings


@tf.autograph.experimental.do_not_convert
def diagnose_error(
    error: BaseException,
    target: Any,
    sources: Any,
    recorder: Recorder,
    tape: tf.GradientTape | None = None,
) -> list[Finding]:
    """What an error says about gradients; empty if it is about something else.

    Args:
        error: What the gradient function or the optimizer raised.
        target: What was differentiated; None if that is not known.
        sources: Empty if that is not known: then an error that arose in a graph is reported for
            the graph's variables.
        recorder, tape: As for `diagnose`.
    """
    message = str(error)
    place = places.place_of(places.of_error(error))
    flat = tf.nest.flatten(sources)
    if kinds.KINDS["persistent_tape"].message in message:
        return [Finding(name_of(s), "persistent_tape", None, place, message) for s in flat]
    match = _NO_ENTRY.search(message)
    if match is None:
        return []
    kind = "no_gradient_registered"
    with paused(), _nothing_collected():
        op, graph_targets = _failed_in_graph(error)
        if op is not None:
            # TensorFlow differentiated the graph of a function by itself.
            target, tape, flat = graph_targets, None, flat or list(op.graph.variables)
            place = places.place_of(places.of_op(op)) or place
        findings = []
        if target is not None:
            diagnosis = Diagnosis(target, flat, recorder, tape, failed_op=match[1])
            for number in range(len(flat)):
                findings += _causes(diagnosis, number)
        if not any(f.kind == kind for f in findings):
            findings += [Finding(name_of(s), kind, match[1], place, message) for s in flat]
        return findings


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Holds the garbage collector off: all that is built here lives until the end.

    Its full passes, over all objects of TensorFlow, are half the time of a diagnosis otherwise.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _failed_in_graph(error: BaseException) -> tuple[Any, Any]:
    """The op that TensorFlow could not differentiate in a graph, and what it differentiated."""
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "_GradientsHelper" and "op" in frame.f_locals:
            return frame.f_locals["op"], frame.f_locals["ys"]
        traceback = traceback.tb_next
    return None, None


def _causes(diagnosis: Diagnosis, number: int) -> list[Finding]:
    """Findings about a source, given by its number; none if a gradient seems to reach it."""
    source = diagnosis.sources[number]
    name = name_of(source)
    layer = kept_by(source)
    if layer is not None:
        place = places.place_of(places.of_caller())
        return [Finding(name, "layer_state", None, place, f"{layer} updates '{name}' itself.")]
    dtype = tf.as_dtype(source.dtype).base_dtype
    if not has_gradients(dtype):
        place = made_at(source, diagnosis.recorder)
        return [
            Finding(name, "integer_variable", None, place, f"'{name}' is of type {dtype.name}.")
        ]
    if diagnosis.is_used(number):
        return diagnosis.causes(number)
    return UnusedSource(diagnosis, source).causes()
