"""TensorFlow's collective ops among parts of the replicas of a strategy, with keys of our own.

An op finds its counterparts on other devices by two integers: the key of the group, which no other
group of the process has, and the key of the instance, which counts the collectives of a group. The
count is a variable, so that it goes on in functions, branches and loops as in eager mode.
TensorFlow remembers every instance, in somewhat less than 1 kB, here as in its own strategies.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from fastw2v._core import tf_internals, xla
from fastw2v.distribute import unequal

# Strategies count the keys of their groups from 1.
_FIRST_KEY = 1 << 30
# The same in all processes, which make their groups in one order.
_numbers = itertools.count()

# Of so many keys in a row the first is of a collective, the others of its gradients.
_KEYS_OF_ONE = 16


def _raw_op(op: Callable[..., tf.Tensor], **attributes: str) -> Callable[..., tf.Tensor]:
    """An op as a function of its own, which is not put in line: within a loop the op would take
    part of its key from the name of the loop, which differs from one replica to another."""

    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def run(
        x: tf.Tensor, instance_key: tf.Tensor, token: tf.Tensor, static: tuple[str, str, int, int]
    ) -> tf.Tensor:
        return call(x, instance_key, token, static)

    def call(
        x: tf.Tensor, instance_key: tf.Tensor, token: tf.Tensor, static: tuple[str, str, int, int]
    ) -> tf.Tensor:
        device, hint, group_size, group_key = static
        with tf.device(_host(device)):  # where GPUs want the keys, too
            sizes = {"group_size": tf.constant(group_size), "group_key": tf.constant(group_key)}
        with tf.device(device):
            return op(
                input=x,
                instance_key=instance_key,
                ordering_token=[token],
                communication_hint=hint,
                **sizes,
                **attributes,
            )

    def eagerly_or_in_graph(*arguments: Any) -> tf.Tensor:
        with tf_internals.stop_recording():  # its gradient is that of `group`
            return (call if tf.executing_eagerly() else run)(*arguments)

    return eagerly_or_in_graph


_SUM = _raw_op(tf.raw_ops.CollectiveReduceV2, merge_op="Add", final_op="Id")
_MAX = _raw_op(tf.raw_ops.CollectiveReduceV2, merge_op="Max", final_op="Id")
_GATHER = _raw_op(tf.raw_ops.CollectiveGatherV2)
_ALL_TO_ALL = _raw_op(tf.raw_ops.CollectiveAllToAllV2)

_RawOp = Callable[..., tf.Tensor]


class Collectives:
    """The collectives of replicas that are cut into groups.

    Making one is a collective itself, of all replicas: it asks in which order TensorFlow has put
    the members of a group. That is not always the order of the replicas: tasks are sorted as text,
    10 before 2, and GPUs by how they are linked.

    Args:
        strategy: Has several replicas.
        groups: The replicas of each group; all have the same number of them.
    """

    def __init__(self, strategy: tf.distribute.Strategy, groups: Sequence[Sequence[int]]) -> None:
        self._strategy = strategy
        self._devices = list(strategy.extended.worker_devices)
        self._size = len(groups[0])
        self._hint = "nccl" if all(":GPU:" in device for device in self._devices) else "auto"
        first_key = _FIRST_KEY + strategy.num_replicas_in_sync * next(_numbers)
        self._group_keys = {
            replica: first_key + number for number, group in enumerate(groups) for replica in group
        }
        self._ranks = {replica: rank for group in groups for rank, replica in enumerate(group)}
        with tf.init_scope():
            self._replicas = strategy.experimental_local_results(
                strategy.experimental_distribute_values_from_function(_replica_id)
            )
            self._counters = [_variable(tf.int32, _host(device)) for device in self._devices]
            self._tokens = [_token(device) for device in self._devices]
            orders = self._run_together(
                _GATHER, [tf.constant([self._ranks[replica]]) for replica in self._replicas]
            )
        self._orders = [order.numpy().tolist() for order in orders]

    def replicas_here(self) -> list[tuple[int, str]]:
        """The number and the device of each replica of this process."""
        return list(zip(self._replicas, self._devices, strict=True))

    def place(self, name: str) -> int:
        """The place in `replicas_here` of the replica that is running.

        Args:
            name: What is to be called, for the message.

        Raises:
            RuntimeError: None is running.
        """
        context = tf.distribute.get_replica_context()
        if context is None or context.strategy is not self._strategy:
            raise RuntimeError(
                f"{name} is called outside of strategy.run, where none of the "
                f"{self._strategy.num_replicas_in_sync} replicas of "
                f"{type(self._strategy).__name__} runs: call it in the function that strategy.run "
                "is given"
            )
        return self._replicas.index(int(tf.get_static_value(context.replica_id_in_sync_group)))

    def member(self, name: str) -> Member:
        """The replica that is running.

        Args:
            name: What is to be called, for the message.

        Raises:
            RuntimeError: None is running, or it cannot reach the others.
        """
        place = self.place(name)
        if xla.compiles():
            raise RuntimeError(
                f"{name} is called in a function of jit_compile=True, and XLA does not compile "
                "collectives here: leave jit_compile off"
            )
        if len(self._devices) > 1 and tf_internals.is_function_of_one_replica():
            raise RuntimeError(
                f"{name} is called in a tf.function within an eager strategy.run, which runs the "
                f"{len(self._devices)} replicas of this process one after the other, so that the "
                "first would wait for ever: put the tf.function around strategy.run"
            )
        return Member(self, place, self._ranks[self._replicas[place]], self._orders[place])

    def new_key(self, place: int) -> tf.Tensor:
        """The key of the next collective of a replica of this process."""
        counter = self._counters[place].handle
        with tf.device(_host(self._devices[place])):
            tf.raw_ops.AssignAddVariableOp(resource=counter, value=_KEYS_OF_ONE)
            return tf.raw_ops.ReadVariableOp(resource=counter, dtype=tf.int32)

    def token(self, place: int) -> tf.Tensor:
        """The token of a replica of this process, in the graph that is traced."""
        return tf.convert_to_tensor(self._tokens[place].handle)

    def run_together(self, raw_op: _RawOp, x: tf.Tensor) -> tf.Tensor:
        """Runs an op for all replicas of the process, which run one after the other in eager mode,
        and would wait for each other."""
        context = tf.distribute.get_replica_context()
        return context.merge_call(functools.partial(self._run_merged, raw_op), [x])

    def runs_together(self) -> bool:
        """Whether `run_together` takes the place of `run`."""
        return len(self._devices) > 1 and tf.executing_eagerly()

    def run(
        self, raw_op: _RawOp, x: tf.Tensor, place: int, key: tf.Tensor, token: tf.Tensor
    ) -> tf.Tensor:
        """Runs an op for a replica of this process; its members stand in TensorFlow's order."""
        group_key = self._group_keys[self._replicas[place]]
        try:
            return raw_op(x, key, token, (self._devices[place], self._hint, self._size, group_key))
        except tf.errors.InvalidArgumentError as error:
            if not unequal.is_told_by(error.message):
                raise
            raise tf.errors.InvalidArgumentError(
                error.node_def, error.op, unequal.SENTENCE
            ) from error

    def _run_merged(self, raw_op: _RawOp, strategy: tf.distribute.Strategy, value: Any) -> Any:
        values = strategy.experimental_local_results(value)
        if len(values) == 1:  # all replicas came with the same tensor
            values *= len(self._devices)
        results = self._run_together(raw_op, values)
        return strategy.experimental_distribute_values_from_function(
            lambda context: results[self._replicas.index(context.replica_id_in_sync_group)]
        )

    def _run_together(self, raw_op: _RawOp, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Runs an op eagerly for each replica of the process."""

        def run(place: int) -> tf.Tensor:
            key, token = self.new_key(place), self.token(place)
            return self.run(raw_op, tensors[place], place, key, token)

        with ThreadPoolExecutor(len(tensors)) as pool:
            return list(pool.map(run, range(len(tensors))))


class Member:
    """A replica that is running, as a member of its group, for one collective.

    Args:
        collectives: Those of its groups.
        place: Its place among the replicas of the process.
        rank: Its place in the group.
        order: The ranks of the members of its group in TensorFlow's order.
    """

    def __init__(self, collectives: Collectives, place: int, rank: int, order: list[int]) -> None:
        self.rank = rank
        self._collectives = collectives
        self._place = place
        self._order = order
        self._size = len(order)
        self._is_in_order = order == sorted(order)
        self._first: Member | None = None  # of whose keys this has one, in its gradient
        self._gradients = itertools.count(1)
        self._key: Any = None  # a tensor, once it is needed
        self._token: Any = None

    def in_gradient(self) -> Member:
        """The replica, for a collective in the gradient of this one.

        In the gradients of branches and loops nothing orders what has an effect, and they find no
        other resources than those of the forward pass: their keys follow from its key.
        """
        member = Member(self._collectives, self._place, self.rank, self._order)
        first = self._first or self
        if not tf.is_symbolic_tensor(first._key) or (
            first._key.graph is tf.compat.v1.get_default_graph()
        ):
            return member
        number = next(first._gradients)
        if number == _KEYS_OF_ONE:
            raise LookupError(
                f"a collective in a branch, a loop or a function has {number} gradients that are "
                f"made outside of it, and can have {number - 1}"
            )
        member._first = first
        member._key, member._token = first._key + number, first._token
        return member

    def sum(self, x: tf.Tensor) -> tf.Tensor:
        """[...] -> [...]."""
        return _of_shape(self._run(_SUM, x, tf.shape(x)), x.shape)

    def maximum(self, x: tf.Tensor) -> tf.Tensor:
        """[...] -> [...]."""
        return _of_shape(self._run(_MAX, x, tf.shape(x)), x.shape)

    def all_gather(self, x: tf.Tensor) -> tf.Tensor:
        """[n, ...] -> [size * n, ...]."""
        if x.dtype == tf.bfloat16:  # which TensorFlow's op does not take, though it only copies
            return tf.bitcast(self.all_gather(tf.bitcast(x, tf.float16)), tf.bfloat16)
        shape = tf.shape(x)
        # One dimension more keeps the members apart, to be put in order.
        parts = self._run(_GATHER, x[tf.newaxis], tf.concat([[self._size], shape], 0))
        if not self._is_in_order:
            parts = tf.gather(parts, _inverse(self._order))
        gathered = tf.reshape(parts, tf.concat([[self._size * shape[0]], shape[1:]], 0))
        rows = None if x.shape.rank is None or x.shape[0] is None else self._size * x.shape[0]
        return _of_shape(gathered, tf.TensorShape([rows]).concatenate(x.shape[1:]))

    def all_to_all(self, x: tf.Tensor) -> tf.Tensor:
        """[size, ...] -> [size, ...]."""
        if self._is_in_order:
            parts = self._run(_ALL_TO_ALL, x, tf.shape(x))
        else:
            parts = self._run(_ALL_TO_ALL, tf.gather(x, self._order), tf.shape(x))
            parts = tf.gather(parts, _inverse(self._order))
        return _of_shape(parts, tf.TensorShape([self._size]).concatenate(x.shape[1:]))

    def reduce_scatter(self, x: tf.Tensor) -> tf.Tensor:
        """[size * n, ...] -> [n, ...]."""
        # TensorFlow has no reduce-scatter for the CPU; this sends as many bytes.
        shape = tf.shape(x)
        parts = tf.reshape(x, tf.concat([[self._size, shape[0] // self._size], shape[1:]], 0))
        total = tf.reduce_sum(self.all_to_all(parts), axis=0)
        rows = None if x.shape.rank is None or x.shape[0] is None else x.shape[0] // self._size
        return _of_shape(total, tf.TensorShape([rows]).concatenate(x.shape[1:]))

    def _run(self, raw_op: _RawOp, x: tf.Tensor, result_shape: tf.Tensor) -> tf.Tensor:
        """Runs an op, also for tensors without elements, for which TensorFlow's rings wait for
        ever: others go in their place, of one dimension more, so that members who come with
        elements still get the error."""
        if x.shape.num_elements():
            return self._run_filled(raw_op, x)
        is_empty = tf.equal(tf.size(x), 0)
        other_shape = tf.concat([[self._size], tf.ones_like(tf.shape(x))], 0)
        filled = tf.cond(is_empty, lambda: tf.zeros(other_shape, x.dtype), lambda: x)
        result = self._run_filled(raw_op, filled)
        return tf.cond(is_empty, lambda: tf.zeros(result_shape, x.dtype), lambda: result)

    def _run_filled(self, raw_op: _RawOp, x: tf.Tensor) -> tf.Tensor:
        if self._collectives.runs_together():
            return self._collectives.run_together(raw_op, x)
        if self._key is None:
            self._key = self._collectives.new_key(self._place)
            self._token = self._collectives.token(self._place)
        return self._collectives.run(raw_op, x, self._place, self._key, self._token)


def _inverse(order: list[int]) -> list[int]:
    return [order.index(rank) for rank in range(len(order))]


def _of_shape(tensor: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Sets what a graph does not know of a collective's result."""
    tensor.set_shape(shape)
    return tensor


def _replica_id(context: Any) -> int:
    return int(context.replica_id_in_sync_group)


def _host(device: str) -> str:
    """The CPU of the worker that has a device."""
    spec = tf.DeviceSpec.from_string(device).replace(device_type="CPU", device_index=0)
    return spec.to_string()


def _variable(dtype: tf.DType, device: str) -> tf.Variable:
    """A variable of one number, also within the scope of a strategy."""
    with tf.device(device):
        return tf_internals.PlainVariable(tf.zeros([], dtype), trainable=False)


@functools.cache
def _token(device: str) -> tf.Variable:
    """What all our collectives on a device take, so that a function runs them in the order of the
    program: GPUs wait for ever where two of them run collectives in different orders."""
    return _variable(tf.float32, device)
