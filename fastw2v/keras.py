"""Keras layers: an embedding whose gradient holds each row once, and loss layers over many classes.

A loss layer holds a row of weights for each class. It is called with activations and labels, adds
the mean loss to the model and returns the loss of each example, so that a model is compiled without
a loss::

    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = fastw2v.keras.Embedding(10_000, 64)(ids)
    losses = fastw2v.keras.SampledSoftmax(10_000, num_sampled=64)(hidden, labels)
    model = keras.Model([ids, labels], losses)
    model.compile("sgd")
    model.fit([centres, contexts])

Labels are an input of the model and not a target: ``keras.losses.Loss`` casts targets to float32,
which changes ids above 2**24. Predictions come from the layer's method ``top_k``.

What the layers have in common:

* **Losses** are in nats, computed and returned in float32 (float64 for weights of float64) under
  every dtype policy. The mean that is added is the sum of the weighted losses divided by the sum of
  the weights of the examples that are not ignored. An example that the mask of the activations
  leaves out has the weight 0.
* **Gradients** of tables that are met in some rows only are ``tf.IndexedSlices`` with unique,
  ascending rows. A regularizer makes them dense.
* **Saved models** load after ``import fastw2v``. Where the optimizer has ``lazy=False``, rows are
  saved up to date, and SavedModels are exported within ``with optimizer.finalized():``.
* **XLA**: with ``jit_compile="auto"`` the layers are not compiled by it, so that the fused ops run;
  with ``jit_compile=True`` they are composed from TensorFlow's, as the losses are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fastw2v import _tables, ops, samplers
from fastw2v._arguments import check_one_of, to_ids, to_integer, to_number

_PACKAGE = "fastw2v"

for _sampler in (samplers.Uniform, samplers.LogUniform, samplers.Unigram):
    keras.saving.register_keras_serializable(_PACKAGE)(_sampler)


class _Rows(keras.layers.Layer):
    """A layer with tables whose rows an optimizer with ``lazy=False`` may owe updates."""

    def add_weight(self, *args: Any, **kwargs: Any) -> keras.Variable:
        variable = super().add_weight(*args, **kwargs)
        _tables.save_up_to_date(variable)
        return variable

    def save_own_variables(self, store: Any) -> None:
        """As Keras' own, with all rows up to date."""
        self._make_up()
        super().save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """As Keras' own. Rows are owed nothing for the steps before."""
        self._make_up()
        super().load_own_variables(store)

    def _make_up(self) -> None:
        for variable in self._trainable_variables:
            _tables.prepare_rows(variable, None)


@keras.saving.register_keras_serializable(_PACKAGE)
class Embedding(_Rows):
    """Rows of a table picked by ids, as ``keras.layers.Embedding``, or means or sums of bags.

    The rows are read where they lie, so that a step costs what the batch costs, whatever the size
    of the table. The gradient is ``tf.IndexedSlices`` with unique ascending rows, repeated ids
    summed: Keras optimizers sum nothing themselves.

    Args:
        input_dim: Number of rows, at least 1.
        output_dim: Width of a row, at least 1.
        embeddings_initializer: Of the table.
        embeddings_regularizer: Of the table; makes its gradient dense.
        embeddings_constraint: On the table after an update.
        mask_zero: Whether the id 0 is padding: it is masked for the layers that follow, and left
            out of bags.
        combiner: None: a row for each id. "mean" or "sum": a row for each bag.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with integer ids in ``[0, input_dim)`` of any shape; the result has one more axis,
    ``output_dim``, in the layer's compute dtype. With a combiner, call with bags ``[batch, n]``, in
    which negative ids are padding, or with a ``tf.RaggedTensor`` of bags; the result is
    ``[batch, output_dim]``, and a bag must not be empty.

    Raises:
        ValueError: An argument is out of its range, or ids are not integers.
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
        combiner: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = to_integer("input_dim", input_dim, 1)
        self.output_dim = to_integer("output_dim", output_dim, 1)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = keras.constraints.get(embeddings_constraint)
        if combiner is not None:
            check_one_of("combiner", combiner, ("mean", "sum"))
        self.combiner = combiner
        self.mask_zero = bool(mask_zero)
        self.supports_masking = self.mask_zero and combiner is None
        self.supports_jit = False
        self.autocast = False

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            autocast=False,  # the rows are cast, not the table
            name="embeddings",
        )

    def call(self, inputs: Any) -> tf.Tensor:
        """The rows of the ids."""
        ids = _map_ids(lambda ids: to_ids("inputs", ids), inputs)
        if self.combiner is not None and self.mask_zero:
            if isinstance(ids, tf.RaggedTensor):
                ids = tf.ragged.boolean_mask(ids, ids != 0)
            else:
                ids = tf.where(ids == 0, -tf.ones_like(ids), ids)
        if self.combiner is not None:
            hidden = ops.lookup(self.embeddings, ids, self.combiner)
            return tf.cast(hidden, self.compute_dtype)
        return _map_ids(
            lambda ids: tf.cast(ops.lookup(self.embeddings, ids, None), self.compute_dtype), ids
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where ids are not padding."""
        return keras.ops.not_equal(inputs, 0) if self.supports_masking else None

    def compute_output_shape(self, input_shape: Any) -> tuple:
        batch = tuple(input_shape)[:1] if self.combiner is not None else tuple(input_shape)
        return (*batch, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
            "embeddings_constraint": keras.constraints.serialize(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
            "combiner": self.combiner,
        }


class _Head(_Rows):
    """A row of weights for each class, and a loss of activations against them.

    Subclasses say in `_loss_options` what loss it is.
    """

    _has_biases = True
    _weights_initializer = "glorot_uniform"

    def __init__(
        self,
        num_classes: int,
        *,
        use_bias: bool = True,
        weights_from: keras.layers.Layer | None = None,
        weights_initializer: Any = None,
        weights_regularizer: Any = None,
        weights_constraint: Any = None,
        logit_scale: float = 1.0,
        logit_softcap: float | None = None,
        ignore_label: int | None = None,
        product_dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = to_integer("num_classes", num_classes, 1)
        self.use_bias = bool(use_bias) and self._has_biases
        if isinstance(weights_from, dict):  # of a config
            weights_from = keras.saving.deserialize_keras_object(weights_from)
        if weights_from is not None and not isinstance(weights_from, keras.layers.Layer):
            raise ValueError(
                f"weights_from = {weights_from!r} is not a layer: give an Embedding or another "
                "loss layer, or None for weights of its own"
            )
        self.weights_from = weights_from
        if weights_initializer is None:
            weights_initializer = self._weights_initializer
        self.weights_initializer = keras.initializers.get(weights_initializer)
        self.weights_regularizer = keras.regularizers.get(weights_regularizer)
        self.weights_constraint = keras.constraints.get(weights_constraint)
        self.logit_scale = to_number("logit_scale", logit_scale, -math.inf, math.inf)
        if logit_softcap is not None:
            logit_softcap = to_number("logit_softcap", logit_softcap, 0.0, math.inf)
        self.logit_softcap = logit_softcap
        if ignore_label is not None:
            ignore_label = to_integer("ignore_label", ignore_label, -(2**63))
        self.ignore_label = ignore_label
        self.product_dtype = product_dtype
        self.supports_masking = True
        self.supports_jit = False
        self.autocast = False  # activations and weights stay as exact as they are

    def build(self, input_shape: Any) -> None:
        dim = tuple(input_shape)[-1]
        if self.weights_from is None:
            if dim is None:
                raise ValueError(
                    f"inputs has shape {tuple(input_shape)}, expected [..., dim] with a static dim"
                )
            self._own_weights = self.add_weight(
                shape=(self.num_classes, dim),
                initializer=self.weights_initializer,
                regularizer=self.weights_regularizer,
                constraint=self.weights_constraint,
                autocast=False,
                name="class_weights",
            )
        else:
            self._check_shared(dim)
        self.class_biases = None
        if self.use_bias:
            self.class_biases = self.add_weight(
                shape=(self.num_classes,),
                initializer="zeros",
                autocast=False,
                dtype=self.class_weights.dtype,
                name="class_biases",
            )

    @property
    def class_weights(self) -> keras.Variable:
        """The table of weights, ``[num_classes, dim]``, its own or that of ``weights_from``."""
        if self.weights_from is None:
            return self._own_weights
        return getattr(self.weights_from, _table_name(self.weights_from))

    def _check_shared(self, dim: int | None) -> None:
        layer = self.weights_from
        name = _table_name(layer)
        if not layer.built:
            if name != "embeddings":
                raise ValueError(
                    f"weights_from = {layer.name} has no weights yet; call that layer first"
                )
            layer.build(())
        rows, width = self.class_weights.shape
        if rows != self.num_classes or dim not in (None, width):
            raise ValueError(
                f"weights_from = {layer.name} has weights of shape {(rows, width)}, expected "
                f"[num_classes, dim] = {(self.num_classes, dim)}"
            )

    def _loss_options(self, training: bool) -> dict[str, Any]:
        """Of `ops.head_loss`, beside those that all heads have."""
        raise NotImplementedError

    def call(
        self,
        inputs: Any,
        labels: Any,
        sample_weight: Any = None,
        training: bool | None = None,
        inputs_mask: Any = None,
    ) -> tf.Tensor:
        """Adds the mean loss to the model.

        Args:
            inputs: Activations ``[..., dim]``.
            labels: Integer classes, of the shape of ``inputs`` but for the last axis; or with one
                more axis, ``[..., num_true]``.
            sample_weight: Factor on the loss of each example, a scalar or of the shape of the
                result.
            training: Whether the model is trained, for losses that are evaluated in another way.
            inputs_mask: Which examples count, as Keras passes it on.

        Returns:
            The loss of each example times its weight, in nats, in the shape of ``inputs`` but for
            the last axis.
        """
        if inputs_mask is not None:
            counts = tf.cast(inputs_mask, self.loss_dtype)
            sample_weight = (
                counts
                if sample_weight is None
                else counts * tf.cast(sample_weight, self.loss_dtype)
            )
        with tf.name_scope(self.name):
            mean, losses = ops.head_loss(
                labels,
                inputs,
                self.class_weights,
                self.class_biases,
                sample_weight=sample_weight,
                ignore_label=self.ignore_label,
                logit_scale=self.logit_scale,
                logit_softcap=self.logit_softcap,
                compute_dtype=self.product_dtype,
                **self._loss_options(bool(training)),
            )
        self.add_loss(mean)
        return losses

    @tf.autograph.experimental.do_not_convert
    def top_k(self, inputs: Any, k: int = 10) -> tuple[tf.Tensor, tf.Tensor]:
        """The ``k`` classes of largest logit, as `fastw2v.top_k`.

        Args:
            inputs: Activations ``[..., dim]``.
            k: How many, in ``[1, num_classes]``.

        Returns:
            Logits and classes, ``[..., k]``, the largest logit first.

        Raises:
            ValueError: The layer has no weights yet, or an argument is out of its range.
        """
        if not self.built:
            raise ValueError(f"layer {self.name} has no weights yet; call it first")
        return ops.top_k(
            inputs,
            self.class_weights,
            self.class_biases,
            k,
            logit_scale=self.logit_scale,
            logit_softcap=self.logit_softcap,
        )

    @property
    def loss_dtype(self) -> str:
        """Of the losses."""
        return "float64" if self.variable_dtype == "float64" else "float32"

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return tuple(input_shape)[:-1]

    def compute_output_spec(self, inputs: Any, labels: Any, *_: Any, **__: Any) -> Any:
        if not keras.backend.is_int_dtype(labels.dtype):
            raise ValueError(
                f"labels has dtype {labels.dtype}, expected integer classes: give "
                'keras.Input(..., dtype="int64")'
            )
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.loss_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: the losses of examples that are masked are 0 already."""
        return None

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "num_classes": self.num_classes,
            "weights_from": None
            if self.weights_from is None
            else keras.saving.serialize_keras_object(self.weights_from),
            "weights_initializer": keras.initializers.serialize(self.weights_initializer),
            "weights_regularizer": keras.regularizers.serialize(self.weights_regularizer),
            "weights_constraint": keras.constraints.serialize(self.weights_constraint),
            "logit_scale": self.logit_scale,
            "logit_softcap": self.logit_softcap,
            "ignore_label": self.ignore_label,
            "product_dtype": self.product_dtype,
        }
        if self._has_biases:
            config["use_bias"] = self.use_bias
        return config


class _SampledHead(_Head):
    """A head against sampled classes."""

    def __init__(
        self,
        num_classes: int,
        num_sampled: int,
        *,
        sampler: str | samplers.Sampler = "log_uniform",
        remove_accidental_hits: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        self.num_sampled = to_integer("num_sampled", num_sampled, 1)
        if isinstance(sampler, dict):  # of a config
            sampler = keras.saving.deserialize_keras_object(sampler)
        samplers.resolve(sampler, self.num_classes)
        self.sampler = sampler
        self.remove_accidental_hits = bool(remove_accidental_hits)
        self.seed = seed

    def _loss_options(self, training: bool) -> dict[str, Any]:
        return {
            "num_sampled": self.num_sampled,
            "sampler": self.sampler,
            "remove_accidental_hits": self.remove_accidental_hits,
            "seed": self.seed,
        }

    def get_config(self) -> dict[str, Any]:
        sampler = self.sampler
        if not isinstance(sampler, str):
            sampler = keras.saving.serialize_keras_object(sampler)
        return {
            **super().get_config(),
            "num_sampled": self.num_sampled,
            "sampler": sampler,
            "remove_accidental_hits": self.remove_accidental_hits,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(_PACKAGE)
class LinearCrossEntropy(_Head):
    """Softmax cross-entropy against all classes, logits never stored: `linear_cross_entropy`.

    Args:
        num_classes: Number of classes, at least 1.
        use_bias: Whether each class has a bias.
        label_smoothing: In [0, 1): this much of the target is spread over all classes evenly.
        z_loss: Adds ``z_loss * logsumexp(logits)**2``.
        weights_from: A layer whose table serves as weights: an `Embedding`, a
            ``keras.layers.Embedding`` or another loss layer, with a row for each class, of the
            width of the activations. A saved model keeps the tie; it is lost where a layer is made
            from its config alone, as ``keras.models.clone_model`` does.
        weights_initializer, weights_regularizer, weights_constraint: Of a table of its own; the
            initializer is "glorot_uniform" by default.
        logit_scale: Factor on ``inputs @ weights.T``, the inverse of a temperature.
        logit_softcap: Bounds the logits: ``cap * tanh(logits / cap)``.
        ignore_label: Labels of this value do not count.
        product_dtype: "bfloat16" rounds the operands of matrix products to bfloat16; None keeps
            the precision of the weights.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> hidden, labels = keras.Input([16]), keras.Input([], dtype="int64")
        >>> head = fastw2v.keras.LinearCrossEntropy(1000, weights_initializer="zeros")
        >>> model = keras.Model([hidden, labels], head(hidden, labels))
        >>> model.compile("sgd")
        >>> history = model.fit([tf.ones([64, 16]), tf.zeros([64], tf.int64)], verbose=0)
        >>> head.top_k(tf.ones([1, 16]), k=1)[1].numpy().tolist()
        [[0]]
    """

    def __init__(
        self,
        num_classes: int,
        *,
        use_bias: bool = True,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, use_bias=use_bias, **kwargs)
        self.label_smoothing = to_number("label_smoothing", label_smoothing, 0.0, 1.0)
        self.z_loss = to_number("z_loss", z_loss, 0.0, math.inf)

    def _loss_options(self, training: bool) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing, "z_loss": self.z_loss}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "label_smoothing": self.label_smoothing, "z_loss": self.z_loss}


@keras.saving.register_keras_serializable(_PACKAGE)
class SampledSoftmax(_SampledHead):
    """Softmax cross-entropy against sampled classes: `sampled_softmax_loss`.

    Args:
        num_classes: Number of classes, at least 1.
        num_sampled: Number of sampled classes, at least 1, drawn without repeats unless the
            sampler does it otherwise.
        sampler: "log_uniform" (classes sorted by falling frequency), "uniform", or an instance of
            `fastw2v.samplers.Sampler`, such as ``samplers.Unigram(counts)``; a saved model holds
            its counts.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out.
        seed: Of the sampler; see `fastw2v.samplers.Sampler.sample`. None obeys
            ``keras.utils.set_random_seed``.
        use_bias: Whether each class has a bias.
        exact_evaluation: Whether all classes compete when the model is not trained, in
            ``evaluate`` and for ``val_loss``: a perplexity that can be compared.
        z_loss: Adds ``z_loss * logsumexp(logits)**2``.
        weights_from: A layer whose table serves as weights: an `Embedding`, a
            ``keras.layers.Embedding`` or another loss layer, with a row for each class, of the
            width of the activations. A saved model keeps the tie; it is lost where a layer is made
            from its config alone, as ``keras.models.clone_model`` does.
        weights_initializer, weights_regularizer, weights_constraint: Of a table of its own; the
            initializer is "glorot_uniform" by default.
        logit_scale: Factor on ``inputs @ weights.T``, the inverse of a temperature.
        logit_softcap: Bounds the logits: ``cap * tanh(logits / cap)``.
        ignore_label: Labels of this value do not count.
        product_dtype: "bfloat16" rounds the operands of matrix products to bfloat16; None keeps
            the precision of the weights.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        >>> embedding = fastw2v.keras.Embedding(1000, 16)
        >>> head = fastw2v.keras.SampledSoftmax(
        ...     1000, num_sampled=8, weights_from=embedding, exact_evaluation=True)
        >>> model = keras.Model([ids, labels], head(embedding(ids), labels))
        >>> model.compile("sgd")
        >>> pairs = [tf.range(64), tf.range(64)]
        >>> history = model.fit(pairs, verbose=0)
        >>> round(model.evaluate(pairs, verbose=0), 1)
        6.9
    """

    def __init__(
        self,
        num_classes: int,
        num_sampled: int,
        *,
        exact_evaluation: bool = False,
        z_loss: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, num_sampled, **kwargs)
        self.exact_evaluation = bool(exact_evaluation)
        self.z_loss = to_number("z_loss", z_loss, 0.0, math.inf)

    def _loss_options(self, training: bool) -> dict[str, Any]:
        if self.exact_evaluation and not training:
            return {"z_loss": self.z_loss}
        return {**super()._loss_options(training), "z_loss": self.z_loss}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "exact_evaluation": self.exact_evaluation, "z_loss": self.z_loss}


@keras.saving.register_keras_serializable(_PACKAGE)
class NCE(_SampledHead):
    """Noise-contrastive estimation: `nce_loss`.

    Args:
        num_classes: Number of classes, at least 1.
        num_sampled: Number of sampled classes, at least 1, drawn without repeats unless the
            sampler does it otherwise.
        sampler: "log_uniform" (classes sorted by falling frequency), "uniform", or an instance of
            `fastw2v.samplers.Sampler`, such as ``samplers.Unigram(counts)``; a saved model holds
            its counts.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out;
            as in ``tf.nn.nce_loss`` it does not by default.
        seed: Of the sampler; see `fastw2v.samplers.Sampler.sample`. None obeys
            ``keras.utils.set_random_seed``.
        use_bias: Whether each class has a bias.
        weights_from: A layer whose table serves as weights: an `Embedding`, a
            ``keras.layers.Embedding`` or another loss layer, with a row for each class, of the
            width of the activations. A saved model keeps the tie; it is lost where a layer is made
            from its config alone, as ``keras.models.clone_model`` does.
        weights_initializer, weights_regularizer, weights_constraint: Of a table of its own; the
            initializer is "glorot_uniform" by default.
        logit_scale: Factor on ``inputs @ weights.T``, the inverse of a temperature.
        logit_softcap: Bounds the logits: ``cap * tanh(logits / cap)``.
        ignore_label: Labels of this value do not count.
        product_dtype: "bfloat16" rounds the operands of matrix products to bfloat16; None keeps
            the precision of the weights.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> hidden, labels = keras.Input([16]), keras.Input([1], dtype="int64")
        >>> losses = fastw2v.keras.NCE(1000, num_sampled=8)(hidden, labels)
        >>> model = keras.Model([hidden, labels], losses)
        >>> model.predict([tf.ones([5, 16]), tf.zeros([5, 1], tf.int64)], verbose=0).shape
        (5,)
    """

    def __init__(
        self,
        num_classes: int,
        num_sampled: int,
        *,
        remove_accidental_hits: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, num_sampled, remove_accidental_hits=remove_accidental_hits, **kwargs
        )

    def _loss_options(self, training: bool) -> dict[str, Any]:
        return {**super()._loss_options(training), "link": "logistic"}


@keras.saving.register_keras_serializable(_PACKAGE)
class NegativeSampling(_SampledHead):
    """word2vec's negative sampling: `negative_sampling_loss`. There are no biases.

    Args:
        num_classes: Number of classes, at least 1.
        num_sampled: Number of sampled classes, for each example or, where shared, for the batch.
        sampler: "log_uniform" (classes sorted by falling frequency), "uniform", or an instance of
            `fastw2v.samplers.Sampler`, such as ``samplers.Unigram(counts)``; a saved model holds
            its counts.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out.
        seed: Of the sampler; see `fastw2v.samplers.Sampler.sample`. None obeys
            ``keras.utils.set_random_seed``.
        shared_negatives: Whether one list of negatives serves the whole batch.
        weights_from: A layer whose table serves as weights: an `Embedding`, a
            ``keras.layers.Embedding`` or another loss layer, with a row for each class, of the
            width of the activations. A saved model keeps the tie; it is lost where a layer is made
            from its config alone, as ``keras.models.clone_model`` does.
        weights_initializer, weights_regularizer, weights_constraint: Of a table of its own; the
            initializer is "zeros" by default.
        logit_scale: Factor on ``inputs @ weights.T``, the inverse of a temperature.
        logit_softcap: Bounds the logits: ``cap * tanh(logits / cap)``.
        ignore_label: Labels of this value do not count.
        product_dtype: "bfloat16" rounds the operands of matrix products to bfloat16; None keeps
            the precision of the weights.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> bags, labels = keras.Input([None], dtype="int64"), keras.Input([], dtype="int64")
        >>> hidden = fastw2v.keras.Embedding(1000, 16, combiner="mean")(bags)  # CBOW
        >>> losses = fastw2v.keras.NegativeSampling(1000, num_sampled=5)(hidden, labels)
        >>> model = keras.Model([bags, labels], losses)
        >>> model.compile("sgd")
        >>> data = [tf.ones([8, 4], tf.int64), tf.zeros([8], tf.int64)]
        >>> history = model.fit(data, verbose=0)
    """

    _has_biases = False
    _weights_initializer = "zeros"

    def __init__(
        self,
        num_classes: int,
        num_sampled: int,
        *,
        shared_negatives: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, num_sampled, **kwargs)
        self.shared_negatives = bool(shared_negatives)

    def _loss_options(self, training: bool) -> dict[str, Any]:
        return {
            **super()._loss_options(training),
            "link": "logistic",
            "corrected": False,
            "per_example": not self.shared_negatives,
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shared_negatives": self.shared_negatives}


def _map_ids(function: Callable, ids: Any) -> Any:
    """Applied to a tensor, or to the values of a ragged one."""
    if isinstance(ids, tf.RaggedTensor):
        return ids.with_flat_values(function(ids.flat_values))
    return function(ids)


def _table_name(layer: keras.layers.Layer) -> str:
    """The attribute of a layer that holds the table it can share."""
    if isinstance(layer, _Head):
        return "class_weights"
    if isinstance(layer, (Embedding, keras.layers.Embedding)):
        return "embeddings"
    raise ValueError(
        f"weights_from = {layer.name}, a {type(layer).__name__}, has no table of rows to share: "
        "give an Embedding or another loss layer"
    )
