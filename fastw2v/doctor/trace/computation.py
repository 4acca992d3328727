"""What the loss was computed from: eager ops and graphs as one structure.

Bodies of functions, conditions and loops are inlined, so that a path from a variable to the loss
consists of ops, and of links between values, alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from fastw2v.doctor.observe.events import OVERWRITE, WRITERS, Event
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.program import places
from fastw2v.doctor.trace.steps import Step

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
LOOPS = ("While", "StatelessWhile")
# Beyond this many inlined bodies, further calls stay opaque.
_MAX_BODIES = 2000


class Where(NamedTuple):
    """Where a tape sees a node: in which graph (None: eagerly), and its number there."""

    graph: Any
    order: int


# The inside of a body, which is a part of the call for a tape.
INSIDE = Where(None, 0)


@dataclass(eq=False, slots=True)
class Value:
    """A tensor at one place of the computation.

    Attributes:
        tensor_id: Id of the tensor.
        site: Which inlined body, at which call site, it is in; 0 if in none.
        tensor: The tensor, if it is one of a graph; eager tensors are not kept.
        producers: What made it; several where branches or iterations of a loop join.
        consumers: Nodes that take it, and as which input.
    """

    tensor_id: int
    site: int
    dtype: tf.DType
    tensor: Any = None
    producers: list[Node] = field(default_factory=list)
    consumers: list[tuple[Node, int]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Node:
    """An op, or a link: a value passed on under another name.

    Attributes:
        op: Type of the op, "" for a link.
        event_or_op: What is behind it: an event, or an op of a graph.
        inputs: All that it takes; outputs: what is needed of its results.
        where: Where a tape sees it.
        cause: For a link that no gradient passes: the kind of cause.
    """

    op: str
    event_or_op: Any
    inputs: list[Value]
    outputs: list[Value]
    where: Where
    cause: str = ""
    _origin: places.Origin | None = None

    @property
    def origin(self) -> places.Origin | None:
        """The user's line."""
        if isinstance(self.event_or_op, Event):
            return self.event_or_op.origin
        if self._origin is None:
            self._origin = places.of_op(self.event_or_op)
        return self._origin

    @property
    def number(self) -> int:
        """Counts up in the order in which ops ran, or came into their graph."""
        return (
            self.event_or_op.order if isinstance(self.event_or_op, Event) else self.event_or_op._id
        )

    @property
    def type(self) -> str:
        """Type of the op behind it, for links too."""
        if self.op:
            return self.op
        return self.event_or_op.op if isinstance(self.event_or_op, Event) else self.event_or_op.type

    @property
    def name(self) -> str:
        return "" if isinstance(self.event_or_op, Event) else self.event_or_op.name

    @property
    def step(self) -> Step:
        return Step(self.type, self.name, places.place_of(self.origin))


class _Binding(NamedTuple):
    """What an input of a body stands for. The value is made when it turns out to be needed."""

    value: Callable[[], Value]
    event_or_op: Any
    where: Where


@dataclass(slots=True)
class _InlinedCall:
    """A body that was inlined: its inputs, and the eager order of the call around it."""

    bindings: dict[int, list[_Binding]]
    order: float


class Computation:
    """All that the targets depend on, with gradient or without.

    Args:
        targets: Tensors, eager or of a graph; or events, for what they take.
        recorder: What ran eagerly.

    Attributes:
        values: What is needed, by site and id of the tensor.
        nodes: The ops and links between them.
        targets: Values of the targets.
        opaque: Calls whose bodies could not be inlined.
    """

    def __init__(self, targets: list[Any], recorder: Recorder) -> None:
        self.recorder = recorder
        self.values: dict[tuple[int, int], Value] = {}
        self.nodes: list[Node] = []
        self.opaque: list[Node] = []
        self._sites: list[_InlinedCall] = [_InlinedCall({}, float("inf"))]
        self._site_of: dict[Any, int] = {}
        self._captures: dict[int, dict[int, Any]] = {}
        self._followers: dict[int, list[Any]] = {}
        self._made: dict[Any, Node] = {}
        self._untraced: list[Value] = []
        self.targets = [
            value
            for t in targets
            for value in (self._inputs(t) if isinstance(t, Event) else [self._tensor(t, 0)])
        ]
        while self._untraced:
            self._trace(self._untraced.pop())

    def outer_value(self, number: int) -> Value | None:
        """The value of a tensor outside all bodies, if it is needed."""
        return self.values.get((0, number))

    @property
    def leaves(self) -> list[Value]:
        """Values that come from where nothing was recorded."""
        return [v for v in self.values.values() if not v.producers]

    # Values: whatever is asked for here is needed --------------------------------------------

    def _tensor(self, tensor: Any, site: int) -> Value:
        value = self.values.get((site, tensor._id))
        if value is None:
            symbolic = tensor if tf.is_symbolic_tensor(tensor) else None
            value = Value(tensor._id, site, tensor.dtype.base_dtype, symbolic)
            self.values[site, tensor._id] = value
            self._untraced.append(value)
        return value

    def _recorded(self, number: int, dtype: int) -> Value:
        value = self.values.get((0, number))
        if value is None:
            value = Value(number, 0, tf.as_dtype(dtype).base_dtype)
            self.values[0, number] = value
            self._untraced.append(value)
        return value

    def _input(self, event: Event, index: int) -> Value:
        return self._recorded(event.inputs[index], event.in_dtypes[index])

    def _inputs(self, event: Event) -> list[Value]:
        return [self._input(event, index) for index in range(len(event.inputs))]

    # What made them --------------------------------------------------------------------------

    def _trace(self, value: Value) -> None:
        if value.tensor_id in self.recorder.shapes:
            self._trace_shape(value, self.recorder.shapes[value.tensor_id])
        elif value.tensor is not None:
            self._trace_graph(value, value.tensor.op)
        elif value.tensor_id in self.recorder.producers:
            self._trace_event(value, self.recorder.producers[value.tensor_id])

    def _op(
        self,
        value: Value,
        op: str,
        event_or_op: Any,
        inputs: Callable[[], list[Value]],
        where: Where,
    ) -> Node:
        """Adds a needed output to an op, and the op if it is new."""
        key = (
            value.site,
            id(event_or_op)
            if isinstance(event_or_op, Event)
            else (id(event_or_op.graph), event_or_op._id),
        )
        node = self._made.get(key)
        if node is None:
            node = self._made[key] = Node(op, event_or_op, inputs(), [], where)
            self._add_node(node)
        node.outputs.append(value)
        value.producers.append(node)
        return node

    def _link(
        self, value: Value, source: Value, event_or_op: Any, where: Where, cause: str = ""
    ) -> None:
        node = Node("", event_or_op, [source], [value], where, cause)
        self._add_node(node)
        value.producers.append(node)

    def _add_node(self, node: Node) -> None:
        self.nodes.append(node)
        for index, taken in enumerate(node.inputs):
            taken.consumers.append((node, index))

    def _trace_shape(self, value: Value, event: Event) -> None:
        graph = value.tensor.graph if value.tensor is not None else None
        sources = partial(self._inputs, event)
        if graph is not None and event.attrs[1] is not None:
            with contextlib.suppress(KeyError, ValueError):
                tensor = graph.get_tensor_by_name(event.attrs[1])
                if tensor._id == event.inputs[0]:
                    sources = partial(self._tensors, [tensor], value.site)
        where = INSIDE if value.site else Where(graph, event.order)
        self._op(value, event.op, event, sources, where)

    def _tensors(self, tensors: Any, site: int) -> list[Value]:
        return [self._tensor(t, site) for t in tensors]

    def _trace_event(self, value: Value, event: Event) -> None:
        where = Where(None, event.order)
        body = event.body() if event.body is not None else None
        index = event.outputs.index(value.tensor_id)
        if body is not None and index < len(body.outputs) and self._may_inline():
            site = self._inline_call(event, body)
            self._link(value, self._tensor(body.outputs[index], site), event, where)
            return
        op = event.op if event.gradient is None else "CustomGradient"
        node = self._op(value, op, event, partial(self._inputs, event), where)
        if event.body is not None:
            self.opaque.append(node)
        self._link_writers(value, node)

    def _inline_call(self, event: Event, body: Any) -> int:
        """Inlines the body of a function that was called eagerly; returns the site."""
        site = self._site(body, (id(event),), event.order)
        given = [partial(self._input, event, i) for i in range(len(event.inputs))]
        self._bind_inputs(site, body, given, event, Where(None, event.order))
        return site

    def _trace_graph(self, value: Value, op: Any) -> None:
        where = INSIDE if value.site else Where(op.graph, op._id)
        if op.type in ("Placeholder", "Const"):  # small tensors are captured as constants
            bindings = self._bindings(value)
            for binding in bindings:
                self._link(value, binding.value(), binding.event_or_op, binding.where)
            if bindings or op.type == "Placeholder":
                return
        bodies = bodies_of(op)
        if bodies and None not in bodies and self._may_inline():
            self._trace_bodies(value, op, bodies, where)
            return
        inputs = partial(self._tensors, op.inputs, value.site)
        node = self._op(value, op.type, op, inputs, where)
        if bodies:
            self.opaque.append(node)
        self._link_writers(value, node)

    def _trace_bodies(self, value: Value, op: Any, bodies: list[Any], where: Where) -> None:
        """Links an output of control flow or of a call to what is inside."""
        index = value.tensor.value_index
        sites = self._inline(op, value.site, bodies)
        if op.type in LOOPS:
            (body, condition), (body_site, condition_site) = bodies, sites
            self._link(value, self._tensor(body.outputs[index], body_site), op, where)
            self._link(value, self._tensor(op.inputs[index], value.site), op, where)
            decides = self._tensor(condition.outputs[0], condition_site)
            self._link(value, decides, op, where, "comparison")
            return
        if op.type in BRANCHES:
            decides = self._tensor(op.inputs[0], value.site)
            self._link(value, decides, op, where, "comparison")
        for body, site in zip(bodies, sites, strict=True):
            self._link(value, self._tensor(body.outputs[index], site), op, where)

    def _inline(self, op: Any, site: int, bodies: list[Any]) -> list[int]:
        """Inlines the bodies of a control flow op or a call; returns the sites."""
        where = INSIDE if site else Where(op.graph, op._id)
        sites = [
            self._site(body, (site, id(op.graph), op._id, number), self._sites[site].order)
            for number, body in enumerate(bodies)
        ]
        given = [partial(self._tensor, t, site) for t in _body_inputs(op)]
        for body, its_site in zip(bodies, sites, strict=True):
            self._bind_inputs(its_site, body, given, op, where)
            if op.type in LOOPS:
                again = [partial(self._tensor, t, sites[0]) for t in bodies[0].outputs]
                self._bind_inputs(its_site, body, again, op, INSIDE)
        return sites

    def _may_inline(self) -> bool:
        return len(self._sites) < _MAX_BODIES

    def _site(self, body: Any, key: Any, order: float) -> int:
        """The site of a body; new if the call was not seen yet."""
        site = self._site_of.get(key)
        if site is None:
            site = self._site_of[key] = len(self._sites)
            self._sites.append(_InlinedCall({t._id: [] for t in body.inputs}, order))
        return site

    def _bind_inputs(
        self,
        site: int,
        body: Any,
        given: Sequence[Callable[[], Value]],
        event_or_op: Any,
        where: Where,
    ) -> None:
        """Notes what the inputs of a body stand for."""
        bindings = self._sites[site].bindings
        for placeholder, value in zip(body.inputs, given, strict=False):
            binding = _Binding(value, event_or_op, where)
            known = bindings[placeholder._id]
            # It is noted again for every output of the call.
            if len(known) < 2 and not any(e.where == where for e in known):
                known.append(binding)

    def _bindings(self, value: Value) -> list[_Binding]:
        """What a placeholder stands for."""
        if value.site:
            return self._sites[value.site].bindings.get(value.tensor_id, [])
        graph = value.tensor.graph
        captures = self._captures.get(id(graph))
        if captures is None:
            pairs = getattr(graph, "captures", ())
            captures = self._captures[id(graph)] = {i._id: o for o, i in pairs}
        outer = captures.get(value.tensor_id)
        if outer is None:
            return []
        return [_Binding(partial(self._tensor, outer, 0), value.tensor.op, INSIDE)]

    # Values stored in variables and tables ------------------------------------------------------

    def _link_writers(self, value: Value, node: Node) -> None:
        if node.op in WRITERS:
            return
        for taken in node.inputs:
            if taken.dtype == tf.resource or node.op == "Identity":
                for source, event_or_op, kind in self._written(taken, node):
                    self._link(value, source, event_or_op, node.where, kind)

    def _written(self, resource: Value, node: Node) -> Iterator[tuple[Value, Any, str]]:
        """What was last written into a resource before a node read it."""
        outer, before = resource, float(node.where.order)
        last: float = (
            node.event_or_op._id if not isinstance(node.event_or_op, Event) else float("inf")
        )
        while outer.tensor is not None:
            yield from self._written_in_graph(outer.tensor, outer.site, last)
            before = self._sites[outer.site].order
            bindings = self._bindings(outer) if outer.tensor.op.type == "Placeholder" else []
            if not bindings:
                return
            call = bindings[0].event_or_op
            last = call._id if isinstance(call, tf.Operation) else float("inf")
            outer = bindings[0].value()
        events = [
            *self.recorder.writers.get(outer.tensor_id, ()),
            *self._calls.get(outer.tensor_id, ()),
        ]
        events.sort(key=lambda event: event.order)
        earlier = [e for e in events if e.order < before and not (e.origin and e.origin.optimizer)]
        for event in _since_overwrite(earlier, outer.tensor_id):
            if event.body is not None:
                yield from self._written_in_call(event, outer.tensor_id)
                continue
            kind, index = WRITERS[event.op]
            if kind == "assignment" and self._creates(event):
                kind = "new_variable"
            for i in range(len(event.inputs)):
                if i != index:
                    yield self._input(event, i), event, kind

    @functools.cached_property
    def _calls(self) -> dict[int, list[Event]]:
        """Calls of functions that write into a resource, by its id; of each function the last two.

        The last may be the one that reads.
        """
        calls: dict[int, list[Event]] = {}
        written: dict[Any, list[int]] = {}
        seen: Counter[Any] = Counter()
        for event in reversed(self.recorder.events):
            body = event.body() if event.body is not None else None
            if body is None or seen[body] == 2:
                continue
            seen[body] += 1
            if body not in written:
                written[body] = [
                    position
                    for position, given in enumerate(body.inputs)
                    if given.dtype == tf.resource
                    and any(_writes_to(op, given._id) or bodies_of(op) for op in given.consumers())
                ]
            for position in written[body]:
                calls.setdefault(event.inputs[position], []).append(event)
        return calls

    def _written_in_call(self, event: Event, number: int) -> Iterator[tuple[Value, Any, str]]:
        """What a function that was called eagerly writes into a resource that it was given."""
        body = event.body() if event.body is not None else None
        if body is None or not self._may_inline():
            return
        site = self._inline_call(event, body)
        for placeholder, given in zip(body.inputs, event.inputs, strict=False):
            if given == number:
                yield from self._written_in_graph(placeholder, site, float("inf"))

    def _written_in_graph(
        self, resource: Any, site: int, last: float
    ) -> Iterator[tuple[Value, Any, str]]:
        """What ops of a graph write into a resource before the op with the number `last`."""
        followers = self._followers.get(resource._id)
        if followers is None:
            followers = [op for op in resource.consumers() if op.type in WRITERS or bodies_of(op)]
            self._followers[resource._id] = followers
        earlier = [op for op in followers if op._id < last]
        writers = [op for op in earlier if _writes_to(op, resource._id)]
        for op in _since_overwrite(writers, resource._id):
            kind, index = WRITERS[op.type]
            for i, tensor in enumerate(op.inputs):
                if i != index:
                    yield self._tensor(tensor, site), op, kind
        for op in earlier:
            bodies = bodies_of(op)
            if not bodies or None in bodies or not self._may_inline():
                continue
            first = op.type in BRANCHES and op.inputs[0].op.type == "VarIsInitializedOp"
            for body, its_site in zip(bodies, self._inline(op, site, bodies), strict=True):
                for placeholder, tensor in zip(body.inputs, _body_inputs(op), strict=False):
                    if tensor._id == resource._id:
                        inside = self._written_in_graph(placeholder, its_site, float("inf"))
                        for source, event_or_op, kind in inside:
                            yield source, event_or_op, "new_variable" if first else kind

    def _creates(self, assignment: Event) -> bool:
        """Whether an assignment gives a variable its first value."""
        handle = self.recorder.producers.get(assignment.inputs[0])
        return (
            handle is not None
            and assignment is next(iter(self.recorder.writers[assignment.inputs[0]]))
            and assignment.order - handle.order <= 2
        )


def bodies_of(op: Any) -> list[Any]:
    """Graphs of the functions that an op calls, None where one is gone; of a loop, body first."""
    if op.type in CALLS:
        names = [op.get_attr("f").name]
    elif op.type in LOOPS:
        names = [op.get_attr("body").name, op.get_attr("cond").name]
    elif op.type in ("If", "StatelessIf"):
        names = [op.get_attr("then_branch").name, op.get_attr("else_branch").name]
    elif op.type in BRANCHES:
        names = [branch.name for branch in op.get_attr("branches")]
    else:
        return []
    functions = [op.graph._get_function(name) for name in names]
    return [None if function is None else function.graph for function in functions]


def _body_inputs(op: Any) -> list[Any]:
    """What an op passes to its bodies."""
    return list(op.inputs)[1:] if op.type in BRANCHES else list(op.inputs)


def _writes_to(op: Any, number: int) -> bool:
    if op.type not in WRITERS or op.inputs[WRITERS[op.type][1]]._id != number:
        return False
    origin = places.of_op(op)
    return origin is None or not origin.optimizer


def _since_overwrite(writers: list[Any], number: int) -> list[Any]:
    """The last of the writers that overwrites the resource, and those after it."""
    kept: list[Any] = []
    for writer in reversed(writers):
        kept.append(writer)
        if _overwrites(writer, number):
            break
    return kept


def _overwrites(writer: Any, number: int) -> bool:
    """Whether nothing is left of what was in a resource; writers in branches are not counted."""
    if not isinstance(writer, Event):
        return writer.type in OVERWRITE
    body = writer.body() if writer.body is not None else None
    if body is None:
        return writer.op in OVERWRITE
    return any(
        op.type in OVERWRITE
        for placeholder, given in zip(body.inputs, writer.inputs, strict=False)
        if given == number
        for op in placeholder.consumers()
    )
