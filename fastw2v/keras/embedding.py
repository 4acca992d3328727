"""A table of rows that ids pick."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fastw2v._core.arguments import check_ids_dtype, check_one_of, to_ids, to_integer
from fastw2v._losses.lookup import COMBINERS, EMPTY_BAGS, lookup
from fastw2v.keras.base import PACKAGE, Rows


class Lookup(Rows):
    """What layers that read rows of a table for ids have in common."""

    def __init__(
        self,
        output_dim: int,
        *,
        mask_zero: bool,
        combiner: str | None,
        empty_bags: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_dim = _positive("output_dim", output_dim)
        if combiner is not None:
            check_one_of("combiner", combiner, COMBINERS)
        check_one_of("empty_bags", empty_bags, EMPTY_BAGS)
        self.combiner = combiner
        self.empty_bags = empty_bags
        self.mask_zero = bool(mask_zero)
        self.supports_masking = self.mask_zero and combiner is None
        self.autocast = False

    def read(
        self, table: Any, ids: Any, weights: Any, rows_of: Callable[[tf.Tensor], tf.Tensor]
    ) -> tf.Tensor:
        """The rows of ids, or of bags of them, in the layer's compute dtype."""
        if weights is not None and self.combiner is None:
            raise ValueError('weights need a combiner: give the layer combiner="sum" or "mean"')
        rows = map_ids(rows_of, ids)
        if self.combiner is not None and self.mask_zero:
            rows, weights = _without_zeros(ids, rows, weights)
        found = lookup(table, rows, self.combiner, weights=weights, empty_bags=self.empty_bags)
        return tf.cast(found, self.compute_dtype)

    def compute_mask(self, inputs: Any, *_: Any) -> Any:
        """Where ids are not padding."""
        return keras.ops.not_equal(inputs, 0) if self.supports_masking else None

    def compute_output_shape(self, input_shape: Any, *_: Any) -> tuple[Any, ...]:
        kept = tuple(input_shape)
        if self.combiner is not None:
            kept = kept[: max(len(kept) - 1, 1)]
        return (*kept, self.output_dim)

    def check_dtype(self, dtype: tf.DType) -> None:
        """A ValueError where values of ``dtype`` cannot be ids."""
        raise NotImplementedError

    def compute_output_spec(self, inputs: Any, weights: Any = None, **_: Any) -> Any:
        self.check_dtype(tf.as_dtype(inputs.dtype))
        shape = self.compute_output_shape(inputs.shape)
        ragged = bool(getattr(inputs, "ragged", False))
        if self.combiner is not None:
            ragged = ragged and len(inputs.shape) > 2
        return keras.KerasTensor(shape, dtype=self.compute_dtype, ragged=ragged)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "mask_zero": self.mask_zero,
            "combiner": self.combiner,
            "empty_bags": self.empty_bags,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class Embedding(Lookup):
    """Rows of a table picked by ids, as ``keras.layers.Embedding``, or means or sums of bags.

    The rows are read in place, so that the cost of a step depends on the batch, not on the size of
    the table. The gradient is ``tf.IndexedSlices`` with unique ascending rows, repeated ids
    summed: Keras optimizers sum nothing themselves.

    Args:
        input_dim: Number of rows, at least 1.
        output_dim: Width of a row, at least 1.
        embeddings_initializer: Of the table.
        embeddings_regularizer: Of the table; makes its gradient dense.
        embeddings_constraint: On the table after an update.
        mask_zero: Whether the id 0 is padding: it is masked for the layers that follow, and left
            out of bags.
        combiner: None: a row for each id. "mean", "sum" or "sqrtn" (the sum divided by the root of
            the number of ids): a row for each bag.
        weights: The table to begin with, ``[input_dim, output_dim]``, or a list that holds it.
        empty_bags: What a bag without an id gives: "error", or "zeros".
        sharded: Whether each replica of the strategy in whose scope the layer is built has a part
            of the table, a `fastw2v.distribute.ShardedTable`: see "Keras layers" in
            the guide to distribution. The initializer sees the shape of a part. Without a strategy
            the table is whole.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with integer ids in ``[0, input_dim)`` of any shape; the result has one more axis,
    ``output_dim``, in the layer's compute dtype. With a combiner, call with bags ``[..., n]``, in
    which negative ids are padding, or with a ``tf.RaggedTensor`` or a ``tf.SparseTensor``
    ``[batch, n]`` of bags; the result is ``[..., output_dim]``. ``layer(bags, weights)`` multiplies
    each row of a bag by a weight; weights have the form of the bags, "mean" divides by their sum,
    and "sqrtn" by the root of the sum of their squares. Weights get no gradient where they are a
    constant.

    Raises:
        ValueError: An argument is out of its range, or ids are of a dtype that does not hold all
            of them exactly.
        tf.errors.InvalidArgumentError: An id is out of range, or a bag is empty.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> layer = fastw2v.keras.Embedding(1000, 16, combiner="mean")
        >>> layer(tf.constant([[3, 7, -1], [5, -1, -1]])).shape
        TensorShape([2, 16])
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        *,
        combiner: str | None = None,
        empty_bags: str = "error",
        sharded: bool = False,
        **kwargs: Any,
    ) -> None:
        for name in ("lora_rank", "lora_alpha", "quantization_config"):  # of Keras' layer
            if kwargs.pop(name, None) is not None:
                raise ValueError(
                    f"{name} is an option of keras.layers.Embedding, and not of this layer, which "
                    "has neither LoRA nor quantization: leave it off, or use that layer"
                )
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("input_length has no effect, as in Keras 3: leave it off", stacklevel=2)
        input_dim = _positive("input_dim", input_dim)
        super().__init__(
            output_dim, mask_zero=mask_zero, combiner=combiner, empty_bags=empty_bags, **kwargs
        )
        self.input_dim = input_dim
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = keras.constraints.get(embeddings_constraint)
        self._set_sharded(
            sharded,
            embeddings_regularizer=self.embeddings_regularizer,
            embeddings_constraint=self.embeddings_constraint,
        )
        if weights is not None:
            self.build()
            one = isinstance(weights, (list, tuple)) and len(weights) == 1
            self.set_weights(weights if one else [weights])

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            autocast=False,  # the rows are cast, not the table
            name="embeddings",
        )
        self.built = True

    def call(self, inputs: Any, weights: Any = None) -> tf.Tensor:
        """The rows of the ids, or of the bags.

        Args:
            inputs: Ids.
            weights: With a combiner, factors of the ids, in the form of ``inputs``.
        """
        ids = map_ids(lambda ids: to_ids("inputs", ids, self.input_dim), inputs)
        return self.read(self.embeddings, ids, weights, lambda ids: ids)

    def check_dtype(self, dtype: tf.DType) -> None:
        check_ids_dtype("inputs", dtype, self.input_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
            "embeddings_constraint": keras.constraints.serialize(self.embeddings_constraint),
            "sharded": self.sharded,
        }


def _positive(name: str, value: Any) -> int:
    try:
        return to_integer(name, value, 1)
    except ValueError as error:
        raise ValueError(f"`{name}` must be a positive integer: {error}") from None


def map_ids(function: Callable[..., Any], ids: Any) -> Any:
    """Applied to a tensor, or to the values of a ragged or sparse one."""
    if isinstance(ids, tf.RaggedTensor):
        return ids.with_flat_values(function(ids.flat_values))
    if isinstance(ids, tf.SparseTensor):
        return tf.SparseTensor(ids.indices, function(ids.values), ids.dense_shape)
    return function(ids)


def _without_zeros(ids: Any, rows: Any, weights: Any) -> tuple[Any, Any]:
    """Rows in bags in which the id 0 does not count, and their weights."""
    if isinstance(ids, tf.SparseTensor):
        kept = ids.values != 0
        rows, weights = (
            None if each is None else tf.sparse.retain(each, kept) for each in (rows, weights)
        )
    elif isinstance(ids, tf.RaggedTensor):
        kept = ids != 0
        rows, weights = (
            None if each is None else tf.ragged.boolean_mask(each, kept) for each in (rows, weights)
        )
    else:
        rows = tf.where(ids == 0, -tf.ones_like(rows), rows)
    return rows, weights
