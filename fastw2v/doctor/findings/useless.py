"""Gradients that exist and do not train: NaN, Inf, exactly zero, or of rows that were not meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.graph_ids import GraphIds
from fastw2v.doctor.findings.sources import name_of
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.trace.eager_tensors import is_concrete, is_zero, values_of
from fastw2v.doctor.trace.replay import Replayer
from fastw2v.doctor.trace.value_log import NotFinite, ValueLog, ZeroGradient

_EAGERLY = "after tf.config.run_functions_eagerly(True) the doctor names the op."
_NOT_INSIDE = (
    "It was made inside a tf.function, where a watch sees no values; doctor.explain looks inside, "
    f"and {_EAGERLY}"
)
_NOT_REPEATED = (
    "It was made inside a tf.function that draws numbers, writes, or cannot be run op by op for "
    f"another reason; {_EAGERLY}"
)


class UselessGradients:
    """Judges the steps of a training loop; remembers from step to step what it has seen.

    Args:
        log: What was seen of the values while the loss and its gradients were computed; without
            it, or inside a tf.function, the findings name no op.
        patience: How many steps in a row a gradient must be exactly zero before that is reported.
    """

    def __init__(self, log: ValueLog, patience: int = 1) -> None:
        self._log = log
        self._patience = patience
        self._replays = Replayer(log.recorder)
        self._graph_ids = GraphIds(log.recorder)
        self._zero_steps: Counter[int | None] = Counter()

    def find(self, loss: Any, variables: Sequence[Any], gradients: Sequence[Any]) -> list[Finding]:
        """What is wrong with a step, from its concrete values; of symbolic ones ids alone.

        Args:
            loss: The loss, a tensor or a structure of tensors.
            variables: What the gradients were asked for: variables, Keras variables or tensors.
            gradients: One tensor, `tf.IndexedSlices` or None for each variable.
        """
        findings = self._not_finite(loss, variables, gradients)
        if not findings:
            findings += self._zeros(variables, gradients)
        return findings + self._wrong_ids(variables) + self._graph_ids.find(loss, variables)

    def _not_finite(
        self, loss: Any, variables: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Finding]:
        bad = [
            (variable, values_of(gradient))
            for variable, gradient in zip(variables, gradients, strict=True)
            if is_concrete(values_of(gradient)) and _nan_or_inf(values_of(gradient))
        ]
        if bad:
            return [
                self._of_non_finite(name_of(variable), _handle(variable), "Its gradient", values)
                for variable, values in bad
            ]
        for part in tf.nest.flatten(loss):
            if is_concrete(part) and _nan_or_inf(part):
                return [self._of_non_finite("loss", None, "The loss", part)]
        return []

    def _of_non_finite(self, name: str, handle: int | None, what: str, tensor: Any) -> Finding:
        has = f"{what} has {_nan_or_inf(tensor)}."
        log, origin = self._origin(tensor)
        if origin is None:
            unseen = (
                self._why_unseen() if log.called_functions else "Which op made it was not recorded."
            )
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
        event = log.producer(first.tensor)
        if event is None:
            return Finding(name, "not_finite", None, None, f"{has} The {made} came with the data.")
        if event.body is not None:
            detail = f"{has} {self._why_unseen()}"
            return Finding(name, "not_finite", event.op, event.place, detail)
        by = f"the gradient of {event.op}" if first.backward else event.op
        detail = f"{has} The first {made} was made by {by}"
        detail += f"; {first.seen}." if first.seen else "."
        if first is not origin:
            later = log.producer(origin.tensor)
            if later is not None:
                by = f"the gradient of {later.op}" if origin.backward else later.op
                where = f" ({later.place})" if later.origin is not None else ""
                detail += f" {by[0].upper()}{by[1:]}{where} made NaN of it."
        path = log.path(handle, event)
        return Finding(name, "not_finite", event.op, event.place, detail, path)

    def _origin(self, tensor: Any) -> tuple[ValueLog, NotFinite | None]:
        """Where the NaN or Inf in a tensor began, and the log that saw it."""
        origin = self._log.not_finite.get(tensor._id)
        for one in (origin, origin.source if origin is not None else None):
            replayed = self._replays.replayed(one.tensor) if one is not None else None
            if replayed is not None and replayed[1]._id in replayed[0].not_finite:
                log, there = replayed
                return log, log.not_finite[there._id]
        return self._log, origin

    def _why_unseen(self) -> str:
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
            log, zero = self._zero_gradient(values._id)
            # A factor that is a variable leaves zero with its first step: nothing is wrong.
            if zero is not None and zero.reason and not zero.resources & handles:
                findings.append(self._of_zero(variable, log, zero))
        return findings

    def _zero_gradient(self, gradient: int) -> tuple[ValueLog, ZeroGradient | None]:
        """Why a gradient is exactly zero, and the log that saw it."""
        zero = self._log.zero_gradients.get(gradient)
        if zero is not None:
            return self._log, zero
        replayed = self._replays.replayed(gradient)
        if replayed is not None:
            log, there = replayed
            zero = log.zero_gradients.get(there._id)
            if zero is not None:
                # What was handed to the function was itself computed from something.
                origins = zero.resources.union(*map(self._log.origins_of, zero.resources))
                return log, replace(zero, resources=origins)
        # It was zero when it came to the function or the op, or it is a sum of gradients.
        parts = self._replays.upstream_of(gradient) or self._log.zero_upstream.get(gradient)
        parts = parts or self._summands(gradient)
        reasons = [self._zero_gradient(part) for part in parts]
        if reasons and all(zero is not None for _, zero in reasons):
            return reasons[0]
        return self._log, None

    def _summands(self, gradient: int) -> tuple[int, ...]:
        producer = self._log.producer(gradient)
        return producer.inputs if producer is not None and producer.op in ("AddN", "AddV2") else ()

    def _of_zero(self, variable: Any, log: ValueLog, zero: ZeroGradient) -> Finding:
        name, event = name_of(variable), zero.event
        detail = f"It becomes zero at {zero.op}: {zero.reason}."
        if event is None:
            return Finding(name, "zero_gradient", zero.op, None, detail)
        path = log.path(_handle(variable), event)
        return Finding(name, "zero_gradient", zero.op, event.place, detail, path)

    def _wrong_ids(self, variables: Sequence[Any]) -> list[Finding]:
        if not self._log.ids.wrong:
            return []
        names = {_handle(variable): name_of(variable) for variable in variables}
        findings = []
        for wrong in self._log.ids.wrong:
            name = names.get(wrong.resource, "labels" if wrong.resource is None else "ids")
            event = self._log.producer(wrong.tensor)
            if event is None:
                findings.append(Finding(name, wrong.kind, None, None, wrong.detail))
            else:
                place = event.place
                findings.append(Finding(name, wrong.kind, event.op, place, wrong.detail))
        self._log.ids.wrong.clear()
        return findings


def _handle(variable: Any) -> int | None:
    return next(iter(ids_of(variable)), None)


def _nan_or_inf(tensor: Any) -> str:
    """NaN or Inf where a tensor has some, else nothing."""
    if not tensor.dtype.is_floating:
        return ""
    values = tensor._numpy()
    if np.isnan(values).any():
        return "NaN"
    return "" if np.isfinite(values).all() else "Inf"
