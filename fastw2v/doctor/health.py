"""What makes training fail although gradients exist, and errors that keep a loss from existing."""

from __future__ import annotations

import linecache
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v.doctor import places
from fastw2v.doctor.causes import name_of
from fastw2v.doctor.events import ids_of
from fastw2v.doctor.graph_ids import GraphIds
from fastw2v.doctor.replay import Replays
from fastw2v.doctor.report import Finding, Place
from fastw2v.doctor.value_log import (
    Dead,
    NotFinite,
    ValueLog,
    is_concrete,
    is_zero,
    place_of,
    values_of,
)

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
_EAGERLY = "after tf.config.run_functions_eagerly(True) the doctor names the op."
_NOT_INSIDE = (
    "It was made inside a tf.function, where a watch sees no values; doctor.explain looks inside, "
    f"and {_EAGERLY}"
)
_NOT_REPEATED = (
    "It was made inside a tf.function that draws numbers, writes, or cannot be run op by op for "
    f"another reason; {_EAGERLY}"
)
# The type of the op, as TensorFlow writes it into messages: eagerly, and while it traces.
_OP_IN_MESSAGE = re.compile(r"\[Op:(\w+)\]|'\{\{node [^}]*\}\} = (\w+)[\[(]")


def of_error(error: BaseException) -> list[Finding]:
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


class Health:
    """Judges the steps of a training loop; remembers from step to step what it has seen.

    Args:
        log: What was seen of the values while the loss and its gradients were computed; without
            it, or inside a tf.function, the findings name no op.
        patience: How many steps in a row a gradient must be exactly zero before that is told.
    """

    def __init__(self, log: ValueLog, patience: int = 1) -> None:
        self._log = log
        self._patience = patience
        self._replays = Replays(log.recorder)
        self._graph_ids = GraphIds(log.recorder)
        self._zero_steps: Counter[int | None] = Counter()

    def inspect(
        self, loss: Any, variables: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Finding]:
        """What is wrong with a step, from its concrete values; of symbolic ones ids alone.

        Args:
            loss: The loss, a tensor or a structure of tensors.
            variables: What the gradients were asked for: variables, Keras variables or tensors.
            gradients: One tensor, `tf.IndexedSlices` or None for each variable.
        """
        findings = self._not_finite(loss, variables, gradients)
        if not findings:
            findings += self._zeros(variables, gradients)
        return findings + self._wrong_ids(variables) + self._graph_ids.inspect(loss, variables)

    def _not_finite(
        self, loss: Any, variables: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Finding]:
        bad = [
            (variable, values_of(gradient))
            for variable, gradient in zip(variables, gradients, strict=True)
            if is_concrete(values_of(gradient)) and _bad(values_of(gradient))
        ]
        if bad:
            return [
                self._of_bad_tensor(name_of(variable), _handle(variable), "Its gradient", values)
                for variable, values in bad
            ]
        for part in tf.nest.flatten(loss):
            if is_concrete(part) and _bad(part):
                return [self._of_bad_tensor("loss", None, "The loss", part)]
        return []

    def _of_bad_tensor(self, name: str, handle: int | None, what: str, tensor: Any) -> Finding:
        has = f"{what} has {_bad(tensor)}."
        log, origin = self._origin(tensor)
        if origin is None:
            unseen = self._unseen() if log.functions else "Which op made it was not recorded."
            return Finding(name, "not_finite", None, None, f"{has} {unseen}")
        # An Inf that later became NaN is where it began, unless it was meant, as in a mask.
        first = origin
        if origin.source is not None and origin.source.tensor is not None:
            first = origin.source
        made = "NaN" if first.nan else "Inf"
        if first.resource is not None:
            before = "this variable" if first.resource == handle else "a variable"
            detail = f"{has} The {made} was in {before} before the step."
            return Finding(name, "not_finite", None, None, detail)
        event = log.maker(first.tensor)
        if event is None:
            return Finding(name, "not_finite", None, None, f"{has} The {made} came with the data.")
        if event.body is not None:
            detail = f"{has} {self._unseen()}"
            return Finding(name, "not_finite", event.op, place_of(event), detail)
        by = f"the gradient of {event.op}" if first.backward else event.op
        detail = f"{has} The first {made} was made by {by}"
        detail += f"; {first.seen}." if first.seen else "."
        if first is not origin:
            later = log.maker(origin.tensor)
            if later is not None:
                by = f"the gradient of {later.op}" if origin.backward else later.op
                where = f" ({place_of(later)})" if later.origin is not None else ""
                detail += f" {by[0].upper()}{by[1:]}{where} made NaN of it."
        path = log.path(handle, event)
        return Finding(name, "not_finite", event.op, place_of(event), detail, path)

    def _origin(self, tensor: Any) -> tuple[ValueLog, NotFinite | None]:
        """Where the NaN or Inf in a tensor began, and the log that saw it."""
        origin = self._log.not_finite.get(tensor._id)
        for one in (origin, origin.source if origin is not None else None):
            inside = self._replays.inside(one.tensor) if one is not None else None
            if inside is not None and inside[1]._id in inside[0].not_finite:
                log, there = inside
                return log, log.not_finite[there._id]
        return self._log, origin

    def _unseen(self) -> str:
        return _NOT_INSIDE if self._log.recorder.calls is None else _NOT_REPEATED

    def _zeros(self, variables: Sequence[Any], gradients: Sequence[Any]) -> list[Finding]:
        handles = {number for variable in variables for number in ids_of(variable)}
        findings = []
        for variable, gradient in zip(variables, gradients, strict=True):
            values = values_of(gradient)
            if not is_concrete(values):
                continue
            number = _handle(variable)
            if not is_zero(values):
                self._zero_steps[number] = 0
                continue
            self._zero_steps[number] += 1
            if self._zero_steps[number] != self._patience:
                continue
            log, dead = self._dead(values._id)
            # A factor that is a variable leaves zero with its first step: nothing is wrong.
            if dead is not None and dead.reason and not dead.resources & handles:
                findings.append(self._of_zero(variable, log, dead))
        return findings

    def _dead(self, gradient: int) -> tuple[ValueLog, Dead | None]:
        """Why a gradient is exactly zero, and the log that saw it."""
        dead = self._log.dead.get(gradient)
        if dead is not None:
            return self._log, dead
        inside = self._replays.inside(gradient)
        if inside is not None:
            log, there = inside
            dead = log.dead.get(there._id)
            if dead is not None:
                # What was handed to the function was itself computed from something.
                behind = dead.resources.union(*map(self._log.behind, dead.resources))
                return log, replace(dead, resources=behind)
        # It was zero when it came to the function or the op, or it is a sum of gradients.
        parts = self._replays.above(gradient) or self._log.zeros_from.get(gradient)
        parts = parts or self._summands(gradient)
        reasons = [self._dead(part) for part in parts]
        if reasons and all(dead is not None for _, dead in reasons):
            return reasons[0]
        return self._log, None

    def _summands(self, gradient: int) -> tuple[int, ...]:
        maker = self._log.maker(gradient)
        return maker.inputs if maker is not None and maker.op in ("AddN", "AddV2") else ()

    def _of_zero(self, variable: Any, log: ValueLog, dead: Dead) -> Finding:
        name, event = name_of(variable), dead.event
        detail = f"It becomes zero at {dead.op}: {dead.reason}."
        if event is None:
            return Finding(name, "zero_gradient", dead.op, None, detail)
        path = log.path(_handle(variable), event)
        return Finding(name, "zero_gradient", dead.op, place_of(event), detail, path)

    def _wrong_ids(self, variables: Sequence[Any]) -> list[Finding]:
        if not self._log.wrong_ids:
            return []
        names = {_handle(variable): name_of(variable) for variable in variables}
        findings = []
        for wrong in self._log.wrong_ids:
            name = names.get(wrong.resource, "labels" if wrong.resource is None else "ids")
            event = self._log.maker(wrong.tensor)
            if event is None:
                findings.append(Finding(name, wrong.kind, None, None, wrong.detail))
            else:
                place = place_of(event)
                findings.append(Finding(name, wrong.kind, event.op, place, wrong.detail))
        self._log.wrong_ids.clear()
        return findings


def repeated_rows(
    variables: Sequence[Any], gradients: Sequence[Any], optimizer: Any
) -> list[Finding]:
    """Sparse gradients with repeated rows that this optimizer does not sum.

    Whether it does is tried on a copy of the optimizer and a table of a few rows.
    """
    findings, origin = [], places.of_caller()
    for variable, gradient in zip(variables, gradients, strict=False):
        if not isinstance(gradient, tf.IndexedSlices) or not is_concrete(gradient.indices):
            continue
        rows, counts = np.unique(gradient.indices.numpy(), return_counts=True)
        if not (counts > 1).any() or not _repeats_matter(optimizer):
            continue
        name = name_of(variable)
        detail = (
            f"Row {rows[counts.argmax()]} occurs {counts.max():,} times in its gradient, and "
            f"{type(optimizer).__name__} gives another result than for the sum."
        )
        findings.append(Finding(name, "repeated_rows", None, origin and origin.place, detail))
    return findings


def _repeats_matter(optimizer: Any) -> bool:
    if not isinstance(optimizer, tf.keras.optimizers.Optimizer):
        return False
    repeated = tf.IndexedSlices(
        tf.constant([[1.0, -2.0], [4.0, 0.5], [-3.0, 1.0]]), tf.constant([2, 2, 0]), (4, 2)
    )
    results = []
    with tf.init_scope():
        for gradient in (repeated, tf.convert_to_tensor(repeated)):
            table = tf.keras.Variable(np.ones((4, 2), np.float32), name="table")
            copy = type(optimizer).from_config(optimizer.get_config())
            for _ in range(2):
                copy.apply([gradient], [table])
            results.append(tf.convert_to_tensor(table).numpy())
    return not np.allclose(*results, rtol=1e-4, atol=1e-5)


def _handle(variable: Any) -> int | None:
    return next(iter(ids_of(variable)), None)


def _bad(tensor: Any) -> str:
    """NaN or Inf where a tensor has some, else nothing."""
    if not tensor.dtype.is_floating:
        return ""
    values = tensor._numpy()
    if np.isnan(values).any():
        return "NaN"
    return "" if np.isfinite(values).all() else "Inf"


def _place_of_error(error: BaseException) -> Place | None:
    """The user's innermost line on the way of an exception, converted by AutoGraph or not."""
    converted = getattr(error, "ag_error_metadata", None)
    if converted is not None:
        for frame in converted.translated_stack:
            if places.owner(frame.filename) == "user":
                text = linecache.getline(frame.filename, frame.lineno).strip()
                return Place(frame.filename, frame.lineno, text, frame.function_name)
    origin = places.of_error(error)
    return origin.place if origin is not None else None
