"""Metrics of rankings: how high the items that are wanted stand among those that a model proposes.

The rankings are the classes of `fastw2v.top_k`, or of the layer `TopK`, which look at a whole
catalog without storing its scores.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fastw2v._core.arguments import to_floats, to_ids, to_integer, wrong_shape
from fastw2v.keras.base import PACKAGE


class _RankingMetric(keras.metrics.Metric):
    """The mean over all examples of all batches.

    Subclasses say in `_of_examples` what it is the mean of.
    """

    def __init__(self, k: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        self.k = None if k is None else to_integer("k", k, 1)
        if name is None:
            name = self._short_name if k is None else f"{self._short_name}_at_{k}"
        super().__init__(name=name, **kwargs)
        # A sum in float32 would not change any more after 2**24 examples.
        self._total = self.add_variable((), "zeros", "float64", name="total")
        self._weight = self.add_variable((), "zeros", "float64", name="weight")

    _short_name: str

    def _of_examples(self, hits: tf.Tensor, num_relevant: tf.Tensor) -> tf.Tensor:
        """Of each example, [batch].

        Args:
            hits: Whether what stands at a rank is relevant, 0.0 or 1.0, [batch, k].
            num_relevant: How many relevant items an example has, [batch], at least 1.
        """
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts the examples of a batch.

        Args:
            y_true: The relevant items, integers [batch], or [batch, n] in which a negative one is
                padding. An example without any does not count.
            y_pred: The items that are proposed, integers [batch, m], the best first.
            sample_weight: What an example counts, [batch] or a scalar; 0: it does not.

        Raises:
            ValueError: A dtype or shape is another.
        """
        relevant, ranked = to_ids("y_true", y_true), to_ids("y_pred", y_pred)
        if ranked.shape.rank != 2:
            raise wrong_shape("y_pred", ranked.shape, "[batch, m], of each example the best items")
        if relevant.shape.rank not in (1, 2) or not relevant.shape[:1].is_compatible_with(
            ranked.shape[:1]
        ):
            raise wrong_shape(
                "y_true", relevant.shape, f"[{ranked.shape[0]}] or with one axis more"
            )
        if self.k is not None and ranked.shape[1] is not None and ranked.shape[1] < self.k:
            raise wrong_shape("y_pred", ranked.shape, f"[batch, m] with m of at least k = {self.k}")
        if relevant.shape.rank == 1:
            relevant = relevant[:, tf.newaxis]
        ranked = ranked[:, : self.k]
        equal = relevant[:, :, tf.newaxis] == ranked[:, tf.newaxis, :]
        is_item = relevant >= 0
        hits = tf.reduce_any(equal & is_item[:, :, tf.newaxis], axis=1)
        counts = tf.reduce_sum(tf.cast(_distinct(relevant) & is_item, tf.float64), axis=1)
        weight = tf.cast(counts > 0, tf.float64)
        if sample_weight is not None:
            sample_weight = to_floats("sample_weight", sample_weight, tf.float64)
            if not sample_weight.shape.rank == 0 and not sample_weight.shape.is_compatible_with(
                weight.shape
            ):
                raise wrong_shape("sample_weight", sample_weight.shape, f"[] or {weight.shape}")
            weight *= sample_weight
        values = self._of_examples(tf.cast(hits, tf.float64), tf.maximum(counts, 1))
        self._total.assign(self._total + tf.reduce_sum(weight * values))
        self._weight.assign(self._weight + tf.reduce_sum(weight))

    def result(self) -> tf.Tensor:
        """The mean, 0 where no example counts."""
        mean = tf.math.divide_no_nan(
            tf.convert_to_tensor(self._total), tf.convert_to_tensor(self._weight)
        )
        return tf.cast(mean, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k}


def _distinct(ids: tf.Tensor) -> tf.Tensor:
    """Whether an id, [batch, n], has not stood before it in its row."""
    earlier = tf.linalg.band_part(tf.ones([tf.shape(ids)[1]] * 2), -1, 0) > 0
    earlier &= ~tf.eye(tf.shape(ids)[1], dtype=tf.bool)
    return ~tf.reduce_any((ids[:, :, tf.newaxis] == ids[:, tf.newaxis, :]) & earlier, axis=2)


def _ranks(hits: tf.Tensor) -> tf.Tensor:
    """From 1, [k]."""
    return tf.cast(tf.range(1, tf.shape(hits)[1] + 1), tf.float64)


@keras.saving.register_keras_serializable(PACKAGE)
class RecallAtK(_RankingMetric):
    """Which share of the relevant items stand among the first k that are proposed.

    With one relevant item for an example, how often it is among them: what
    ``tfrs.metrics.FactorizedTopK`` calls top-k accuracy.

    Args:
        k: How many of the items count, at least 1; None: all that are given.
        name: By default ``"recall"``, with ``k=5`` it is ``"recall_at_5"``.
        **kwargs: Of ``keras.metrics.Metric``: ``dtype``.

    Example:
        >>> import fastw2v
        >>> metric = fastw2v.keras.RecallAtK(2)
        >>> metric.update_state([7, 8], [[7, 1, 8], [1, 2, 8]])
        >>> float(metric.result())
        0.5
    """

    _short_name = "recall"

    def _of_examples(self, hits: tf.Tensor, num_relevant: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(hits, axis=1) / num_relevant


@keras.saving.register_keras_serializable(PACKAGE)
class MeanReciprocalRank(_RankingMetric):
    """The mean of 1 / rank of the first item that is relevant; 0 where none of the first k is.

    Args:
        k: How many of the items count, at least 1; None: all that are given.
        name: By default ``"mrr"``, with ``k=5`` it is ``"mrr_at_5"``.
        **kwargs: Of ``keras.metrics.Metric``: ``dtype``.

    Example:
        >>> import fastw2v
        >>> metric = fastw2v.keras.MeanReciprocalRank()
        >>> metric.update_state([7, 8], [[7, 1, 8], [1, 8, 2]])
        >>> float(metric.result())
        0.75
    """

    _short_name = "mrr"

    def _of_examples(self, hits: tf.Tensor, num_relevant: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(hits / _ranks(hits), axis=1)


@keras.saving.register_keras_serializable(PACKAGE)
class NDCG(_RankingMetric):
    """Normalized discounted cumulative gain of items that are relevant or not.

    The gain of a relevant item at a rank is ``1 / log2(rank + 1)``; the sum over the first k ranks
    is divided by the largest that is possible (Järvelin and Kekäläinen 2002, "Cumulated Gain-Based
    Evaluation of IR Techniques").

    Args:
        k: How many of the items count, at least 1; None: all that are given.
        name: By default ``"ndcg"``, with ``k=5`` it is ``"ndcg_at_5"``.
        **kwargs: Of ``keras.metrics.Metric``: ``dtype``.

    Example:
        >>> import fastw2v
        >>> metric = fastw2v.keras.NDCG(3)
        >>> metric.update_state([7, 8], [[7, 1, 2], [1, 2, 8]])
        >>> float(metric.result())
        0.75
    """

    _short_name = "ndcg"

    def _of_examples(self, hits: tf.Tensor, num_relevant: tf.Tensor) -> tf.Tensor:
        ranks = _ranks(hits)
        gains = math.log(2) / tf.math.log(ranks + 1)
        possible = tf.where(ranks <= num_relevant[:, tf.newaxis], gains, tf.zeros_like(gains))
        return tf.reduce_sum(hits * gains, axis=1) / tf.reduce_sum(possible, axis=1)
