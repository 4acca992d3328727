"""The workers that train one model: which text each takes, and what they agree on."""

from __future__ import annotations

import contextlib
import functools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fastw2v.word2vec.training.merging import Merging
from fastw2v.word2vec.training.tables import pieces

# That a worker trains on between two merges, at least: these take as long for a short text.
_FEWEST_TOKENS = 10_000
# Tokens of the text for each word of the vocabulary that the first worker trains on alone.
_FIRST_TOKENS_OF_A_WORD = 20
# What collectives fail with where a worker is gone.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


class Requests(NamedTuple):
    """What a worker wants all to do.

    Attributes:
        stop: To end training, after Ctrl-C.
        save: To write a checkpoint.
    """

    stop: bool = False
    save: bool = False


class Totals(NamedTuple):
    """What workers learn of each other when they merge their tables.

    Attributes:
        loss, examples: Sums over all workers of what each has trained on since the last time.
        seconds: The time by the clock of the first worker.
    """

    loss: float
    examples: int
    seconds: float


class Alone:
    """The only worker of a model: it takes all of the text and has nothing to merge."""

    number = 1
    rank = 0

    def block_tokens(self, most: int, tokens: int, merge_every: float) -> int:
        """How many tokens a block of text has.

        Args:
            most: At most so many.
            tokens: Of the text.
            merge_every: The share of the text that all workers train on between two merges.
        """
        return most

    def begin(
        self,
        tables: Mapping[str, tf.Variable],
        unsorted: str | None,
        facts: Mapping[str, Any],
        *,
        merged_blocks: float,
        block_tokens: int,
    ) -> None:
        """Begins a call of `train`, which all workers make.

        Args:
            tables: What is trained, by name.
            unsorted: The name of the table whose first rows are not those that change most.
            facts: What has to be the same for all workers, by the name that a message gives it.
            merged_blocks: How many blocks all workers train on between two merges, about.
            block_tokens: Of a block.

        Raises:
            ConnectionError: Another worker has ended, or cannot be reached.
            ValueError: Something is not the same.
        """

    def begin_pass(self, is_first: bool) -> None:
        """Begins a pass over the text, of all passes the first one or another."""

    def takes(self, block: int) -> bool:
        """Whether a block of the pass is this worker's."""
        return True

    def merges_after(self, blocks: int) -> bool:
        """Whether tables are merged after so many blocks of the pass."""
        return True

    def synchronize(
        self, loss: float, examples: int, seconds: float, blocks: int, whole: bool
    ) -> Totals:
        """Merges the tables of all workers, who all call this.

        Args:
            loss, examples, seconds: Of this worker, see `Totals`.
            blocks: Of the pass that are done.
            whole: Whether rare words are merged, too: then all workers have the same tables.

        Raises:
            ConnectionError: Another worker has ended, or cannot be reached.
        """
        return Totals(loss, examples, seconds)

    def agreed(self, requests: Requests) -> Requests:
        """What all workers do now. What one of several requests, the others learn when they
        synchronize the next time, and all do it after that.

        Args:
            requests: Of this worker.
        """
        return requests


class Workers(Alone):
    """One of several workers, each with tables of its own.

    They take the blocks of a pass in turns, and merge their tables after some blocks of each. The
    first blocks of all are the first worker's: at the beginning all rows move in the same
    direction, and what several workers would learn from different blocks, each learns.

    Args:
        strategy: Of several workers, each with one replica. Making the first of these for a
            strategy is a collective.
    """

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        self._cluster = _cluster_of(strategy)
        self.number, self.rank = self._cluster.size, self._cluster.rank
        self._merging: Merging | None = None
        self._merged_blocks = self.number
        self._first_blocks = 0  # that the first worker trains on
        self._is_first_pass = False
        self._times = 0  # that tables were merged
        self._requests = self._agreed = Requests()

    def __deepcopy__(self, memo: dict[int, Any]) -> Workers:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Alone, ()  # elsewhere there is no strategy

    def block_tokens(self, most: int, tokens: int, merge_every: float) -> int:
        of_each = max(math.ceil(merge_every * tokens / self.number), _FEWEST_TOKENS)
        return math.ceil(of_each / math.ceil(of_each / most))

    def begin(
        self,
        tables: Mapping[str, tf.Variable],
        unsorted: str | None,
        facts: Mapping[str, Any],
        *,
        merged_blocks: float,
        block_tokens: int,
    ) -> None:
        merged = max(1, round(merged_blocks / self.number)) * self.number
        rows = max(table.shape[0] for table in tables.values())
        self._first_blocks = (
            math.ceil(_FIRST_TOKENS_OF_A_WORD * rows / block_tokens / merged) * merged
        )
        self._merged_blocks = merged
        self._times = 0
        self._requests = self._agreed = Requests()
        sums = {name: zlib.crc32(repr(fact).encode()) for name, fact in facts.items()}
        for name, table in tables.items():
            sums[name] = 0
            for piece in pieces(table):
                sums[name] = zlib.crc32(np.ascontiguousarray(piece).data, sums[name])
        with _loss_of_a_worker_named():
            of_all = self._cluster.all_gather(tf.constant([list(sums.values())], tf.int64)).numpy()
        for place, name in enumerate(sums):
            others = np.flatnonzero(of_all[:, place] != of_all[0, place])
            if len(others):
                raise ValueError(
                    f"{name} of worker {others[0]} differs from that of worker 0: all workers are "
                    "given the same text and arguments"
                )
        are_sorted = [name != unsorted for name in tables]
        self._merging = Merging(self._cluster.all_reduce, list(tables.values()), are_sorted)

    def begin_pass(self, is_first: bool) -> None:
        self._is_first_pass = is_first

    def takes(self, block: int) -> bool:
        is_of_first = self._is_first_pass and block < self._first_blocks
        return self.rank == (0 if is_of_first else block % self.number)

    def merges_after(self, blocks: int) -> bool:
        return blocks % self._merged_blocks == 0

    def synchronize(
        self, loss: float, examples: int, seconds: float, blocks: int, whole: bool
    ) -> Totals:
        assert self._merging is not None
        requests = self._requests
        clock = seconds if self.rank == 0 else 0.0
        mine = tf.constant([loss, examples, clock, requests.stop, requests.save], tf.float64)
        with _loss_of_a_worker_named():
            loss, examples, seconds, stop, save = self._cluster.all_reduce(mine).numpy().tolist()
            self._agreed = Requests(stop > 0, save > 0)
            self._times += 1
            others_begin = self._is_first_pass and blocks == self._first_blocks
            self._merging.merge(self._times, whole or others_begin or any(self._agreed))
        return Totals(loss, int(examples), seconds)

    def agreed(self, requests: Requests) -> Requests:
        self._requests = requests
        return self._agreed


class _Cluster:
    """The workers of a strategy and their collectives, to be called outside of ``strategy.run``."""

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        from fastw2v.distribute import Group

        group = Group(strategy)
        self.size = group.size
        self.rank = group.members_here()[0][0]
        options: dict[str, Any] = {"autograph": False, "reduce_retracing": True}

        def run(collective: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
            return strategy.run(collective, args=(x,))

        self.all_reduce = tf.function(functools.partial(run, group.all_reduce), **options)
        self.all_gather = tf.function(functools.partial(run, group.all_gather), **options)


# A process has one such strategy, for all of its models.
_cluster_of = functools.lru_cache(maxsize=1)(_Cluster)


def workers_of_scope() -> Alone:
    """Those of the strategy in whose scope this is called.

    Raises:
        ValueError: A strategy has several replicas, and is not of one per worker.
    """
    strategy = tf.distribute.get_strategy()
    has_servers = isinstance(strategy, tf.distribute.ParameterServerStrategy)
    if strategy.num_replicas_in_sync == 1 and not has_servers:
        return Alone()
    kind = type(strategy).__name__
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            f"fastw2v.Word2Vec is trained by the workers of a MultiWorkerMirroredStrategy, and not "
            f"by the replicas of {kind}: make it outside of strategy.scope()"
        )
    here = len(strategy.extended.worker_devices)
    if here > 1:
        raise ValueError(
            f"each worker of {kind} has {here} replicas, and fastw2v.Word2Vec trains with one, on "
            "the CPU: hide the GPUs by tf.config.set_visible_devices([], 'GPU')"
        )
    return Workers(strategy)


@contextlib.contextmanager
def _loss_of_a_worker_named() -> Iterator[None]:
    try:
        yield
    except _LOST as error:
        raise ConnectionError(
            "another worker has ended or cannot be reached, and training with it"
        ) from error
