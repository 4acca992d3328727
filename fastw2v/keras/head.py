"""What the loss layers have in common: weights of classes, a loss against them, a prediction."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import tensorflow as tf

from fastw2v import ops, samplers
from fastw2v._core import tables
from fastw2v._core.arguments import (
    check_ids_dtype,
    check_seed,
    to_compute_dtype,
    to_ignore_label,
    to_integer,
    to_logit_softcap,
    wrong_shape,
)
from fastw2v._losses import swapped
from fastw2v._losses.build import Sampling, check_activations_dtype, loss_call
from fastw2v._losses.options import MEAN_AND_LOSSES, to_option
from fastw2v.keras.base import PACKAGE, Rows
from fastw2v.keras.embedding import Embedding


class Head(Rows):
    """A row of weights for each class, and a loss of activations against them.

    Subclasses say in `_sampling` and `_options` what loss it is.
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
        compute_dtype: Any = None,
        sharded: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = to_integer("num_classes", num_classes, 1)
        self.use_bias = bool(use_bias) and self._has_biases
        if isinstance(weights_from, dict):  # of a config
            weights_from = _shared_layer(weights_from)
        if weights_from is not None and not isinstance(weights_from, keras.layers.Layer):
            raise ValueError(
                f"weights_from = {weights_from!r} is not a layer: give an Embedding or another "
                "loss layer, or None for weights of its own"
            )
        self.weights_from = weights_from
        if weights_from is not None and getattr(weights_from, "sharded", False) != bool(sharded):
            raise ValueError(
                f"sharded = {sharded}, and of weights_from = {weights_from.name} it is "
                f"{not sharded}: tables that are used together are sharded alike"
            )
        if weights_initializer is None:
            weights_initializer = self._weights_initializer
        self.weights_initializer = keras.initializers.get(weights_initializer)
        self.weights_regularizer = keras.regularizers.get(weights_regularizer)
        self.weights_constraint = keras.constraints.get(weights_constraint)
        self._set_sharded(
            sharded,
            weights_regularizer=self.weights_regularizer,
            weights_constraint=self.weights_constraint,
        )
        self.logit_scale = to_option("logit_scale", logit_scale)
        self.logit_softcap = to_logit_softcap(logit_softcap)
        self.ignore_label = to_ignore_label(ignore_label)
        table_dtype = (weights_from or self).variable_dtype
        to_compute_dtype(compute_dtype, tf.as_dtype(table_dtype))
        self._loss_compute_dtype = compute_dtype  # `compute_dtype` is that of the layer's policy
        self.supports_masking = True
        self.autocast = False  # activations and weights stay as exact as they are

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check_use(inspect.currentframe(), args, kwargs)
        return super().__call__(*args, **kwargs)

    def _check_use(self, frame: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Reports common mistakes, before Keras builds the layer for it.

        Args:
            frame: Of the call of the layer.
            args, kwargs: What it was called with.
        """
        kind = type(self).__name__
        # What `compile` is given as a loss or metric is a function in an object of Keras.
        caller = frame.f_back.f_locals.get("self")
        if any(getattr(caller, name, None) is self for name in ("fn", "_fn")):
            raise ValueError(
                f"{kind} is a layer, and no loss or metric that compile takes: call it in the "
                f"model, losses = {kind}(...)(hidden, labels), with the labels as an input of the "
                "model, and compile without a loss"
            )
        given = dict(zip(("inputs", "labels"), args, strict=False)) | kwargs
        inputs, labels = given.get("inputs"), given.get("labels")
        if inputs is None or labels is None:
            raise TypeError(
                f"{kind} is called with activations and labels, layer(inputs, labels), or with "
                "sample_weight as a third; for predictions, which need no labels, there is top_k"
            )
        hint = swapped.exchanged_activations(inputs, labels)
        if hint is not None:
            raise ValueError(f"{hint}; {kind} is called as layer(inputs, labels)")
        if hasattr(inputs, "dtype"):
            check_activations_dtype(tf.as_dtype(inputs.dtype))

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        dim = tuple(input_shape)[-1]
        if self.weights_from is None:
            if dim is None:
                raise wrong_shape("inputs", tuple(input_shape), "[..., dim] with a static dim")
            self._own_weights = self.add_weight(
                shape=(self.num_classes, dim),
                initializer=self.weights_initializer,
                regularizer=self.weights_regularizer,
                constraint=self.weights_constraint,
                autocast=False,
                name="class_weights",
            )
        else:
            self._check_shared(self.weights_from, dim)
        self.class_biases = None
        if self.use_bias:
            self.class_biases = self.add_weight(
                shape=(self.num_classes,),
                initializer="zeros",
                autocast=False,
                dtype=self.class_weights.dtype,
                name="class_biases",
            )
            self._check_parts(self.class_biases)
        self.built = True

    @property
    def class_weights(self) -> keras.Variable:
        """The table of weights, ``[num_classes, dim]``, its own or that of ``weights_from``."""
        if self.weights_from is None:
            return self._own_weights
        return getattr(self.weights_from, _table_name(self.weights_from))

    def _check_parts(self, biases: keras.Variable) -> None:
        """A ValueError where biases are cut in another way than shared weights are."""
        groups = [
            getattr(tables.unwrap(each), "group", None) for each in (self.class_weights, biases)
        ]
        if groups[0] is not groups[1]:
            raise ValueError(
                f"layer {self.name} and its weights_from are sharded, and are built under "
                "different strategies: build both in the scope of one"
            )

    def _check_shared(self, layer: keras.layers.Layer, dim: int | None) -> None:
        name = _table_name(layer)
        if not layer.built:
            if name != "embeddings":
                raise ValueError(
                    f"weights_from = {layer.name} has no weights yet; call that layer first"
                )
            layer.build(())
        rows, width = self.class_weights.shape
        if rows != self.num_classes or dim not in (None, width):
            raise wrong_shape(
                f"the table of weights_from = {layer.name}",
                (rows, width),
                f"[num_classes, dim] = {(self.num_classes, dim)}",
            )

    def _sampling(self, training: bool) -> Sampling | None:
        """Which classes compete; None: all."""
        return None

    def _options(self) -> dict[str, Any]:
        """Of the loss, beside its sampling."""
        return {
            "ignore_label": self.ignore_label,
            "logit_scale": self.logit_scale,
            "logit_softcap": self.logit_softcap,
            "compute_dtype": self._loss_compute_dtype,
        }

    def call(
        self,
        inputs: Any,
        labels: Any,
        sample_weight: Any = None,
        training: bool | None = None,
        inputs_mask: Any = None,
    ) -> tf.Tensor:
        """Adds the mean loss to the model.

        Keras does not pass to layers the ``sample_weight`` of ``fit``: sample weights are an input
        of the model.

        Args:
            inputs: Activations ``[..., dim]``.
            labels: Classes, of the shape of ``inputs`` but for the last axis; or with one
                more axis, ``[..., num_true]``.
            sample_weight: Factor on the loss of each example, a scalar or of the shape of the
                result.
            training: Whether the model is trained, for losses that are evaluated in another way.
            inputs_mask: Which examples count, as Keras passes it on.

        Returns:
            The loss of each example times its weight, in nats, in the shape of ``inputs`` but for
            the last axis.
        """
        _warn_of_weights_that_do_not_count()
        if inputs_mask is not None:
            counts = tf.cast(inputs_mask, self.loss_dtype)
            sample_weight = (
                counts
                if sample_weight is None
                else counts * tf.cast(sample_weight, self.loss_dtype)
            )
        with tf.name_scope(self.name):
            mean, losses = loss_call(
                {"weights": self.class_weights, "biases": self.class_biases},
                inputs,
                labels,
                self._sampling(bool(training)),
                sample_weight=sample_weight,
                label_classes=self.num_classes,
                reduction=MEAN_AND_LOSSES,
                **self._options(),
            ).value()
        self.add_loss(mean)
        return losses

    @tf.autograph.experimental.do_not_convert
    def top_k(self, inputs: Any, k: int = 10) -> tuple[tf.Tensor, tf.Tensor]:
        """The ``k`` classes of largest logit, as `fastw2v.top_k`.

        Args:
            inputs: Activations ``[..., dim]``; where they are an output of a Keras layer, as in
                ``keras.Model(ids, head.top_k(hidden))``, the layer `TopK` comes after it.
            k: How many, in ``[1, num_classes]``.

        Returns:
            Logits and classes, ``[..., k]``, the largest logit first.

        Raises:
            ValueError: The layer has no weights yet, or an argument is out of its range.
        """
        if not self.built:
            raise ValueError(f"layer {self.name} has no weights yet; call it first")
        if isinstance(inputs, keras.KerasTensor):
            return TopK(self, k)(inputs)
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

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return tuple(input_shape)[:-1]

    def compute_output_spec(self, inputs: Any, labels: Any, *_: Any, **__: Any) -> Any:
        check_ids_dtype("labels", tf.as_dtype(labels.dtype), self.num_classes)
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
            "compute_dtype": self._loss_compute_dtype,
            "sharded": self.sharded,
        }
        if self._has_biases:
            config["use_bias"] = self.use_bias
        return config


class SampledHead(Head):
    """A head against sampled classes."""

    _unique = True  # whether samplers that are given by name draw classes that are all different

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
        samplers.resolve(sampler, self.num_classes, self._unique).check_number(self.num_sampled)
        self.sampler = sampler
        self.remove_accidental_hits = bool(remove_accidental_hits)
        check_seed(seed)
        self.seed = seed

    def _sampling(self, training: bool) -> Sampling | None:
        return self._sampled()

    def _sampled(self) -> Sampling:
        """Which classes compete where not all do."""
        return Sampling(
            self.num_sampled,
            self.sampler,
            seed=self.seed,
            remove_accidental_hits=self.remove_accidental_hits,
            unique=self._unique,
        )

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


@keras.saving.register_keras_serializable(PACKAGE)
class TopK(Rows):
    """The classes with the largest logits by the weights of a loss layer: a model that predicts.

    ``keras.Model(ids, head.top_k(hidden, k))`` makes this layer; it can be saved.

    Args:
        head: A loss layer of `fastw2v.keras`.
        k: How many, in ``[1, num_classes]``.
        **kwargs: Of ``keras.layers.Layer``: ``name``.

    Call with activations ``[..., dim]``; the result is a pair of tensors ``[..., k]``, logits and
    int64 classes, the largest logit first, as of `fastw2v.top_k`.

    Raises:
        ValueError: ``head`` is no loss layer, or ``k`` is out of its range.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        >>> hidden = fastw2v.keras.Embedding(100, 8)(ids)
        >>> head = fastw2v.keras.NCE(100, num_sampled=5)
        >>> model = keras.Model([ids, labels], head(hidden, labels))  # to train
        >>> predictor = keras.Model(ids, fastw2v.keras.TopK(head, k=3)(hidden))
        >>> logits, classes = predictor(tf.constant([1, 2]))
        >>> classes.shape
        TensorShape([2, 3])
    """

    def __init__(self, head: Head, k: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(head, dict):  # of a config
            head = keras.saving.deserialize_keras_object(head)
        if not isinstance(head, Head):
            raise ValueError(
                f"head = {head!r} is not a loss layer of fastw2v.keras, such as LinearCrossEntropy"
            )
        self.head = head
        self.k = to_integer("k", k, 1, head.num_classes)
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        self.head.build(input_shape)
        self.built = True

    def call(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits and classes."""
        return self.head.top_k(inputs, self.k)

    def compute_output_spec(self, inputs: Any) -> tuple[Any, ...]:
        shape = (*tuple(inputs.shape)[:-1], self.k)
        return keras.KerasTensor(shape, self.head.loss_dtype), keras.KerasTensor(shape, "int64")

    def get_config(self) -> dict[str, Any]:
        head = keras.saving.serialize_keras_object(self.head)
        return {**super().get_config(), "head": head, "k": self.k}


def _shared_layer(config: dict[str, Any]) -> keras.layers.Layer:
    """The layer of ``weights_from``, while a model is loaded or a layer is copied."""
    if "shared_object_id" not in config:  # which stands where a whole model is saved
        warnings.warn(
            "weights_from is a layer of its own in what is made of this config, and no longer "
            "shares its table with the model: a copy of a single config, as by "
            "keras.models.clone_model, Model.from_config or model_from_json, knows no other "
            "layers. Save the model and load it, or build it anew",
            stacklevel=4,
        )
    return keras.saving.deserialize_keras_object(config)


def _warn_of_weights_that_do_not_count() -> None:
    """Looks whether Keras, which calls the layer, was given weights of examples: it applies them to
    compiled losses alone, and says nothing."""
    frame = inspect.currentframe()
    while frame is not None:
        is_keras = frame.f_globals.get("__name__", "").startswith("keras.")
        if is_keras and frame.f_code.co_name in ("train_step", "test_step", "fit", "evaluate"):
            if frame.f_locals.get("sample_weight") is not None:
                warnings.warn(
                    "sample_weight of fit or evaluate has no effect on the losses that layers add: "
                    "make the weights an input of the model and call the loss layer with them, "
                    "head(hidden, labels, sample_weight)",
                    stacklevel=3,
                )
                return
        frame = frame.f_back


def _table_name(layer: keras.layers.Layer) -> str:
    """The attribute of a layer that holds the table it can share."""
    if isinstance(layer, Head):
        return "class_weights"
    if isinstance(layer, (Embedding, keras.layers.Embedding)):
        return "embeddings"
    raise ValueError(
        f"weights_from = {layer.name}, a {type(layer).__name__}, has no table of rows to share: "
        "give an Embedding or another loss layer"
    )
