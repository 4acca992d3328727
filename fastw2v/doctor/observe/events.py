"""What is recorded of a program: events, what tapes did, and calls of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastw2v.doctor.program import places

# The op of an event that is none: a value is converted to one of Python or NumPy.
CONVERSION = "leaves TensorFlow"
# Ops that write into a resource: what kind of cause that is, and which input names the resource.
WRITERS = {
    "AssignVariableOp": ("assignment", 0),
    "AssignAddVariableOp": ("assignment", 0),
    "AssignSubVariableOp": ("assignment", 0),
    "ResourceScatterUpdate": ("assignment", 0),
    "ResourceScatterAdd": ("assignment", 0),
    "ResourceScatterSub": ("assignment", 0),
    "ResourceScatterNdUpdate": ("assignment", 0),
    "ResourceScatterNdAdd": ("assignment", 0),
    "ResourceStridedSliceAssign": ("assignment", 0),
    "Assign": ("assignment", 0),
    "AssignAdd": ("assignment", 0),
    "AssignSub": ("assignment", 0),
    "LookupTableInsertV2": ("hash_table", 0),
    "LookupTableImportV2": ("hash_table", 0),
    "InitializeTableV2": ("hash_table", 0),
    "MakeIterator": ("dataset", 1),
}
# Ops that read a variable; the first input names it.
READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")
# Writers that leave nothing of what was there.
OVERWRITE = ("AssignVariableOp", "Assign", "LookupTableImportV2", "MakeIterator")


@dataclass(slots=True)
class Event:
    """An op or a function that ran eagerly, a tensor that was converted, or a custom gradient.

    Attributes:
        op: Type of the op.
        inputs, outputs: Ids of tensors.
        in_dtypes, out_dtypes: Numbers of TensorFlow's DataType.
        in_shapes, out_shapes: Static shapes.
        order: Counts up.
        in_gradient: Whether it was part of a tape's gradient.
        origin: The user's line.
        attrs: Names and values in turn.
        body: The graph of the function, where the event is a call of one.
        gradient: What the custom gradient returned, where there is one.
    """

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    in_dtypes: tuple[int, ...]
    in_shapes: tuple[Any, ...]
    out_dtypes: tuple[int, ...]
    out_shapes: tuple[Any, ...]
    order: int
    in_gradient: bool
    origin: places.Origin | None
    attrs: tuple[Any, ...] = ()
    body: Callable[[], Any] | None = None
    gradient: Observed | None = None

    @property
    def place(self) -> places.Place | None:
        """The user's line, where it is known."""
        return places.place_of(self.origin)


@dataclass(slots=True)
class Observed:
    """Which inputs a custom gradient gave a gradient; None until it was called."""

    passes: tuple[bool, ...] | None = None


@dataclass(slots=True)
class Segment:
    """A stretch that a tape recorded, in a graph or eagerly.

    Graphs count their ops, the recorder counts events; first < order <= last is recorded.
    """

    graph: Callable[[], Any] | None
    first: int
    last: float = float("inf")

    def covers(self, graph: Any, order: int) -> bool:
        return self.within(graph) and self.first < order <= self.last

    def within(self, graph: Any) -> bool:
        return (self.graph() if self.graph else None) is graph


@dataclass(slots=True)
class TapeLog:
    """What a tape recorded, what tape.watch named and when; origin: where it was entered."""

    automatic: bool
    origin: places.Origin | None = None
    segments: list[Segment] = field(default_factory=list)
    watched: dict[int, int] = field(default_factory=dict)

    def covers(self, graph: Any, order: int) -> bool:
        return any(segment.covers(graph, order) for segment in self.segments)


@dataclass(slots=True)
class Backward:
    """What the gradient of a function that was called took and gave.

    Attributes:
        event: The call.
        outputs, inputs: Ids of tensors.
        output_gradients, input_gradients: Ids of their gradients; None for no gradient.
        upstream: The gradients of the outputs themselves, where they are kept.
    """

    event: Event
    outputs: list[int]
    inputs: list[int]
    output_gradients: list[int | None]
    input_gradients: list[int | None]
    upstream: Sequence[Any] = ()


@dataclass(slots=True)
class Call:
    """An eager call of a function, with its tensors."""

    event: Event
    graph: Any
    inputs: list[Any]
    outputs: list[Any]
