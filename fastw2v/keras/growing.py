"""A table whose rows are given to ids as they come."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastw2v._core import tables, tf_internals, xla
from fastw2v._core.arguments import to_ids, to_integer
from fastw2v._core.library import ops as _ops
from fastw2v.keras.base import PACKAGE
from fastw2v.keras.embedding import Lookup, map_ids
from fastw2v.optimizers.variables import GrowingVariable

# As csrc/core/id_table.h has them.
_MOST_ROWS = 2**31 - 1
_CANDIDATES = 2**20


@keras.saving.register_keras_serializable(PACKAGE)
class GrowingEmbedding(Lookup):
    """Rows of a table that grows, for ids that need not be known before.

    Ids are any 64-bit integers, or strings. In training an id gets a row of its own when it occurs;
    ids without one share row 0, the default row, which is trained like any other. Memory doubles
    when it is full, and so does what an optimizer of `fastw2v.optimizers` keeps of each row;
    nothing is traced again. Gradients are ``tf.IndexedSlices`` with unique ascending rows.

    Args:
        output_dim: Width of a row, at least 1.
        embeddings_initializer: Of new rows: ``RandomUniform`` ("uniform"), ``Constant``, "zeros" or
            "ones". A new row depends on the initializer's seed and the id alone.
        min_count: At which of its occurrences an id gets a row, at least 1. Of ids without a row
            about the last million different ones are counted.
        max_rows: The most rows that are given to ids, which bounds memory: at most, and by default,
            2**31 - 1. When there are so many, new ids share the default row.
        expire_after: An id that has not occurred for more steps than this, at least 1, may lose its
            row to a new id; when it occurs again it begins anew. None: no id loses its row. A step
            is a call of the layer in training. For each new id 16 rows are looked at, one after the
            other around the table, before the table grows or the id is left to the default row.
        mask_zero: Whether the id 0, of strings "", is padding: it never gets a row, is masked for
            the layers that follow, and left out of bags.
        combiner: None: a row for each id. "mean", "sum" or "sqrtn" (the sum divided by the root of
            the number of ids): a row for each bag, along the last axis.
        empty_bags: What a bag without an id gives: "error", or "zeros".
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with ids, a ``tf.RaggedTensor`` or a ``tf.SparseTensor`` of them; the result is as that of
    `Embedding`. ``training=True`` gives rows to ids; otherwise the table stays as it is, as it does
    where the layer is not ``trainable``. ``fit`` sets it, in a model of your own class where its
    ``call`` takes ``training``, as for ``keras.layers.Dropout``.

    Strings become integers by ``tf.strings.to_hash_bucket_fast`` with 2**63 - 1 buckets: that two
    of n strings share a row has a probability of about n**2 / 2**64, 5e-6 for ten million.

    Same calls, same rows, same bits, for any number of threads. Files, checkpoints and
    ``get_weights`` have the whole state: ids, rows and counts. The table is in the memory of the
    CPU, where its ops run. It does not work under a distribution strategy or ``jit_compile=True``,
    and is trained by the optimizers of this library alone, without ``use_ema`` and
    ``gradient_accumulation_steps``.

    Raises:
        ValueError: An argument is out of its range, ids are not integers or strings, or the layer
            is built where it does not work.
        tf.errors.InvalidArgumentError: A bag is empty.

    Example:
        >>> import fastw2v
        >>> layer = fastw2v.keras.GrowingEmbedding(16)
        >>> layer(tf.constant(["red", "green", "red"]), training=True).shape
        TensorShape([3, 16])
        >>> layer.num_ids
        2
        >>> bool(tf.reduce_all(layer(tf.constant(["blue"])) == layer.embeddings[0]))
        True
    """

    def __init__(
        self,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        *,
        min_count: int = 1,
        max_rows: int | None = None,
        expire_after: int | None = None,
        mask_zero: bool = False,
        combiner: str | None = None,
        empty_bags: str = "error",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            output_dim, mask_zero=mask_zero, combiner=combiner, empty_bags=empty_bags, **kwargs
        )
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self._low, self._high = _range(self.embeddings_initializer)
        self.min_count = to_integer("min_count", min_count, 1)
        self.max_rows = (
            None if max_rows is None else to_integer("max_rows", max_rows, 1, _MOST_ROWS)
        )
        self.expire_after = (
            None if expire_after is None else to_integer("expire_after", expire_after, 1)
        )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        if tf.distribute.has_strategy():
            strategy = type(tf.distribute.get_strategy()).__name__
            raise ValueError(
                f"the layer '{self.name}' is built under {strategy}: a table that grows is in one "
                "place. Build the layer without a strategy, or use fastw2v.keras.Embedding"
            )
        seed = getattr(self.embeddings_initializer, "seed", 0)
        seed = seed if isinstance(seed, int) else int(seed.next()[0])
        candidates = [_CANDIDATES, 2] if self.min_count > 1 else [0, 2]
        self.records = self._add("records", [1, 3])
        self.embeddings = self._add(
            "embeddings",
            [1, self.output_dim],
            self.embeddings_initializer,
            self.variable_dtype,
            trainable=self.trainable,
            records=self.records,
        )
        self.slots = self._add("slots", [2, 2])
        rows, births, steps, hand = 1, 0, 0, 0
        counters = [rows, births, steps, hand, seed]
        self.counters = self._add("counters", [5], lambda *_, **__: tf.constant(counters, tf.int64))
        self.candidates = self._add("candidates", candidates)
        self.built = True

    def _add(
        self,
        name: str,
        shape: list[int],
        initializer: Any = tf.zeros,
        dtype: str = "int64",
        **options: Any,
    ) -> GrowingVariable:
        with keras.name_scope(self.name, caller=self):
            variable = GrowingVariable(initializer, shape, dtype, name, **options)
        self._track_variable(variable)
        return variable

    @property
    def num_ids(self) -> int:
        """How many ids have a row."""
        return int(self.counters.numpy()[0]) - 1 if self.built else 0

    @property
    def ids(self) -> np.ndarray:
        """The ids that have a row, int64, in the order of rows 1, 2, ... of the table; of strings
        what they were hashed to."""
        return (
            self.records.numpy()[1 : self.num_ids + 1, 0] if self.built else np.zeros(0, np.int64)
        )

    def call(self, inputs: Any, weights: Any = None, training: Any = None) -> tf.Tensor:
        """The rows of the ids, or of the bags.

        Args:
            inputs: Ids.
            weights: With a combiner, factors of the ids, in the form of ``inputs``.
            training: Whether ids get rows.
        """
        if xla.compiles():
            raise ValueError(
                f"the layer '{self.name}' has a table that grows, which XLA does not compile: "
                "leave jit_compile off"
            )
        ids = map_ids(_integers, inputs)
        training = bool(training) and self.trainable
        return self.read(self.embeddings, ids, weights, lambda ids: self._rows(ids, training))

    def _rows(self, ids: tf.Tensor, training: bool) -> tf.Tensor:
        table = tables.unwrap(self.embeddings)
        if not tf_internals.is_resource_variable(table):  # Keras asks for shapes alone
            return tf.zeros_like(ids)
        records, slots, counters, candidates = (
            each.value.handle for each in (self.records, self.slots, self.counters, self.candidates)
        )
        if not training:
            return _ops.fastw2v_find_rows(ids, records, slots, counters)
        return _ops.fastw2v_give_rows(
            ids,
            table.handle,
            records,
            slots,
            counters,
            [candidates] if self.min_count > 1 else [],
            T=table.dtype,
            min_count=self.min_count,
            max_rows=self.max_rows or _MOST_ROWS,
            expire_after=self.expire_after or 0,
            zero_is_padding=self.mask_zero,
            low=self._low,
            high=self._high,
        )

    def compute_mask(self, inputs: Any, *_: Any) -> Any:
        """Where ids are not padding."""
        return map_ids(_integers, inputs) != 0 if self.supports_masking else None

    def check_dtype(self, dtype: tf.DType) -> None:
        _check_dtype(dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "min_count": self.min_count,
            "max_rows": self.max_rows,
            "expire_after": self.expire_after,
        }


def _range(initializer: Any) -> tuple[float, float]:
    """Of the uniform values that an initializer gives."""
    kinds = keras.initializers
    if isinstance(initializer, kinds.RandomUniform):
        return float(initializer.minval), float(initializer.maxval)
    if isinstance(initializer, (kinds.Constant, kinds.Zeros, kinds.Ones)):
        value = float(np.asarray(initializer([])))
        return value, value
    raise ValueError(
        f"embeddings_initializer = {initializer!r}, expected RandomUniform, Constant, Zeros or Ones"
        " of keras.initializers: rows are made one by one, when their ids come"
    )


def _check_dtype(dtype: tf.DType) -> None:
    if not (dtype.is_integer or dtype == tf.string):
        raise ValueError(
            f"inputs has dtype {dtype.name}, expected integers or strings: in Keras say so by "
            'keras.Input(..., dtype="int64") or dtype="string"'
        )


def _integers(ids: Any) -> tf.Tensor:
    """Ids as int64; "" is 0."""
    ids = tf.convert_to_tensor(ids)
    _check_dtype(ids.dtype)
    if ids.dtype != tf.string:
        return to_ids("inputs", ids)
    hashed = tf.strings.to_hash_bucket_fast(ids, 2**63 - 1)
    return tf.where(ids == "", tf.zeros_like(hashed), hashed)
