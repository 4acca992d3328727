"""Layers for models with two towers: the softmax over the candidates of a batch, and an estimate of
how probable a candidate is there."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastw2v._core.arguments import (
    to_compute_dtype,
    to_ids,
    to_integer,
    to_number,
    to_tensor,
    wrong_shape,
)
from fastw2v._core.tables import unwrap, update_copies
from fastw2v._losses.options import MEAN_AND_LOSSES
from fastw2v.distribute import Group
from fastw2v.in_batch import in_batch_softmax_loss, to_temperature
from fastw2v.keras.base import PACKAGE, Rows
from fastw2v.keras.loss_layer import warn_of_weights_that_do_not_count
from fastw2v.optimizers import replicas

_ODD = 0x1E3779B97F4A7C15  # of no pattern: digits of the golden ratio


class _OfReplicas(Rows):
    """A layer that looks at the batches of all replicas of the strategy in whose scope it is
    made."""

    _group: Group | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # vectors stay as exact as they are

    def _find_group(self) -> None:
        self._group = replicas.make_group(tf.distribute.get_strategy())

    def _group_here(self) -> Group | None:
        """The group, if several replicas run.

        Raises:
            RuntimeError: The layer was made out of their strategy's scope.
        """
        strategy = tf.distribute.get_strategy()
        if strategy.num_replicas_in_sync == 1:
            return None
        if self._group is None or self._group.strategy is not strategy:
            raise RuntimeError(
                f"layer {self.name} runs in {strategy.num_replicas_in_sync} replicas of "
                f"{type(strategy).__name__}, but was made outside of its scope, or for a strategy "
                "without collectives: make it within strategy.scope()"
            )
        return self._group


@keras.saving.register_keras_serializable(PACKAGE)
class InBatchSoftmax(_OfReplicas):
    """Softmax over the candidates of the batch: `fastw2v.in_batch_softmax_loss` as a layer.

    Adds the mean loss to the model and returns all losses, as the loss layers do; it has no
    weights. In place of ``tfrs.tasks.Retrieval``, and of the layers of ``keras_rs`` around a loss.

    Args:
        num_hard_negatives, symmetric, compute_dtype: As in `fastw2v.in_batch_softmax_loss`.
        temperature: A number above 0, which divides the products.
        all_replicas: Whether the candidates of all replicas of the strategy in whose scope the
            layer is made compete, and not only those of the replica's own part of the batch.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``.

    Call with vectors of queries and of candidates, ``[batch, dim]`` each; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype or shape does not fit.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> users, items = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        >>> queries = fastw2v.keras.Embedding(1000, 16)(users)
        >>> candidates = fastw2v.keras.Embedding(500, 16)(items)
        >>> log_q = fastw2v.keras.StreamingLogQ(500)(items)
        >>> losses = fastw2v.keras.InBatchSoftmax(temperature=0.1)(
        ...     queries, candidates, candidate_ids=items, log_q=log_q)
        >>> model = keras.Model([users, items], losses)
        >>> model.compile("adam")
        >>> history = model.fit([tf.range(64), tf.range(64)], verbose=0)
    """

    def __init__(
        self,
        *,
        num_hard_negatives: int | None = None,
        temperature: float = 1.0,
        symmetric: bool = False,
        all_replicas: bool = False,
        compute_dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_hard_negatives is not None:
            num_hard_negatives = to_integer("num_hard_negatives", num_hard_negatives, 1)
        self.num_hard_negatives = num_hard_negatives
        self.temperature = to_temperature(temperature)
        self.symmetric = bool(symmetric)
        self.all_replicas = bool(all_replicas)
        if self.all_replicas:
            self._find_group()
        to_compute_dtype(compute_dtype, tf.float32)
        self._loss_compute_dtype = compute_dtype  # `compute_dtype` is that of the layer's policy

    def call(
        self,
        queries: Any,
        candidates: Any,
        candidate_ids: Any = None,
        log_q: Any = None,
        negatives: Any = None,
        negative_ids: Any = None,
        negative_log_q: Any = None,
        sample_weight: Any = None,
    ) -> tf.Tensor:
        """Adds the mean loss to the model.

        Args:
            queries, candidates: Vectors ``[batch, dim]``.
            candidate_ids, log_q, negatives, negative_ids, negative_log_q: As in
                `fastw2v.in_batch_softmax_loss`.
            sample_weight: Factor on the loss of each query, a scalar or ``[batch]``.

        Returns:
            The loss of each query times its weight, in nats, ``[batch]``.
        """
        warn_of_weights_that_do_not_count()
        mean, losses = in_batch_softmax_loss(
            queries,
            candidates,
            candidate_ids=candidate_ids,
            log_q=log_q,
            negatives=negatives,
            negative_ids=negative_ids,
            negative_log_q=negative_log_q,
            num_hard_negatives=self.num_hard_negatives,
            temperature=self.temperature,
            symmetric=self.symmetric,
            group=self._group_here() if self.all_replicas else None,
            sample_weight=sample_weight,
            reduction=MEAN_AND_LOSSES,
            compute_dtype=self._loss_compute_dtype,
            name=self.name,
        )
        self.add_loss(mean)
        return losses

    def compute_output_spec(self, queries: Any, candidates: Any, *_: Any, **__: Any) -> Any:
        is_double = tf.as_dtype(candidates.dtype) == tf.float64
        return keras.KerasTensor(tuple(queries.shape)[:1], "float64" if is_double else "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_hard_negatives": self.num_hard_negatives,
            "temperature": self.temperature,
            "symmetric": self.symmetric,
            "all_replicas": self.all_replicas,
            "compute_dtype": self._loss_compute_dtype,
        }


def _set_rows(table: tf.Variable, rows: tf.Tensor, values: tf.Tensor) -> None:
    """In each replica its own copy, which all set alike."""

    def update(each: tf.Variable) -> None:
        tf.raw_ops.ResourceScatterUpdate(resource=each.handle, indices=rows, updates=values)

    update_copies(table, update)


@keras.saving.register_keras_serializable(PACKAGE)
class StreamingLogQ(_OfReplicas):
    """The logarithm of how probable an item is in a batch, learned from the batches themselves.

    Of each item it keeps the step at which it last occurred, and a moving average of the number of
    steps from one occurrence to the next, whose inverse is the probability (Yi et al. 2019,
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", algorithm 2).
    The first interval is the number of steps up to the first occurrence.

    Args:
        num_buckets: Of the tables, at least 1, which take 12 bytes a bucket. Integer ids below it
            have a bucket each; others share buckets, which then seem to be more frequent.
        num_hashes: At least 1: with several tables, in which other ids share a bucket, the rarest
            estimate counts.
        learning_rate: In (0, 1), how much the last interval counts in the average. Of small ones
            the variance is small, and large ones follow changes faster.
        **kwargs: Of ``keras.layers.Layer``: ``name``.

    Call with ids ``[batch]``, integers of at least 0 or strings. The result is float32
    ``[batch]``, at most 0: ``log_q`` of `InBatchSoftmax`. Where the model is trained, the batch is
    counted first, once for each step. An item that has not occurred is taken for one that
    occurs after so many steps as there were. The state is saved with the model. In replicas of a
    strategy, the batch is that of all of them.

    Raises:
        ValueError: An argument is out of its range, or ids have another dtype.
        RuntimeError: The layer runs in replicas of a strategy out of whose scope it was made.

    Example:
        >>> import fastw2v
        >>> layer = fastw2v.keras.StreamingLogQ(100)
        >>> for step in range(20):  # 7 in each batch, 8 in every other
        ...     log_q = layer(tf.constant([7, 9 - step % 2]), training=True)
        >>> tf.exp(layer(tf.constant([7, 8]))).numpy().round(3).tolist()
        [1.0, 0.5]
    """

    def __init__(
        self,
        num_buckets: int,
        *,
        num_hashes: int = 1,
        learning_rate: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_buckets = to_integer("num_buckets", num_buckets, 1, 2**40)
        self.num_hashes = to_integer("num_hashes", num_hashes, 1, 16)
        self.learning_rate = to_number("learning_rate", learning_rate, 0.0, 1.0)
        if self.learning_rate == 0.0:
            raise ValueError(f"learning_rate = {learning_rate!r} is not in (0, 1)")
        self._find_group()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        rows = self.num_hashes * self.num_buckets

        def state(name: str, shape: tuple[int, ...], dtype: str) -> keras.Variable:
            return self.add_weight(
                shape=shape,
                initializer="zeros",
                dtype=dtype,
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=name,
            )

        self.step = state("step", (), "int64")
        self.last_step = state("last_step", (rows,), "int64")
        self.interval = state("interval", (rows,), "float32")
        self.built = True

    def call(self, ids: Any, training: bool | None = None) -> tf.Tensor:
        """The logarithms of probabilities, [batch]."""
        ids = self._numbers(ids)
        if training:
            group = self._group_here()
            self._count(self._places(ids if group is None else group.all_gather(ids)))
        places = self._places(ids)
        step, last_step, interval = self._state()
        until_now = tf.cast(tf.maximum(tf.convert_to_tensor(step), 1), tf.float32)
        steps = tf.where(tf.gather(last_step, places) == 0, until_now, tf.gather(interval, places))
        return -tf.math.log(tf.reduce_max(steps, axis=0))

    def _count(self, places: tf.Tensor) -> None:
        """Counts a batch, whose ids have these places, [num_hashes, batch]."""
        places = tf.reshape(places, [-1])
        step, last_step, interval = self._state()
        now = tf.convert_to_tensor(step) + 1
        before = tf.gather(last_step, places)
        gap = tf.cast(now - before, tf.float32)
        average = tf.gather(interval, places)
        average += self.learning_rate * (gap - average)
        average = tf.where(before == 0, gap, average)
        # A place that occurs twice gets the same number twice.
        for table, values in ((last_step, tf.fill(tf.shape(places), now)), (interval, average)):
            _set_rows(table, places, values)
        update_copies(step, lambda each: each.assign(now))

    def _state(self) -> list[tf.Variable]:
        return [unwrap(each) for each in (self.step, self.last_step, self.interval)]

    def _numbers(self, ids: Any) -> tf.Tensor:
        """Ids as integers, int64 [batch]."""
        ids = to_tensor("ids", ids)
        if ids.dtype == tf.string:
            ids = tf.strings.to_hash_bucket_fast(ids, 2**62)
        if not ids.shape.is_compatible_with([None]):
            raise wrong_shape("ids", ids.shape, "[batch]")
        return to_ids("ids", ids)

    def _places(self, ids: tf.Tensor) -> tf.Tensor:
        """Where ids stand in each table, [num_hashes, batch]."""
        tables = [ids % self.num_buckets]
        for i in range(1, self.num_hashes):
            # Multiplied by an odd number, of whose product the upper bits depend on all bits.
            mixed = ids * (_ODD + 2 * i)
            mixed = tf.bitwise.bitwise_xor(mixed, tf.bitwise.right_shift(mixed, 32)) * _ODD
            upper = tf.bitwise.bitwise_and(tf.bitwise.right_shift(mixed, 24), 2**39 - 1)
            tables.append(upper % self.num_buckets + i * self.num_buckets)
        return tf.stack(tables)

    def compute_output_spec(self, ids: Any, **_: Any) -> Any:
        return keras.KerasTensor(ids.shape, "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_buckets": self.num_buckets,
            "num_hashes": self.num_hashes,
            "learning_rate": self.learning_rate,
        }
