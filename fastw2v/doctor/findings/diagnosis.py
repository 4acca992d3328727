"""Which ops and which uses of the tape hold back the gradients of variables that a loss uses."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from fastw2v.doctor.findings import kinds
from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.sources import made_at, name_of
from fastw2v.doctor.observe.events import Event, TapeLog
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.program import places, syntax
from fastw2v.doctor.program.places import Place
from fastw2v.doctor.trace.computation import INSIDE, Computation, Node, Value
from fastw2v.doctor.trace.gradient_flow import OF_TAPE, BlockedEdge, GradientFlow
from fastw2v.doctor.trace.op_gradients import (
    BY_DTYPE,
    CUSTOM,
    PASSES,
    UNREGISTERED,
    OpGradients,
    is_differentiable,
)
from fastw2v.doctor.trace.steps import Step

# Ops that paths are shown without.
HIDDEN_OPS = ("", "Identity", "IdentityN", "ReadVariableOp", "Enter", "Exit", "Merge", "Switch")
LONGEST_PATH = 100
# The shape of a tensor is used beside most computations; it is the cause only if nothing else is.
_SHAPE_KINDS = ("shape", "zeros_like")


class Diagnosis:
    """One target and what was recorded of it.

    Args:
        target: A tensor, a nested structure of them, or an event, for what it takes.
        sources: Variables and tensors; methods take their numbers, which are their positions.
        recorder: Open since before the target was computed.
        tape: The tape that gave the gradients; None for tf.gradients.
        failed_op: The type of the op for which TensorFlow missed a gradient, if it raised.
    """

    def __init__(
        self,
        target: Any,
        sources: list[Any],
        recorder: Recorder,
        tape: tf.GradientTape | None,
        failed_op: str | None = None,
    ) -> None:
        self.recorder = recorder
        self.tape = tape
        self.log: TapeLog | None = recorder.tape_log(tape) if tape is not None else None
        self.failed_op = failed_op
        flat = [target] if isinstance(target, Event) else tf.nest.flatten(target)
        tensors = [getattr(t, "handle", t) for t in flat]
        tensors = tf.nest.flatten(tensors, expand_composites=True)
        self.target_is_not_tensor = any(not isinstance(t, (tf.Tensor, Event)) for t in tensors)
        self.computation = Computation(
            [t for t in tensors if isinstance(t, (tf.Tensor, Event))], recorder
        )
        self.op_gradients = OpGradients(recorder)
        self.sources = sources
        self._blocked_edges: dict[tuple[int, int], BlockedEdge | None] = {}
        self._steps: dict[int, Step] = {}
        self._chosen: dict[Any, list[tuple[BlockedEdge, BlockedEdge, list[Node]]]] = {}
        starts = [self._values(source) for source in sources]
        watched_at = {
            value: order
            for source, values in zip(sources, starts, strict=True)
            if (order := self._watched_order(source)) is not None
            for value in values
        }
        self.flow = GradientFlow(starts, watched_at, self.blocked_edge)

    # Causes ----------------------------------------------------------------------------------

    def is_used(self, number: int) -> bool:
        """Whether the target depends on a source, given by its number, with gradient or without."""
        return bool(self._values(self.sources[number]))

    def causes(self, number: int) -> list[Finding]:
        """Findings about a source that is used; none if a gradient seems to reach it."""
        source = self.sources[number]
        name = name_of(source)
        findings = self._unwatched(source, name)
        if self.connected(number) is None:
            findings += self.blocked(number, name)
        return findings

    def connected(self, number: int) -> Value | None:
        """The target from which a gradient could come to a source."""
        targets = (t for t in self.computation.targets if is_differentiable(t))
        return next((t for t in targets if self.flow.reaches(number, t)), None)

    def blocked(self, number: int, name: str) -> list[Finding]:
        """Where the paths from a source to the target are blocked."""
        findings = []
        for block, first, between in self._decisive(self.flow.blocked_edges(number)):
            path = self.path([*self.flow.nodes_to(number, first.value), *between])
            path += (self._step(block.node),)
            place = places.place_of(block.node.origin)
            detail = self._detail(name, block)
            findings.append(Finding(name, block.kind, block.node.type, place, detail, path))
        return findings

    def undecided(self, number: int) -> Finding:
        """What is said where no cause was found."""
        name = name_of(self.sources[number])
        target = self.connected(number)
        path = self.path(self.flow.nodes_to(number, target)) if target is not None else ()
        detail = f"Every op between '{name}' and the loss has a gradient."
        return Finding(name, "undecided", None, None, detail, path)

    def _values(self, source: Any) -> list[Value]:
        return [v for n in ids_of(source) if (v := self.computation.outer_value(n)) is not None]

    def _detail(self, name: str, block: BlockedEdge) -> str:
        node = block.node
        given = node.inputs[block.index].dtype.name
        made = ", ".join(sorted({v.dtype.name for v in node.outputs}))
        if block.kind in OF_TAPE:
            return f"{node.type}, on the way from '{name}' to the loss, ran unseen by the tape."
        if block.kind == "watched_too_late":
            return f"{node.type} used '{name}' before tape.watch."
        if block.kind in ("assignment", "new_variable", "hash_table") and node.cause:
            return f"What was computed from '{name}' is stored here; the loss reads the copy."
        if block.verdict == BY_DTYPE:
            return f"{node.type} takes {given} made from '{name}' and gives {made}."
        if block.verdict == UNREGISTERED:
            return f"{node.type} takes what was made from '{name}'; no gradient is registered."
        if block.verdict == CUSTOM:
            return f"The gradient function returned None for the input made from '{name}'."
        return f"{node.type} takes what was made from '{name}' and gives no gradient back."

    def _step(self, node: Node) -> Step:
        step = self._steps.get(id(node))
        if step is None:
            step = self._steps[id(node)] = node.step
        return step

    def path(self, nodes: list[Node]) -> tuple[Step, ...]:
        chosen = [node for node in nodes if node.op not in HIDDEN_OPS]
        if len(chosen) > LONGEST_PATH:
            half = LONGEST_PATH // 2
            chosen = chosen[:half] + chosen[-half:]
        return tuple(self._step(node) for node in chosen)

    # Edges -----------------------------------------------------------------------------------

    def blocked_edge(self, node: Node, index: int) -> BlockedEdge | None:
        """What keeps a gradient from coming back from a node to one of its inputs."""
        key = (id(node), index)
        if key not in self._blocked_edges:
            unseen = self._why_unrecorded(node)
            verdict = PASSES if unseen else self.op_gradients.verdict(node, index)
            kind = unseen or (_kind(node, verdict, self.failed_op) if verdict != PASSES else "")
            self._blocked_edges[key] = BlockedEdge(kind, node, index, verdict) if kind else None
        return self._blocked_edges[key]

    def _why_unrecorded(self, node: Node) -> str:
        """Why the tape did not record a node; "" if it did."""
        where = node.where
        if self.log is None or where is INSIDE or not self.log.segments:
            return ""
        if self.log.covers(where.graph, where.order):
            return ""
        if _is_of_gradient(node):
            return "inner_gradient_outside"
        segments = [s for s in self.log.segments if s.within(where.graph)]
        if not segments or where.order <= segments[0].first:
            return "before_tape"
        return "after_tape" if where.order > segments[-1].last else "stop_recording"

    def _decisive(
        self, blocks: list[BlockedEdge]
    ) -> list[tuple[BlockedEdge, BlockedEdge, list[Node]]]:
        """The blocked edges to be reported, each with the first on its path and the nodes between.

        Those that alone hold the gradient back; if there is none, all in order.
        """
        key = tuple(map(id, blocks))
        if key not in self._chosen:
            chosen: list[tuple[BlockedEdge, BlockedEdge, list[Node]]]
            chosen = [(block, block, []) for block in blocks]
            reached = self._reached_from_loss
            alone = [t for t in chosen if any(v in reached for v in t[0].node.outputs)]
            # Conditions of branches and loops stand beside what these compute.
            chosen = [t for t in alone if not _only_decides(t[0].node)] or alone or chosen
            if not alone:
                chosen += self.flow.edges_behind(blocks)
            chosen = [t for t in chosen if t[0].kind not in _SHAPE_KINDS] or chosen
            if any(t[0].kind == "inner_gradient_outside" for t in chosen):
                chosen = [t for t in chosen if t[0].kind != "after_tape"]  # a consequence
            self._chosen[key] = list({t[0].key: t for t in reversed(chosen)}.values())[::-1]
        return self._chosen[key]

    @functools.cached_property
    def _reached_from_loss(self) -> set[Value]:
        """Values that the gradient of the loss reaches; integers on the way to them, too."""
        reached = set(self.computation.targets)
        stack = list(reached)
        while stack:
            value = stack.pop()
            for node in value.producers:
                for index, taken in enumerate(node.inputs):
                    if taken in reached:
                        continue
                    if not is_differentiable(taken) or (
                        is_differentiable(value) and self.blocked_edge(node, index) is None
                    ):
                        reached.add(taken)
                        stack.append(taken)
        return reached

    # What the tape watches -------------------------------------------------------------------

    @functools.cached_property
    def _watched(self) -> set[int]:
        assert self.log is not None and self.tape is not None
        variables = {n for v in self.tape.watched_variables() for n in ids_of(v)}
        return variables | set(self.log.watched)

    def _unwatched(self, source: Any, name: str) -> list[Finding]:
        if self.log is None or self._watched & set(ids_of(source)):
            return []
        if hasattr(source, "handle"):
            if not source.trainable:
                place = made_at(source, self.recorder)
                return [Finding(name, "not_trainable", None, place, f"'{name}' is not trainable.")]
            if not self.log.automatic:
                place = places.place_of(self.log.origin)
                detail = f"This tape does not watch '{name}'."
                return [Finding(name, "no_automatic_watch", None, place, detail)]
            return []
        if self._is_made_of_watched(source):
            return []
        replaced = self._replaced(source)
        if replaced is not None:
            detail = f"'{name}' is a tensor here, computed from the variable that had the name."
            return [Finding(name, "overwritten_variable", None, replaced, detail)]
        detail = f"'{name}' is a tensor, used here, and no tape.watch names it."
        return [Finding(name, "unwatched_tensor", None, self._used_at(source), detail)]

    def _replaced(self, source: Any) -> Place | None:
        """Where a tensor took the name of the variable that it was computed from."""
        made = [self.recorder.producers.get(number) for number in ids_of(source)]
        origin = next((event.origin for event in made if event is not None), None)
        if origin is None or syntax.reassigned_name(origin) is None:
            return None
        read = any(
            node.op == "ReadVariableOp" for node in Computation([source], self.recorder).nodes
        )
        return origin.place if read else None

    def _used_at(self, source: Any) -> Place | None:
        """Where a source was used first while the tape recorded, in the function of the tape."""
        assert self.log is not None
        function = None
        if self.log.origin is not None:
            function = self.log.origin.file, self.log.origin.function
        for number in ids_of(source):
            value = self.computation.outer_value(number)
            nodes = (
                [node for node, _ in value.consumers if not self._why_unrecorded(node)]
                if value
                else []
            )
            for node in sorted(nodes, key=lambda node: node.where.order):
                graph = not isinstance(node.event_or_op, Event)
                origin = places.of_op(node.event_or_op, function) if graph else node.origin
                if origin is not None:
                    return origin.place
        return made_at(source, self.recorder)

    def _is_made_of_watched(self, source: Any) -> bool:
        made_of = Computation([source], self.recorder)
        return any(
            value.tensor_id in self._watched and not self._why_unrecorded(value.consumers[0][0])
            for value in made_of.values.values()
            if value.consumers
        )

    def _watched_order(self, source: Any) -> int | None:
        """When tape.watch named a source that the tape does not watch by itself."""
        if self.log is None:
            return None
        if hasattr(source, "handle") and source.trainable and self.log.automatic:
            return None
        orders = [self.log.watched[n] for n in ids_of(source) if n in self.log.watched]
        return min(orders) if orders else None


def _is_of_gradient(node: Node) -> bool:
    if isinstance(node.event_or_op, Event):
        return node.event_or_op.in_gradient
    return "gradient_tape/" in node.event_or_op.name


def _kind(node: Node, verdict: str, failed_op: str | None) -> str:
    """The kind of cause of an op that no gradient passes, one of `kinds.KINDS`."""
    if node.cause:
        return node.cause
    op = node.op
    if verdict == CUSTOM:
        return "custom_gradient"
    if verdict == UNREGISTERED and op == failed_op:
        return "no_gradient_registered"
    if op == "Cast" and _feeds_one_hot(node):
        return "one_hot"
    known = kinds.OF_OP.get(op)
    if known is not None:
        return known
    if "Dataset" in op or "Iterator" in op:
        return "dataset"
    if op.startswith(("LookupTable", "HashTable")):
        return "hash_table"
    if any(v.dtype == tf.string for v in node.outputs):
        return "string"
    if any(v.dtype == tf.bool for v in node.outputs):
        return "comparison"
    if "Random" in op:
        return "random_draw"
    return "no_gradient_registered" if verdict == UNREGISTERED else "not_differentiable"


def _only_decides(node: Node) -> bool:
    """Whether the results only choose a branch or end a loop."""
    return all(
        follower.cause == "comparison" or (follower.op in HIDDEN_OPS and _only_decides(follower))
        for value in node.outputs
        for follower, _ in value.consumers
    )


def _feeds_one_hot(cast: Node) -> bool:
    origin = cast.origin
    return any(
        node.op == "OneHot" and origin is not None and (o := node.origin) and o[:2] == origin[:2]
        for value in cast.outputs
        for node, _ in value.consumers
    )
