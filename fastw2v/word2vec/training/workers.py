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
# Workers from which on the learning rate grows no further with their number: more were not tried.
_LONGEST_STEP_FROM = 8
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

    @property
    def rate_factor(self) -> float:
        """What the learning rate is multiplied by.

        Where the changes of several workers agree a merge takes their mean, and a row moves as far
        as that of one worker does, by its share of the text: a longer step makes up for it. What
        they do not agree on is added up, and bears no step that is much longer.
        """
        return math.sqrt(min(self.number, _LONGEST_STEP_FROM))

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
        merged_blocks: float,
    ) -> None:
        """Begins a call of `train`, which all workers make.

        Args:
            tables: What is trained, by name.
            unsorted: The name of the table whose first rows are not those that change most.
            facts: What has to be the same for all workers, by the name that a message gives it.
            merged_blocks: How many blocks all workers train on between two merges, about.

        Raises:
            ConnectionError: Another worker has ended, or cannot be reached.
            ValueError: Something is not the same.
        """

    def takes(self, block: int) -> bool:
        """Whether a block of the pass is this worker's."""
        return True

    def merges_after(self, blocks: int) -> bool:
        """Whether tables are merged after so many blocks of the pass."""
        return True

    def synchronize(self, loss: float, examples: int, seconds: float, whole: bool) -> Totals:
        """Merges the tables of all workers, who all call this.

        Args:
            loss, examples, seconds: Of this worker, see `Totals`.
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

    They take the blocks of a pass in turns, and merge their tables after some blocks of each.

    Args:
        strategy: Of several workers, each with one replica. Making the first of these for a
            strategy is a collective.
    """

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        self._cluster = _cluster_of(strategy)
        self.number, self.rank = self._cluster.size, self._cluster.rank
        self._merging: Merging | None = None
        self._merged_blocks = self.number
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
        merged_blocks: float,
    ) -> None:
        self._merged_blocks = max(1, round(merged_blocks / self.number)) * self.number
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
        self._merging = Merging(self._cluster.sums, list(tables.values()), are_sorted)

    def takes(self, block: int) -> bool:
        return self.rank == block % self.number

    def merges_after(self, blocks: int) -> bool:
        return blocks % self._merged_blocks == 0

    def synchronize(self, loss: float, examples: int, seconds: float, whole: bool) -> Totals:
        assert self._merging is not None
        self._times += 1
        clock = seconds if self.rank == 0 else 0.0
        mine = np.array([loss, examples, clock, *self._requests], np.float64)
        with _loss_of_a_worker_named():
            of_all = self._merging.merge(self._times, whole, mine).tolist()
            loss, examples, seconds = of_all[:3]
            self._agreed = Requests(*(number > 0 for number in of_all[3:]))
            if any(self._agreed) and not whole:
                self._merging.merge(self._times, True, mine)
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

        def sums(rows: tf.Tensor, digits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            flat = [tf.reshape(tf.cast(each, tf.bfloat16), [-1]) for each in (rows, digits)]
            total = run(group.all_reduce, tf.concat(flat, 0))
            of_rows, of_digits = tf.split(total, [tf.size(rows), tf.size(digits)])
            return (
                tf.cast(tf.reshape(of_rows, tf.shape(rows)), tf.float32),
                tf.cast(tf.reshape(of_digits, tf.shape(digits)), tf.uint8),
            )

        signature = [tf.TensorSpec([None, None], dtype) for dtype in (tf.float32, tf.uint8)]
        self._sums = tf.function(sums, input_signature=signature, autograph=False)
        self.all_gather = tf.function(functools.partial(run, group.all_gather), **options)

    def sums(self, rows: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sums over the workers of the float32 ``rows``, which go as bfloat16, and of the
        float64 ``numbers``, which are exact.

        One collective takes both: bfloat16 has the bytes of the numbers as they are, and each
        worker has a place of its own for them, where the others add zeros.
        """
        digits = np.zeros([self.size, numbers.nbytes], np.uint8)
        digits[self.rank] = numbers.view(np.uint8)
        of_rows, of_digits = self._sums(tf.constant(rows), tf.constant(digits))
        return of_rows.numpy(), of_digits.numpy().view(np.float64).sum(axis=0)


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
