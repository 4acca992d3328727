"""Finds the cause of a missing gradient: walks from the variable and from the loss."""

from __future__ import annotations

import contextlib
import functools
import gc
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from fastw2v.doctor import kinds, places
from fastw2v.doctor.edges import (
    BY_DTYPE,
    CUSTOM,
    PASSES,
    UNREGISTERED,
    Edges,
    has_gradients,
    is_differentiable,
)
from fastw2v.doctor.events import DEPARTURE, WRITERS, Event, TapeLog, ids_of
from fastw2v.doctor.outside import call_outside
from fastw2v.doctor.recording import Recorder, paused
from fastw2v.doctor.report import Finding, Place, Step
from fastw2v.doctor.values import INSIDE, Needed, Node, Value
from fastw2v.doctor.walks import OF_TAPE, Block, Walks

# What a path is told without.
_PLUMBING = ("", "Identity", "IdentityN", "ReadVariableOp", "Enter", "Exit", "Merge", "Switch")
_LONGEST_PATH = 100
# Looks at shapes stand beside most computations; they are the cause only if nothing else is.
_BESIDES = ("shape", "zeros_like")
_NUMPY_FUNCTIONS = ("numpy_function", "py_func", "py_func_common", "_internal_py_func")
_KERAS_WAYS_OUT = ("convert_to_numpy", "predict", "predict_on_batch")
_JACOBIANS = ("jacobian", "batch_jacobian")
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
        diagnosis = _Diagnosis(target, missing, recorder, tape)
        findings = []
        for number in range(len(missing)):
            findings += diagnosis.causes(number) or [diagnosis.undecided(number)]
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
        sources: Empty if that is not known: then an error that arose in a graph is told of the
            graph's variables.
        recorder, tape: As for `diagnose`.
    """
    message = str(error)
    origin = places.of_error(error)
    place = origin.place if origin else None
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
            origin = places.of_op(op)
            place = origin.place if origin else place
        findings = []
        if target is not None:
            diagnosis = _Diagnosis(target, flat, recorder, tape, loud=match[1])
            for number in range(len(flat)):
                findings += diagnosis.causes(number)
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


def name_of(source: Any) -> str:
    """What to call a variable or a tensor: the name in the user's program, if there is one."""
    path = getattr(source, "path", None)  # of Keras
    if isinstance(path, str) and path:
        return path
    in_program = places.name_in_program(source)
    name = (
        getattr(source, "name", None)
        if hasattr(source, "handle") or not _is_eager(source)
        else None
    )
    name = name.split(":")[0] if isinstance(name, str) else None
    if name and name != "Variable":
        return name
    if in_program:
        return in_program
    what = "variable" if hasattr(source, "handle") else "tensor"
    return f"{what} of shape {tuple(source.shape)}" if hasattr(source, "shape") else what


def _is_eager(source: Any) -> bool:
    return isinstance(source, tf.Tensor) and not tf.is_symbolic_tensor(source)


class _Diagnosis:
    """One target and what was recorded of it."""

    def __init__(
        self,
        target: Any,
        sources: list[Any],
        recorder: Recorder,
        tape: tf.GradientTape | None,
        loud: str | None = None,
    ) -> None:
        self.recorder = recorder
        self.tape = tape
        self.log: TapeLog | None = recorder.tape_log(tape) if tape is not None else None
        self.loud = loud
        flat = [target] if isinstance(target, Event) else tf.nest.flatten(target)
        tensors = [getattr(t, "handle", t) for t in flat]
        tensors = tf.nest.flatten(tensors, expand_composites=True)
        self.left = any(not isinstance(t, (tf.Tensor, Event)) for t in tensors)
        self.needed = Needed([t for t in tensors if isinstance(t, (tf.Tensor, Event))], recorder)
        self.edges = Edges(recorder)
        self.sources = sources
        self._blocks: dict[tuple[int, int], Block | None] = {}
        self._steps: dict[int, Step] = {}
        self._told: dict[Any, list[tuple[Block, Block, list[Node]]]] = {}
        starts = [self._values(source) for source in sources]
        late = {
            value: order
            for source, values in zip(sources, starts, strict=True)
            if (order := self._watched_late(source)) is not None
            for value in values
        }
        self.walks = Walks(starts, late, self.block)

    # Causes ----------------------------------------------------------------------------------

    def causes(self, number: int) -> list[Finding]:
        """Findings about a source, given by its number; none if a gradient seems to reach it."""
        source = self.sources[number]
        dtype = tf.as_dtype(source.dtype).base_dtype
        name = name_of(source)
        if not has_gradients(dtype):
            detail = f"'{name}' is of type {dtype.name}."
            return [Finding(name, "integer_variable", None, self._made_at(source), detail)]
        if not self._values(source):
            return self._absent(source, name)
        findings = self._unwatched(source, name)
        if self.connected(number) is None:
            findings += self.blocked(number, name)
        return findings

    def connected(self, number: int) -> Value | None:
        """The target from which a gradient could come to a source."""
        targets = (t for t in self.needed.targets if is_differentiable(t))
        return next((t for t in targets if self.walks.reaches(number, t)), None)

    def blocked(self, number: int, name: str) -> list[Finding]:
        """Where the ways from a source to the target are blocked."""
        findings = []
        for block, first, between in self._decisive(self.walks.blocks_of(number)):
            path = self._path([*self.walks.way(number, first.value), *between])
            path += (self._step(block.node),)
            origin = block.node.origin
            place = origin.place if origin else None
            detail = self._detail(name, block)
            findings.append(Finding(name, block.kind, block.node.type, place, detail, path))
        return findings

    def undecided(self, number: int) -> Finding:
        """What is said where no cause was found."""
        name = name_of(self.sources[number])
        target = self.connected(number)
        path = self._path(self.walks.way(number, target)) if target is not None else ()
        detail = f"Every op between '{name}' and the loss has a gradient."
        return Finding(name, "undecided", None, None, detail, path)

    def _values(self, source: Any) -> list[Value]:
        return [v for n in ids_of(source) if (v := self.needed.top(n)) is not None]

    def _detail(self, name: str, block: Block) -> str:
        node = block.node
        given = node.inputs[block.index].dtype.name
        made = ", ".join(sorted({v.dtype.name for v in node.outputs}))
        if block.kind in OF_TAPE:
            return f"{node.type}, on the way from '{name}' to the loss, ran unseen by the tape."
        if block.kind == "watched_too_late":
            return f"{node.type} used '{name}' before tape.watch."
        if block.kind in ("assignment", "new_variable", "hash_table") and node.blocks:
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

    def _path(self, nodes: list[Node]) -> tuple[Step, ...]:
        told = [node for node in nodes if node.op not in _PLUMBING]
        if len(told) > _LONGEST_PATH:
            half = _LONGEST_PATH // 2
            told = told[:half] + told[-half:]
        return tuple(self._step(node) for node in told)

    # Edges -----------------------------------------------------------------------------------

    def block(self, node: Node, index: int) -> Block | None:
        """What keeps a gradient from coming back from a node to one of its inputs."""
        key = (id(node), index)
        if key not in self._blocks:
            unseen = self._unseen(node)
            verdict = PASSES if unseen else self.edges.verdict(node, index)
            kind = unseen or (_kind(node, verdict, self.loud) if verdict != PASSES else "")
            self._blocks[key] = Block(kind, node, index, verdict) if kind else None
        return self._blocks[key]

    def _unseen(self, node: Node) -> str:
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

    def _decisive(self, blocks: list[Block]) -> list[tuple[Block, Block, list[Node]]]:
        """The blocked edges to be told, each with the first on the way to it and what is between.

        Those that alone are in the way of the gradient; if there is none, all in order.
        """
        key = tuple(map(id, blocks))
        if key not in self._told:
            told = [(block, block, []) for block in blocks]
            reached = self._reached_from_loss
            alone = [t for t in told if any(v in reached for v in t[0].node.outputs)]
            # What decides about branches and rounds stands beside what they compute.
            told = [t for t in alone if not _only_decides(t[0].node)] or alone or told
            if not alone:
                told += self.walks.beyond(blocks)
            told = [t for t in told if t[0].kind not in _BESIDES] or told
            if any(t[0].kind == "inner_gradient_outside" for t in told):
                told = [t for t in told if t[0].kind != "after_tape"]  # a consequence
            self._told[key] = list({t[0].key: t for t in reversed(told)}.values())[::-1]
        return self._told[key]

    @functools.cached_property
    def _reached_from_loss(self) -> set[Value]:
        """Values that the gradient of the loss comes to; integers on the way to them, too."""
        reached = set(self.needed.targets)
        stack = list(reached)
        while stack:
            value = stack.pop()
            for node in value.producers:
                for index, taken in enumerate(node.inputs):
                    if taken in reached:
                        continue
                    if not is_differentiable(taken) or (
                        is_differentiable(value) and self.block(node, index) is None
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
                place = self._made_at(source)
                return [Finding(name, "not_trainable", None, place, f"'{name}' is not trainable.")]
            if not self.log.automatic:
                place = self.log.origin.place if self.log.origin else None
                detail = f"This tape was not told to watch '{name}'."
                return [Finding(name, "no_automatic_watch", None, place, detail)]
            return []
        if self._is_made_of_watched(source):
            return []
        detail = f"'{name}' is a tensor, used here, and no tape.watch names it."
        return [Finding(name, "unwatched_tensor", None, self._used_at(source), detail)]

    def _used_at(self, source: Any) -> Place | None:
        """Where a source was used first while the tape recorded, told in the tape's function."""
        assert self.log is not None
        function = None
        if self.log.origin is not None:
            function = self.log.origin.file, self.log.origin.function
        for number in ids_of(source):
            value = self.needed.top(number)
            nodes = [node for node, _ in value.consumers if not self._unseen(node)] if value else []
            for node in sorted(nodes, key=lambda node: node.where.order):
                graph = not isinstance(node.what, Event)
                origin = places.of_op(node.what, function) if graph else node.origin
                if origin is not None:
                    return origin.place
        return self._made_at(source)

    def _is_made_of_watched(self, source: Any) -> bool:
        made_of = Needed([source], self.recorder)
        return any(
            value.number in self._watched and not self._unseen(value.consumers[0][0])
            for value in made_of.values.values()
            if value.consumers
        )

    def _watched_late(self, source: Any) -> int | None:
        """When the tape was told to watch a source that it does not watch by itself."""
        if self.log is None:
            return None
        if hasattr(source, "handle") and source.trainable and self.log.automatic:
            return None
        orders = [self.log.watched[n] for n in ids_of(source) if n in self.log.watched]
        return min(orders) if orders else None

    def _made_at(self, source: Any) -> Place | None:
        for number in ids_of(source):
            event = self.recorder.producers.get(number)
            if event is not None and event.origin is not None:
                return event.origin.place
        made = getattr(source, "handle", source)
        if isinstance(made, tf.Tensor) and not tf.is_symbolic_tensor(made):
            return None
        origin = places.of_op(made.op)
        return origin.place if origin else None

    # Sources that the loss does not need -----------------------------------------------------

    def _absent(self, source: Any, name: str) -> list[Finding]:
        copy = self._copy(source, name)
        if copy is not None:
            return [copy]
        ahead = self._ahead(ids_of(source))
        left = next((e for e in ahead if e.op == DEPARTURE and _is_way_out(e)), None)
        if left is not None and (self.left or self._uses_later(left)):
            return self._left(source, name, left)
        ends = [e for e in ahead if e.op != DEPARTURE]
        if ends:
            place = call_outside([e.origin for e in ends if e.origin is not None])
            if place is not None:
                detail = f"What was computed from '{name}' goes into NumPy here."
                return [Finding(name, "numpy", None, place, detail, _steps(ends))]
        if self.left:
            detail = "The loss is no tensor."
            return [Finding(name, "numpy", None, None, detail, _steps(ends))]
        into_data = next((e for e in ends if kinds.OF_OP.get(e.op) == "dataset"), None)
        if into_data is not None and into_data.origin is not None and self._takes_arguments():
            # The function that computes the loss is not called yet: what it takes is open.
            place = into_data.origin.place
            detail = f"'{name}' goes into a dataset here, and the loss takes what datasets give."
            return [Finding(name, "dataset", into_data.op, place, detail, _steps(ends))]
        if self.needed.closed or self._forgotten():
            detail = f"Not all of what led to the loss could be seen; '{name}' was not met in it."
            return [Finding(name, "undecided", None, None, detail)]
        used = [e for e in ends if e.op not in WRITERS and e.origin and not e.origin.keras]
        place = self._made_at(source)
        if used and used[-1].origin is not None:
            last = used[-1].origin.place
            detail = (
                f"The loss needs nothing of what was computed from '{name}', last by {last.text}"
            )
            return [Finding(name, "unused", None, place or last, detail, _steps(ends))]
        detail = f"'{name}' was not used while the loss was computed."
        return [Finding(name, "unused", None, place, detail)]

    def _left(self, source: Any, name: str, left: Event) -> list[Finding]:
        """What happened on the way to where a value left TensorFlow, and that it left."""
        until = _Diagnosis(left, [source], self.recorder, None)
        end = until.connected(0)
        findings = until.blocked(0, name) if end is None else []
        if findings and not is_differentiable(until.needed.targets[0]):
            return findings
        path = until._path(until.walks.way(0, end)) if end is not None else ()
        assert left.origin is not None
        place = left.origin.place
        kind = "python_function" if left.origin.api in _NUMPY_FUNCTIONS else "numpy"
        detail = f"What was computed from '{name}' leaves TensorFlow here."
        step = Step(DEPARTURE, "", place)
        return [*findings, Finding(name, kind, None, place, detail, (*path, step))]

    @functools.cached_property
    def _takers(self) -> dict[int, list[Event]]:
        """What took a tensor, apart from optimizers and gradients."""
        takers: dict[int, list[Event]] = {}
        for event in self.recorder.events:
            if not event.in_gradient and not (event.origin and event.origin.optimizer):
                for number in event.inputs:
                    takers.setdefault(number, []).append(event)
        return takers

    def _ahead(self, numbers: list[int]) -> list[Event]:
        """All that was computed from tensors, in order."""
        ahead: dict[int, Event] = {}
        stack = list(numbers)
        while stack:
            for event in self._takers.get(stack.pop(), ()):
                if event.order not in ahead:
                    ahead[event.order] = event
                    stack += event.outputs
        return [ahead[order] for order in sorted(ahead)]

    def _uses_later(self, left: Event) -> bool:
        """Whether the loss takes something from outside after a value left."""
        graphs = any(t.tensor is not None for t in self.needed.targets)
        return graphs or any(
            not value.consumers or any(n.where.order > left.order for n, _ in value.consumers)
            for value in self.needed.leaves
        )

    def _takes_arguments(self) -> bool:
        """Whether the loss is computed in a graph from arguments of the graph."""
        return any(
            value.tensor is not None and value.tensor.op.type == "Placeholder"
            for value in self.needed.leaves
        )

    def _forgotten(self) -> bool:
        if not self.recorder.forgotten or not self.recorder.events:
            return False
        kept = next((e.outputs[0] for e in self.recorder.events if e.outputs), 0)
        return any(
            v.number < kept and v.tensor is None and v.dtype != tf.resource
            for v in self.needed.leaves
        )

    def _copy(self, source: Any, name: str) -> Finding | None:
        """Whether the source was itself read from a variable that the loss needs."""
        if hasattr(source, "handle") or not isinstance(source, tf.Tensor):
            return None
        made_of = Needed([source], self.recorder)
        if any(
            self.needed.top(value.number) is not None
            for value in made_of.leaves
            if value.number != source._id and is_differentiable(value)
        ) or any(
            self.needed.top(n) is not None
            for n in (value.number for value in made_of.values.values())
            if n in self.recorder.writers
        ):
            detail = f"'{name}' was computed from what the loss uses, but the loss does not use it."
            return Finding(name, "copy_of_variable", None, self._made_at(source), detail)
        return None


def _is_of_gradient(node: Node) -> bool:
    if isinstance(node.what, Event):
        return node.what.in_gradient
    return "gradient_tape/" in node.what.name


def _kind(node: Node, verdict: str, loud: str | None) -> str:
    """The kind of cause of an op that no gradient passes."""
    if node.blocks:
        return node.blocks
    op = node.op
    if verdict == CUSTOM:
        return "custom_gradient"
    if verdict == UNREGISTERED and op == loud:
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
        follower.blocks == "comparison" or (follower.op in _PLUMBING and _only_decides(follower))
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


def _is_way_out(event: Event) -> bool:
    """Whether the user, and not a library for itself, took a value out of TensorFlow."""
    origin = event.origin
    if origin is None or origin.optimizer or origin.api in _JACOBIANS:
        return False
    return not origin.keras or origin.api in _KERAS_WAYS_OUT


def _steps(events: list[Event]) -> tuple[Step, ...]:
    return tuple(
        Step(e.op, "", e.origin.place if e.origin else None)
        for e in events[-_LONGEST_PATH:]
        if e.op not in _PLUMBING
    )
