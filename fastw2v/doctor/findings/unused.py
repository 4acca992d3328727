"""Why a loss does not use a variable: where its value went instead."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastw2v.doctor.findings import kinds
from fastw2v.doctor.findings.diagnosis import HIDDEN_OPS, LONGEST_PATH, Diagnosis
from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.python_functions import python_function, uses_variable
from fastw2v.doctor.findings.sources import made_at, name_of
from fastw2v.doctor.observe.events import CONVERSION, WRITERS, Event
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.program import numpy_calls
from fastw2v.doctor.program.places import Place, place_of
from fastw2v.doctor.trace.computation import Computation, Value
from fastw2v.doctor.trace.op_gradients import is_differentiable
from fastw2v.doctor.trace.steps import Step

_NUMPY_FUNCTIONS = ("numpy_function", "py_func", "py_func_common", "_internal_py_func")
# Methods of Keras that train or evaluate, and those of its methods that give arrays or numbers.
_KERAS_LOOPS = ("fit", "evaluate", "train_on_batch", "test_on_batch")
_KERAS_CONVERSIONS = (
    *("convert_to_numpy", "get_weights", "predict", "predict_on_batch"),
    *("evaluate", "train_on_batch", "test_on_batch"),
)
_JACOBIANS = ("jacobian", "batch_jacobian")


class UnusedSource:
    """A source that the loss does not need.

    Args:
        diagnosis: Of the loss.
        source: A variable or a tensor.
    """

    def __init__(self, diagnosis: Diagnosis, source: Any) -> None:
        self._diagnosis = diagnosis
        self._computation = diagnosis.computation
        self._recorder = diagnosis.recorder
        self._source = source
        self._name = name_of(source)

    def causes(self) -> list[Finding]:
        """One finding or more."""
        if self._is_copy():
            detail = (
                f"'{self._name}' was computed from what the loss uses, but the loss does not use "
                "it."
            )
            return [self._finding("copy_of_variable", None, self._made_at, detail)]
        computed = _computed_from(ids_of(self._source), self._recorder)
        conversion = next((e for e in computed if _is_conversion(e) and self._may_return(e)), None)
        if conversion is not None:
            return self._converted(conversion)
        ends = [e for e in computed if e.op != CONVERSION]
        return [self._into_numpy(ends) or self._into_function() or self._unused(ends)]

    def _finding(
        self, kind: str, op: str | None, place: Place | None, detail: str, path: Any = ()
    ) -> Finding:
        return Finding(self._name, kind, op, place, detail, tuple(path))

    @property
    def _made_at(self) -> Place | None:
        return made_at(self._source, self._recorder)

    def _converted(self, conversion: Event) -> list[Finding]:
        """What held the gradient back before a value left TensorFlow, and that it left."""
        diagnosis = Diagnosis(conversion, [self._source], self._recorder, None)
        end = diagnosis.connected(0)
        findings = diagnosis.blocked(0, self._name) if end is None else []
        if findings and not any(map(is_differentiable, diagnosis.computation.targets)):
            return findings
        path = diagnosis.path(diagnosis.flow.nodes_to(0, end)) if end is not None else ()
        assert conversion.origin is not None
        place = conversion.origin.place
        kind = "python_function" if conversion.origin.api in _NUMPY_FUNCTIONS else "numpy"
        detail = f"What was computed from '{self._name}' leaves TensorFlow here."
        step = Step(CONVERSION, "", place)
        return [*findings, self._finding(kind, None, place, detail, (*path, step))]

    def _into_numpy(self, ends: list[Event]) -> Finding | None:
        """Where the program's text hands what was computed to NumPy."""
        for end in ends:
            if end.origin is None or end.op in WRITERS or not self._may_return(end):
                continue
            if not (end.origin.keras and end.origin.api in _KERAS_LOOPS):
                place = numpy_calls.call_on_result(end.origin)
            else:
                place = self._in_function_called_by_keras()
            if place is not None:
                detail = f"What was computed from '{self._name}' goes into NumPy here."
                return self._finding("numpy", None, place, detail, _steps(ends))
        if self._diagnosis.target_is_not_tensor:
            return self._finding("numpy", None, None, "The loss is no tensor.", _steps(ends))
        return None

    def _in_function_called_by_keras(self) -> Place | None:
        """NumPy in a loss or a layer of the user's that Keras calls, not the program itself."""
        for leaf in self._computation.leaves:
            for node, _ in leaf.consumers if is_differentiable(leaf) else ():
                place = numpy_calls.call_on_parameter(node.origin) if node.origin else None
                if place is not None:
                    return place
        return None

    def _into_function(self) -> Finding | None:
        """A function of NumPy that the loss needs and that uses the source unseen."""
        for node in self._computation.nodes:
            if (
                isinstance(node.event_or_op, tf.Operation)
                and kinds.OF_OP.get(node.op) == "python_function"
            ):
                if uses_variable(python_function(node.event_or_op), self._source):
                    place = place_of(node.origin)
                    detail = f"The function that is called here uses '{self._name}' itself."
                    return self._finding("python_function", node.op, place, detail)
        return None

    def _unused(self, ends: list[Event]) -> Finding:
        """What is said where the value went nowhere that is known."""
        into_data = next((e for e in ends if kinds.OF_OP.get(e.op) == "dataset"), None)
        if into_data is not None and into_data.origin is not None and self._takes_arguments():
            # The function that computes the loss is not called yet: what it takes is open.
            place = into_data.origin.place
            detail = (
                f"'{self._name}' goes into a dataset here, and the loss takes what datasets give."
            )
            return self._finding("dataset", into_data.op, place, detail, _steps(ends))
        if self._computation.opaque or self._forgotten():
            detail = (
                "Not all of what led to the loss could be seen; "
                f"'{self._name}' was not found in it."
            )
            return self._finding("undecided", None, None, detail)
        used = [e for e in ends if e.op not in WRITERS and e.origin and not e.origin.keras]
        made_at = self._made_at
        if used and used[-1].origin is not None:
            last = used[-1].origin.place
            detail = (
                f"The loss needs nothing of what was computed from '{self._name}', last by "
                f"{last.text}"
            )
            return self._finding("unused", None, made_at or last, detail, _steps(ends))
        detail = f"'{self._name}' was not used while the loss was computed."
        return self._finding("unused", None, made_at, detail)

    def _is_copy(self) -> bool:
        """Whether the source was itself read from a variable that the loss needs."""
        if hasattr(self._source, "handle") or not isinstance(self._source, tf.Tensor):
            return False
        made_of = Computation([self._source], self._recorder)
        read = {
            v.tensor_id for v in made_of.values.values() if v.tensor_id in self._recorder.writers
        }
        read |= {
            value.tensor_id
            for value in made_of.leaves
            if value.tensor_id != self._source._id and is_differentiable(value)
        }
        return any(self._computation.outer_value(number) is not None for number in read)

    def _may_return(self, event: Event) -> bool:
        """Whether the loss may have been computed from a value that an event took outside.

        It then takes a number that was made later and that nothing recorded made.
        """
        if self._diagnosis.target_is_not_tensor:
            return True
        log = self._diagnosis.log
        any_number = log is None or log.covers(None, event.order) or () in event.in_shapes
        since = max((*event.inputs, *event.outputs), default=0)
        return any(
            leaf.tensor_id > since
            and is_differentiable(leaf)
            and (any_number or not _is_scalar(leaf))
            for leaf in self._computation.leaves
        )

    def _takes_arguments(self) -> bool:
        """Whether the loss is computed in a graph from arguments of the graph."""
        return any(
            value.tensor is not None and value.tensor.op.type == "Placeholder"
            for value in self._computation.leaves
        )

    def _forgotten(self) -> bool:
        """Whether the loss was computed from what the recorder no longer knows."""
        if not self._recorder.forgotten or not self._recorder.events:
            return False
        kept = next((e.outputs[0] for e in self._recorder.events if e.outputs), 0)
        return any(
            v.tensor_id < kept and v.tensor is None and v.dtype != tf.resource
            for v in self._computation.leaves
        )


def _computed_from(numbers: list[int], recorder: Recorder) -> list[Event]:
    """All that was computed from tensors, in order, apart from optimizers and gradients."""
    takers: dict[int, list[Event]] = {}
    for event in recorder.events:
        if not event.in_gradient and not (event.origin and event.origin.optimizer):
            for number in event.inputs:
                takers.setdefault(number, []).append(event)
    computed: dict[int, Event] = {}
    stack = list(numbers)
    while stack:
        for event in takers.get(stack.pop(), ()):
            if event.order not in computed:
                computed[event.order] = event
                stack += event.outputs
    return [computed[order] for order in sorted(computed)]


def _is_conversion(event: Event) -> bool:
    """Whether the user, and not a library for itself, took a value out of TensorFlow."""
    origin = event.origin
    if origin is None or origin.optimizer or origin.api in _JACOBIANS:
        return False
    if origin.keras:
        return origin.api in _KERAS_CONVERSIONS
    return event.op == CONVERSION


def _is_scalar(value: Value) -> bool:
    if value.tensor is not None:
        return value.tensor.shape.rank == 0
    return any(
        isinstance(node.event_or_op, Event) and node.event_or_op.in_shapes[index] == ()
        for node, index in value.consumers
    )


def _steps(events: list[Event]) -> tuple[Step, ...]:
    return tuple(
        Step(e.op, "", e.place)
        for e in events[-LONGEST_PATH:]
        if e.op not in HIDDEN_OPS and WRITERS.get(e.op, ("",))[0] != "assignment"
    )
