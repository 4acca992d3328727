"""How far gradients could flow back: from the loss to which variables, and where they stop.

The search goes forward, from all variables at once to the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastw2v.doctor.trace.computation import INSIDE, Node, Value
from fastw2v.doctor.trace.op_gradients import CUSTOM, PASSES, is_differentiable

# Causes that lie in when an op ran.
OF_TAPE = ("before_tape", "after_tape", "stop_recording", "inner_gradient_outside")


@dataclass(frozen=True, slots=True)
class BlockedEdge:
    """An edge that no gradient passes: from a node back to one of its inputs."""

    kind: str
    node: Node
    index: int
    verdict: str

    @property
    def value(self) -> Value:
        """The input that gets no gradient."""
        return self.node.inputs[self.index]

    @property
    def key(self) -> Any:
        """The same for blocked edges that are reported once."""
        if self.kind in (*OF_TAPE, "dataset"):
            return self.kind  # those that follow are consequences
        origin = self.node.origin
        return self.kind, origin[:3] if origin else id(self.node)


class GradientFlow:
    """The values that differentiable ops lead to from each source, a variable or a tensor.

    Args:
        starts: For each source the values that stand for it.
        watched_at: For values named by tape.watch: when.
        blocked_edge: Says why no gradient passes an edge; None if one does.
    """

    def __init__(
        self,
        starts: list[list[Value]],
        watched_at: dict[Value, int],
        blocked_edge: Callable[[Node, int], BlockedEdge | None],
    ) -> None:
        self._starts = starts
        self._watched_at = watched_at
        self._blocked_edge = blocked_edge
        self._followers: dict[Value, list[tuple[Node, Value]]] = {}
        self._sources: dict[Value, int] = {}  # a bit for each source
        self._onward: dict[Value, dict[Value, tuple[Node, Value]]] = {}
        self.blocked: list[BlockedEdge] = []
        order = self._find_reached()
        self.blocked.sort(key=lambda found: (found.node.number, found.index))
        self._note_sources(order)

    def reaches(self, source: int, value: Value) -> bool:
        """Whether a gradient could come from a value to a source, given by its number."""
        return bool(self._sources.get(value, 0) >> source & 1)

    def blocked_edges(self, source: int) -> list[BlockedEdge]:
        """Where the paths from a source end, in the order in which the ops ran."""
        return [
            found
            for found in self.blocked
            if self.reaches(source, found.value)
            # A custom gradient takes its own results as inputs, too, and never answers for them.
            and not (
                found.verdict == CUSTOM
                and any(self.reaches(source, value) for value in found.node.outputs)
            )
        ]

    def nodes_to(self, source: int, value: Value) -> list[Node]:
        """The nodes from a source up to what made a value."""
        ahead = self._onward.get(value)
        if ahead is None:
            ahead = self._onward[value] = self._nodes_before(value)
        at = next((v for v in self._starts[source] if v is value or v in ahead), value)
        nodes = []
        while at is not value:
            node, at = ahead[at]
            nodes.append(node)
        return nodes

    def edges_behind(
        self, blocks: list[BlockedEdge]
    ) -> list[tuple[BlockedEdge, BlockedEdge, list[Node]]]:
        """Blocked edges behind others: each with the first on its path and the nodes between."""
        found: list[tuple[BlockedEdge, BlockedEdge, list[Node]]] = []
        reached_by: dict[Value, tuple[Value | None, Node, BlockedEdge]] = {}
        stack = []
        for first in blocks:
            for value in first.node.outputs:
                if value not in self._sources and value not in reached_by:
                    reached_by[value] = (None, first.node, first)
                    stack.append(value)
        known = {id(first.node) for first in self.blocked}
        while stack:
            value = stack.pop(0)
            for node, index in value.consumers:
                block = self._blocked_edge(node, index)
                if block is not None and is_differentiable(value) and id(node) not in known:
                    known.add(id(node))
                    found.append((block, reached_by[value][2], _chain(reached_by, value)))
                for output in node.outputs:
                    if output not in self._sources and output not in reached_by:
                        reached_by[output] = (value, node, reached_by[value][2])
                        stack.append(output)
        return found

    def _find_reached(self) -> list[Value]:
        """Finds all that is reached; values before those that follow, loops aside."""
        finished: list[Value] = []
        for start in (value for values in self._starts for value in values):
            if start in self._followers:
                continue
            stack = [(start, iter(self._follow(start)))]
            while stack:
                value, followers = stack[-1]
                for _, output in followers:
                    if output not in self._followers:
                        stack.append((output, iter(self._follow(output))))
                        break
                else:
                    finished.append(value)
                    stack.pop()
        return finished[::-1]

    def _follow(self, value: Value) -> list[tuple[Node, Value]]:
        followers = self._followers[value] = []
        watched_at = self._watched_at.get(value)
        for node, index in value.consumers:
            block = self._blocked_edge(node, index)
            if block is None and watched_at is not None:
                if node.where is not INSIDE and node.where.order <= watched_at:
                    block = BlockedEdge("watched_too_late", node, index, PASSES)
            if block is not None:
                self.blocked.append(block)
            else:
                followers += [(node, out) for out in node.outputs if is_differentiable(out)]
        return followers

    def _note_sources(self, order: list[Value]) -> None:
        """Notes which sources lead to which values."""
        sources = self._sources = dict.fromkeys(order, 0)
        for number, values in enumerate(self._starts):
            for value in values:
                sources[value] |= 1 << number
        position = {value: at for at, value in enumerate(order)}
        again = True
        while again:  # more than once only where there are loops
            again = False
            for value in order:
                bits = sources[value]
                for _, output in self._followers[value]:
                    if bits & ~sources[output]:
                        sources[output] |= bits
                        again |= position[output] < position[value]

    def _nodes_before(self, goal: Value) -> dict[Value, tuple[Node, Value]]:
        """For each value that leads to the goal the next node and value on the way."""
        ahead: dict[Value, tuple[Node, Value]] = {}
        seen = {goal}
        stack = [goal]
        at = 0
        while at < len(stack):
            value = stack[at]
            at += 1
            for node in value.producers:
                for index, taken in enumerate(node.inputs):
                    passed = taken in self._sources and self._blocked_edge(node, index) is None
                    if passed and taken not in seen:
                        seen.add(taken)
                        ahead[taken] = (node, value)
                        stack.append(taken)
        return ahead


def _chain(
    reached_by: dict[Value, tuple[Value | None, Node, BlockedEdge]], value: Value
) -> list[Node]:
    nodes = []
    at: Value | None = value
    while at is not None:
        at, node, _ = reached_by[at]
        nodes.append(node)
    return nodes[::-1]
