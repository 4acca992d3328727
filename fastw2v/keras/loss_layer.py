"""What the layers that add a loss to their model have in common, and the layer that predicts."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import tensorflow as tf

from fastw2v._core.arguments import check_ids_dtype, to_integer
from fastw2v._losses import swapped
from fastw2v._losses.build import check_activations_dtype
from fastw2v.keras.base import PACKAGE, Rows


class LossLayer(Rows):
    """Adds the mean loss of activations and labels to the model, and returns all losses.

    Subclasses have ``num_classes`` and say in `_mean_and_losses` and `_largest` what they compute.
    """

    num_classes: int

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.autocast = False  # activations and weights stay as exact as they are

    def _mean_and_losses(
        self, inputs: Any, labels: Any, sample_weight: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError

    def _largest(self, inputs: Any, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError

    @tf.autograph.experimental.do_not_convert
    def top_k(self, inputs: Any, k: int = 10) -> tuple[tf.Tensor, tf.Tensor]:
        """The ``k`` classes of largest logit, as `fastw2v.top_k`; of an adaptive softmax the most
        probable classes and the logarithms of their probabilities, as `fastw2v.adaptive_top_k`.

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
        return self._largest(inputs, k)

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
        warn_of_weights_that_do_not_count()
        if inputs_mask is not None:
            counts = tf.cast(inputs_mask, self.loss_dtype)
            sample_weight = (
                counts
                if sample_weight is None
                else counts * tf.cast(sample_weight, self.loss_dtype)
            )
        with tf.name_scope(self.name):
            mean, losses = self._mean_and_losses(inputs, labels, sample_weight, bool(training))
        self.add_loss(mean)
        return losses

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

    def __init__(self, head: LossLayer, k: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(head, dict):  # of a config
            head = keras.saving.deserialize_keras_object(head)
        if not isinstance(head, LossLayer):
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


def warn_of_weights_that_do_not_count() -> None:
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
