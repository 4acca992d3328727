"""`Group`: the replicas of a strategy and their collectives."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastw2v._core.arguments import check_one_of, to_integer, to_tensor
from fastw2v.distribute.collectives import Collectives, Member

_DTYPES = (tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.int32, tf.int64)


class Group:
    """The replicas of a strategy, or groups of ``size`` consecutive ones, and their collectives.

    The methods are called in the function that ``strategy.run`` is given, by all replicas and in
    one order; there they work eagerly, in `tf.function`, `tf.cond` and `tf.while_loop`. All members
    of a group give tensors of one shape and dtype. A member that leaves a collective out lets the
    others wait; where one ends, or comes with another shape, all get an error, and no collective of
    the process runs after it.

    Gradients are those of the sum of all replicas' losses. The strategy's own collectives and
    those of other groups may be used beside these.

    Under a strategy of one replica every collective returns what it is given, in and outside of
    ``strategy.run``.

    Args:
        strategy: A `tf.distribute.MirroredStrategy`, a
            `tf.distribute.MultiWorkerMirroredStrategy`, or one that has a single replica; None: the
            one whose scope this is.
        size: Replicas of a group, a divisor of the replicas of the strategy; None: all of them. Of
            8 replicas on two hosts, ``size=4`` makes a group of each host, and its ``across``
            groups of two replicas, one on each host.

    Making a group is a collective, too: all processes make their groups in one order, outside of
    ``strategy.run``.

    Raises:
        ValueError: ``strategy`` is another one, or ``size`` does not divide its replicas.
        RuntimeError: A group is made, or a method called, where replicas do not run, or run but
            cannot reach each other; the message says what to do.

    Example:
        >>> import tensorflow as tf
        >>> import fastw2v
        >>> group = fastw2v.distribute.Group()  # of the default strategy, which has one replica
        >>> group.all_reduce(tf.constant([1.0, 2.0])).numpy().tolist()
        [1.0, 2.0]
        >>> group.size, group.rank
        (1, 0)
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, size: int | None = None
    ) -> None:
        strategy = tf.distribute.get_strategy() if strategy is None else strategy
        replicas = _number_of_replicas(strategy)
        if size is None:
            size = replicas
        else:
            size = to_integer("size", size, 1, replicas)
        if replicas % size:
            raise ValueError(
                f"size = {size} does not divide the {replicas} replicas of "
                f"{type(strategy).__name__}: give one of "
                + ", ".join(str(each) for each in range(1, replicas + 1) if replicas % each == 0)
            )
        if tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context():
            raise RuntimeError(
                "a Group is made within strategy.run: make it once, before, as variables are"
            )
        groups = [list(range(first, first + size)) for first in range(0, replicas, size)]
        self._set(strategy, groups)
        self._across = object.__new__(Group)
        self._across._set(strategy, [list(members) for members in zip(*groups, strict=True)])
        self._across._across = self

    def _set(self, strategy: tf.distribute.Strategy, groups: list[list[int]]) -> None:
        self._strategy = strategy
        self._groups = groups
        self._collectives = Collectives(strategy, groups) if len(groups[0]) > 1 else None

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """The strategy whose replicas these are."""
        return self._strategy

    @property
    def num_replicas(self) -> int:
        """The replicas of the strategy."""
        return len(self._groups) * self.size

    @property
    def size(self) -> int:
        """The replicas of a group."""
        return len(self._groups[0])

    @property
    def rank(self) -> int:
        """The place of the replica that is running in its group, in [0, size).

        Raises:
            RuntimeError: No replica is running.
        """
        if self._collectives is None:
            return 0
        return self._collectives.member("rank").rank

    def members_here(self) -> list[tuple[int, str]]:
        """The rank in its group and the device of each replica of this process."""
        met = self._any_collectives()
        if met is None:
            return [(0, "")]
        ranks = {replica: rank for group in self._groups for rank, replica in enumerate(group)}
        return [(ranks[replica], device) for replica, device in met.replicas_here()]

    def place_here(self, name: str) -> int:
        """The place in `members_here` of the replica that is running.

        Args:
            name: What is asked for, for the message.

        Raises:
            RuntimeError: No replica is running.
        """
        met = self._any_collectives()
        return 0 if met is None else met.place(name)

    def _any_collectives(self) -> Collectives | None:
        """None where the strategy has one replica."""
        return self._collectives or self._across._collectives

    @property
    def across(self) -> Group:
        """The groups that have one replica of each of these groups, that of the same rank: where
        these have a table in shards, the replicas that hold the same shard."""
        return self._across

    def __repr__(self) -> str:
        return f"<Group of {self.size} of the {self.num_replicas} replicas: {self._groups}>"

    def all_reduce(self, x: Any, op: str = "sum") -> tf.Tensor:
        """The sum or maximum over the members of a group, the same bits for each.

        Args:
            x: [...], floats, int32 or int64.
            op: "sum" or "max", through which no gradient passes.

        Returns:
            [...].

        Raises:
            ValueError: ``x`` is no such tensor, or ``op`` another.
            RuntimeError: As for the class.
        """
        check_one_of("op", op, ("sum", "max"))
        member, x = self._member("all_reduce"), _tensor(x, 0)
        if op == "sum":
            return x if member is None else _differentiable(member, Member.sum, x)
        x = tf.stop_gradient(x)
        return x if member is None else tf.stop_gradient(member.maximum(x))

    def all_gather(self, x: Any) -> tf.Tensor:
        """The tensors of the members, one after the other in the order of their ranks.

        Args:
            x: [n, ...], floats, int32 or int64; n is the same for all members.

        Returns:
            [size * n, ...].

        Raises:
            ValueError: ``x`` is no such tensor.
            RuntimeError: As for the class.
        """
        member, x = self._member("all_gather"), _tensor(x, 1)
        return x if member is None else _differentiable(member, Member.all_gather, x)

    def all_to_all(self, x: Any) -> tf.Tensor:
        """What the members have for this replica: it gives ``x[r]`` to the member of rank r.

        Args:
            x: [size, ...], floats, int32 or int64.

        Returns:
            [size, ...], where row r is from the member of rank r.

        Raises:
            ValueError: ``x`` is no such tensor.
            RuntimeError: As for the class.
        """
        member, x = self._member("all_to_all"), _tensor(x, 1)
        if not x.shape[:1].is_compatible_with([self.size]):
            raise ValueError(
                f"x has shape {x.shape}, expected [{self.size}, ...], a row for each member of the "
                "group"
            )
        return x if member is None else _differentiable(member, Member.all_to_all, x)

    def reduce_scatter(self, x: Any) -> tf.Tensor:
        """This replica's part of the sum over the members: part r is that of rank r.

        Args:
            x: [size * n, ...], floats, int32 or int64.

        Returns:
            [n, ...].

        Raises:
            ValueError: ``x`` is no such tensor.
            RuntimeError: As for the class.
        """
        member, x = self._member("reduce_scatter"), _tensor(x, 1)
        if x.shape[0] is not None and x.shape[0] % self.size:
            raise ValueError(
                f"x has shape {x.shape}, expected [{self.size} * n, ...], n rows for each member "
                "of the group"
            )
        return x if member is None else _differentiable(member, Member.reduce_scatter, x)

    def _member(self, method: str) -> Member | None:
        """The replica that is running, None where it is alone in its group."""
        return None if self._collectives is None else self._collectives.member(method)


def _tensor(x: Any, lowest_rank: int) -> tf.Tensor:
    """``x`` as a tensor that can be sent."""
    if isinstance(x, (tf.IndexedSlices, tf.RaggedTensor, tf.SparseTensor)):
        raise ValueError(f"x is a {type(x).__name__}, expected a dense tensor: send its parts")
    x = to_tensor("x", x)
    if x.dtype not in _DTYPES:
        allowed = ", ".join(dtype.name for dtype in _DTYPES)
        raise ValueError(f"x has dtype {x.dtype.name}, expected one of {allowed}")
    if x.shape.rank is not None and x.shape.rank < lowest_rank:
        raise ValueError(f"x has shape {x.shape}, expected [n, ...]")
    return x


def _number_of_replicas(strategy: Any) -> int:
    known = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    others = (
        tf.distribute.ParameterServerStrategy,
        tf.distribute.TPUStrategy,
        tf.distribute.experimental.CentralStorageStrategy,
    )
    if isinstance(strategy, tf.distribute.Strategy) and not isinstance(strategy, others):
        replicas = int(strategy.num_replicas_in_sync)
        if isinstance(strategy, known) or replicas == 1:
            return replicas
    raise ValueError(
        f"strategy = {reprlib.repr(strategy)} is not a tf.distribute.MirroredStrategy, a "
        "tf.distribute.MultiWorkerMirroredStrategy or a strategy of one replica"
    )


# What the gradient of each is, for the sum of all replicas' losses.
_GRADIENTS: dict[Callable[..., tf.Tensor], Callable[..., tf.Tensor]] = {
    Member.sum: Member.sum,
    Member.all_gather: Member.reduce_scatter,
    Member.reduce_scatter: Member.all_gather,
    Member.all_to_all: Member.all_to_all,
}


def _differentiable(
    member: Member, collective: Callable[[Member, tf.Tensor], tf.Tensor], x: tf.Tensor
) -> tf.Tensor:
    """The result of a collective, whose gradient is one, too, and has a gradient."""

    @tf.custom_gradient
    def run(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[Any], tf.Tensor]]:
        def gradient(d: Any) -> tf.Tensor:
            d = tf.convert_to_tensor(d)  # else the slices of a lookup
            return _differentiable(member.in_gradient(), _GRADIENTS[collective], d)

        return collective(member, x), gradient

    return run(x)
