"""How far gradients could come: walks from all sources at once towards the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastw2v.doctor.edges import CUSTOM, PASSES, is_differentiable
from fastw2v.doctor.values import INSIDE, Node, Value

# Causes that lie in when something ran.
OF_TAPE = ("before_tape", "after_tape", "stop_recording", "inner_gradient_outside")


@dataclass(frozen=True, slots=True)
class Block:
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
        """The same for blocks that are told once."""
        if self.kind in (*OF_TAPE, "dataset"):
            return self.kind  # those that follow are consequences
        origin = self.node.origin
        return self.kind, origin[:3] if origin else id(self.node)


class Walks:
    """The values that differentiable ops lead to from each source.

    Args:
        starts: For each source the values that stand for it.
        late: For values that the tape was told to watch: when.
        block: Says what blocks an edge, None if nothing does.
    """

    def __init__(
        self,
        starts: list[list[Value]],
        late: dict[Value, int],
        block: Callable[[Node, int], Block | None],
    ) -> None:
        self._starts = starts
        self._late = late
        self._block = block
        self._followers: dict[Value, list[tuple[Node, Value]]] = {}
        self._sources: dict[Value, int] = {}  # a bit for each source
        self._ways: dict[Value, dict[Value, tuple[Node, Value]]] = {}
        self.blocks: list[Block] = []
        order = self._explore()
        self.blocks.sort(key=lambda found: (found.node.number, found.index))
        self._spread(order)

    def reaches(self, source: int, value: Value) -> bool:
        """Whether a gradient could come from a value to a source, given by its number."""
        return bool(self._sources.get(value, 0) >> source & 1)

    def blocks_of(self, source: int) -> list[Block]:
        """Where the ways from a source end, in the order in which the ops ran."""
        return [
            found
            for found in self.blocks
            if self.reaches(source, found.value)
            # A custom gradient takes its own results as inputs, too, and never answers for them.
            and not (
                found.verdict == CUSTOM
                and any(self.reaches(source, value) for value in found.node.outputs)
            )
        ]

    def way(self, source: int, value: Value) -> list[Node]:
        """The nodes from a source up to what made a value."""
        ahead = self._ways.get(value)
        if ahead is None:
            ahead = self._ways[value] = self._back_from(value)
        at = next((v for v in self._starts[source] if v is value or v in ahead), value)
        nodes = []
        while at is not value:
            node, at = ahead[at]
            nodes.append(node)
        return nodes

    def beyond(self, blocks: list[Block]) -> list[tuple[Block, Block, list[Node]]]:
        """Blocked edges behind blocked edges: each with the first on the way, and the way."""
        found: list[tuple[Block, Block, list[Node]]] = []
        come: dict[Value, tuple[Value | None, Node, Block]] = {}
        stack = []
        for first in blocks:
            for value in first.node.outputs:
                if value not in self._sources and value not in come:
                    come[value] = (None, first.node, first)
                    stack.append(value)
        known = {id(first.node) for first in self.blocks}
        while stack:
            value = stack.pop(0)
            for node, index in value.consumers:
                block = self._block(node, index)
                if block is not None and is_differentiable(value) and id(node) not in known:
                    known.add(id(node))
                    found.append((block, come[value][2], _chain(come, value)))
                for output in node.outputs:
                    if output not in self._sources and output not in come:
                        come[output] = (value, node, come[value][2])
                        stack.append(output)
        return found

    def _explore(self) -> list[Value]:
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
        late = self._late.get(value)
        for node, index in value.consumers:
            block = self._block(node, index)
            if block is None and late is not None:
                if node.where is not INSIDE and node.where.order <= late:
                    block = Block("watched_too_late", node, index, PASSES)
            if block is not None:
                self.blocks.append(block)
            else:
                followers += [(node, out) for out in node.outputs if is_differentiable(out)]
        return followers

    def _spread(self, order: list[Value]) -> None:
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

    def _back_from(self, goal: Value) -> dict[Value, tuple[Node, Value]]:
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
                    passed = taken in self._sources and self._block(node, index) is None
                    if passed and taken not in seen:
                        seen.add(taken)
                        ahead[taken] = (node, value)
                        stack.append(taken)
        return ahead


def _chain(come: dict[Value, tuple[Value | None, Node, Block]], value: Value) -> list[Node]:
    nodes = []
    at: Value | None = value
    while at is not None:
        at, node, _ = come[at]
        nodes.append(node)
    return nodes[::-1]
