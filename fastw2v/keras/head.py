"""What the loss layers have in common: weights of classes, a loss against them, a prediction."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from fastw2v import ops, samplers
from fastw2v._core import tables
from fastw2v._core.arguments import (
    check_seed,
    to_compute_dtype,
    to_ignore_label,
    to_integer,
    to_logit_softcap,
    wrong_shape,
)
from fastw2v._losses.build import Sampling, loss_call
from fastw2v._losses.options import MEAN_AND_LOSSES, to_option
from fastw2v.keras.embedding import Embedding
from fastw2v.keras.loss_layer import LossLayer


class Head(LossLayer):
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

    def _mean_and_losses(
        self, inputs: Any, labels: Any, sample_weight: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return loss_call(
            {"weights": self.class_weights, "biases": self.class_biases},
            inputs,
            labels,
            self._sampling(training),
            sample_weight=sample_weight,
            label_classes=self.num_classes,
            reduction=MEAN_AND_LOSSES,
            **self._options(),
        ).value()

    def _largest(self, inputs: Any, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        return ops.top_k(
            inputs,
            self.class_weights,
            self.class_biases,
            k,
            logit_scale=self.logit_scale,
            logit_softcap=self.logit_softcap,
        )

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
