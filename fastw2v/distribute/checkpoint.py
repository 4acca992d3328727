"""`Checkpoint`: checkpoints of objects that have sharded tables, each written as one tensor."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from fastw2v._core import tables
from fastw2v.distribute.group import Group
from fastw2v.distribute.per_replica import PerReplica, tensors_of
from fastw2v.distribute.sharded_table import ShardedTable


class Checkpoint(tf.train.Checkpoint):
    """A `tf.train.Checkpoint` of objects among which there are sharded tables.

    Every process writes the rows that it has, and the first one makes one checkpoint of them, in
    which each table is one tensor [rows, dim]: another number of replicas or processes reads it,
    and so does a process without a strategy, by `tf.train.load_checkpoint`, or by
    `tf.train.Checkpoint` into a `tf.Variable` in the place of the table. What optimizers keep of
    sharded tables is cut and written in the same way. Layers, models, optimizers and plain or
    mirrored variables are written beside them as TensorFlow does.

    All methods are those of `tf.train.Checkpoint`, and a `tf.train.CheckpointManager` takes it.
    All processes call ``write`` and ``save``, with one path, in one order, outside of
    ``strategy.run``; the path is in a directory that all of them see.

    Pending updates (``lazy=False``) are written as they are, with what is needed to apply them, so
    that training goes on, on as many replicas, as though it had never been interrupted, to the
    bit. On another number they are applied when the checkpoint has been read. Call
    ``optimizer.finalize()`` before ``write`` where another program reads the tables. Where the
    replicas are several groups, each with a copy of a table, that of the first group is written.

    Args:
        objects: By names, as for `tf.train.Checkpoint`: tables, optimizers, variables, layers,
            models. Optimizers are built before they are read.

    Raises:
        ValueError: An object cannot be saved. ``read`` and ``restore``: the checkpoint has no
            table of a name, or one of another shape or dtype; an optimizer is not built.
        tf.errors.NotFoundError: ``read`` and ``restore``: there is no checkpoint.
        RuntimeError: A method is called within ``strategy.run`` or a `tf.function`; another process
            could not write.

    Example:
        >>> import tempfile
        >>> import tensorflow as tf
        >>> import fastw2v
        >>> table = fastw2v.distribute.ShardedTable([5, 2], "ones")
        >>> checkpoint = fastw2v.distribute.Checkpoint(embeddings=table, step=tf.Variable(7))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = checkpoint.write(f"{directory}/model")
        ...     status = checkpoint.read(path)
        ...     reader = tf.train.load_checkpoint(path)
        ...     whole = reader.get_tensor("embeddings/.ATTRIBUTES/VARIABLE_VALUE")
        >>> whole.shape
        (5, 2)
    """

    def __init__(self, **objects: Any) -> None:
        if "root" in objects:
            raise ValueError("root is given, expected objects by other names")
        super().__init__(**objects)
        self._all_processes: _Processes | None = None

    # `write`, `save` and `tf.train.CheckpointManager` all call it.
    def _write(self, file_prefix: Any, options: tf.train.CheckpointOptions | None = None) -> str:
        _check_place("write")
        sharded, _ = _found(self)
        prefix = os.fspath(file_prefix)
        processes = self._processes(sharded)
        if processes is None:
            with _asked(_saved_here):
                return super()._write(prefix, options)
        options = copy.copy(options) or tf.train.CheckpointOptions()
        callbacks, options.experimental_write_callbacks = (
            options.experimental_write_callbacks or [],
            None,
        )
        directory = f"{prefix}_parts"

        def write_own() -> bool:
            tf.io.gfile.makedirs(directory)
            return self._write_part(directory, processes.here, sharded, options)

        def merge() -> bool:
            if processes.here == 0:
                parts = [f"{directory}/{part}" for part in written]
                tf.raw_ops.MergeV2Checkpoints(
                    checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False
                )
                tf.io.gfile.rmtree(directory)
            return True

        written = processes.together(write_own, prefix)
        processes.together(merge, prefix)
        for callback in callbacks:  # which TensorFlow allows to take nothing
            callback(*[prefix][: len(inspect.signature(callback).parameters)])
        return prefix

    def _write_part(
        self, directory: str, process: int, sharded: dict[str, PerReplica], options: Any
    ) -> bool:
        """Writes what this process has of a checkpoint, if there is anything."""
        part = f"{directory}/{process}"
        if process == 0:
            with _asked(_saved_here):
                super()._write(part, options)
            return True
        # Variables that differ from replica to replica need all processes when one writes them.
        with _asked(lambda each: {}):
            super()._write(f"{part}_others", options)
        slices = [
            (_values_key(name), cut, values)
            for name, each in sharded.items()
            if isinstance(each, ShardedTable)
            for cuts in _saved_here(each).values()
            for cut, values in cuts.items()
        ]
        if slices:
            names, cuts, tensors = map(list, zip(*slices, strict=True))
            with tf.device("CPU:0"):
                tf.raw_ops.SaveV2(
                    prefix=part, tensor_names=names, shape_and_slices=cuts, tensors=tensors
                )
        return bool(slices)

    def read(self, save_path: Any, options: tf.train.CheckpointOptions | None = None) -> Any:
        """As `tf.train.Checkpoint.read`; every process reads the rows that it has."""
        _check_place("read")
        if save_path is None:
            return super().read(None, options)
        sharded, optimizers = _found(self)
        path = os.fspath(save_path)
        parts = _check_saved(path, sharded, optimizers)
        with _asked(lambda each: {}):  # TensorFlow writes slices, and does not read them
            status = super().read(path, options)
        for name, each in sharded.items():
            _read_slices(path, _values_key(name), each)
        if any(count != sharded[name].group.size for name, count in parts.items()):
            # With every update those of some rows of a part are applied, so that none has too many
            # pending: other parts have other rows in turn.
            for each in sharded.values():
                if isinstance(each, ShardedTable):
                    tables.apply_pending(each, None)
        return status

    def _processes(self, sharded: dict[str, PerReplica]) -> _Processes | None:
        """Those among which the parts are; None where this one has all."""
        for each in sharded.values():
            if len(each.variables) < each.group.num_replicas:
                if self._all_processes is None:
                    self._all_processes = _Processes(each.group.strategy)
                return self._all_processes
        return None


def _check_place(method: str) -> None:
    if tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context():
        raise RuntimeError(
            f"Checkpoint.{method} is called within strategy.run: call it outside, in all processes"
        )
    if not tf.executing_eagerly():
        raise RuntimeError(f"Checkpoint.{method} is called in a tf.function: call it outside")


def _found(root: tf.train.Checkpoint) -> tuple[dict[str, PerReplica], dict[str, Any]]:
    """What is sharded among the objects that a checkpoint has, and the optimizers; each by the name
    that TensorFlow gives it there."""
    view = tf.train.TrackableView(root)
    sharded: dict[str, PerReplica] = {}
    optimizers = {}
    seen, queue = {id(root)}, deque([(root, "")])
    while queue:
        node, path = queue.popleft()
        for name, child in view.children(node).items():
            if id(child) in seen:
                continue
            seen.add(id(child))
            child_path = path + name.replace(".", "..").replace("/", ".S")
            queue.append((child, f"{child_path}/"))
            held = child.value if isinstance(child, keras.Variable) else child
            if isinstance(held, PerReplica):
                sharded[child_path] = held
            elif isinstance(child, keras.optimizers.Optimizer):
                optimizers[child_path] = child
    return sharded, optimizers


@contextlib.contextmanager
def _asked(tensors: Callable[[PerReplica], dict[str, Any]]) -> Iterator[None]:
    """Within it TensorFlow may write or read what is sharded."""
    token = tensors_of.set(tensors)
    try:
        yield
    finally:
        tensors_of.reset(token)


def _saved_here(each: PerReplica) -> dict[str, Any]:
    """What this process writes: the first copy of each part that it has. What is the same for all
    parts is asked of the first process alone."""
    copies = [number for number, _ in each.group.across.members_here()]
    first = [
        (cut, variable.read_value())
        for number, (cut, variable) in zip(copies, each.slices(), strict=True)
        if number == 0 and variable.shape[0]
    ]
    if not isinstance(each, ShardedTable):
        return {"VARIABLE_VALUE": first[0][1], "PARTS": tf.constant(each.group.size)}
    return {"VARIABLE_VALUE": dict(first)} if first else {}


def _read_slices(path: str, key: str, each: PerReplica) -> None:
    for cut, variable in each.slices():
        if variable.shape[0]:
            with tf.device("CPU:0"):
                (values,) = tf.raw_ops.RestoreV2(
                    prefix=path,
                    tensor_names=[key],
                    shape_and_slices=[cut],
                    dtypes=[variable.dtype],
                )
            variable.assign(values)


def _values_key(name: str) -> str:
    return f"{name}/.ATTRIBUTES/VARIABLE_VALUE"  # as TensorFlow has it of variables


def _parts_key(name: str) -> str:
    return f"{name}/.ATTRIBUTES/PARTS"


class _Processes:
    """The processes of a strategy, each known by the first of its replicas. Making one is a
    collective of all of them, and so is its method."""

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        group = Group(strategy)
        self.here = group.members_here()[0][0]

        @tf.function(autograph=False)
        def gather(state: tf.Tensor) -> tf.Tensor:
            states = strategy.run(lambda: group.all_gather(state))
            return strategy.experimental_local_results(states)[0]

        self._gather = gather

    def together(self, work: Callable[[], bool], prefix: str) -> list[int]:
        """Lets all processes work and waits for them.

        Returns:
            Those of which ``work`` has returned True.
        """
        failure: Exception | None = None
        done = False
        try:
            done = work()
        except Exception as error:  # the others would wait for ever
            failure = error
        state = tf.constant([[self.here, int(done), int(failure is not None)]])
        states = self._gather(state).numpy().tolist()
        if failure is not None:
            raise failure
        failed = [process for process, _, fails in states if fails]
        if failed:
            raise RuntimeError(
                f"{prefix} is not written: the process of replica {failed[0]} failed, and its own "
                "error says why"
            )
        return sorted({process for process, is_done, _ in states if is_done})


def _check_saved(
    path: str, sharded: dict[str, PerReplica], optimizers: dict[str, Any]
) -> dict[str, int]:
    """Checks what a checkpoint has of what is sharded.

    Returns:
        The parts that there were, for each that belongs to parts of a table.
    """
    if not tf.io.gfile.exists(f"{path}.index"):
        raise tf.errors.NotFoundError(
            None, None, f"save_path = {path!r} is no checkpoint: there is no file {path}.index"
        )
    for name, optimizer in optimizers.items():
        if sharded and not optimizer.built:
            raise ValueError(
                f"{name} is not built, so that it has no place for what the checkpoint has of it: "
                f"call its build(tables) before it is read from {path}"
            )
    reader = tf.train.load_checkpoint(path)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    parts = {}
    for name, each in sharded.items():
        key = _values_key(name)
        if key not in shapes:
            raise ValueError(
                f"the checkpoint {path} has no {key}, from which {name} is read: write and read "
                "the same objects by the same names"
            )
        if shapes[key] != each.saved_shape():
            raise ValueError(
                f"{name} has shape {shapes[key]} in the checkpoint {path}, expected "
                f"{each.saved_shape()}"
            )
        if dtypes[key] != each.dtype:
            raise ValueError(
                f"{name} has dtype {dtypes[key].name} in the checkpoint {path}, expected "
                f"{each.dtype.name}"
            )
        if not isinstance(each, ShardedTable):
            key = _parts_key(name)  # which a plain variable does not have
            parts[name] = int(reader.get_tensor(key)) if key in shapes else 1
    return parts
