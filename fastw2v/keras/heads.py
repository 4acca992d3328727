"""The loss layers, one for each loss."""

from __future__ import annotations

from typing import Any

import keras

from fastw2v._losses.build import Sampling
from fastw2v._losses.options import to_option
from fastw2v.keras.base import PACKAGE
from fastw2v.keras.head import Head, SampledHead


@keras.saving.register_keras_serializable(PACKAGE)
class LinearCrossEntropy(Head):
    """Softmax cross-entropy against all classes, logits never stored: `linear_cross_entropy`.

    Args:
        num_classes: Number of classes, at least 1.
        use_bias: Whether each class has a bias.
        weights_from: A layer whose table serves as weights: an `Embedding`, a
            ``keras.layers.Embedding`` or another loss layer, with a row for each class, of the
            width of the activations. A saved model keeps the tie; it is lost, with a
            warning, where a layer is made from its config alone, as by
            ``keras.models.clone_model``.
        weights_initializer, weights_regularizer, weights_constraint: Of a table of its own; the
            initializer is "glorot_uniform" by default.
        logit_scale, logit_softcap, ignore_label, compute_dtype, label_smoothing, margin, z_loss: As
            in `fastw2v.softmax_loss`.
        sharded: Whether weights and biases are cut among the replicas of a strategy, as the table
            of `Embedding`. With ``weights_from`` both layers are, or neither.
        **kwargs: Of ``keras.layers.Layer``: ``name``, ``dtype``, ``trainable``.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import tensorflow as tf
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
        margin: float = 0.0,
        z_loss: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, use_bias=use_bias, **kwargs)
        self.label_smoothing = to_option("label_smoothing", label_smoothing)
        self.margin = to_option("margin", margin)
        self.z_loss = to_option("z_loss", z_loss)

    def _options(self) -> dict[str, Any]:
        return {
            **super()._options(),
            "label_smoothing": self.label_smoothing,
            "margin": self.margin,
            "z_loss": self.z_loss,
        }

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "label_smoothing": self.label_smoothing,
            "margin": self.margin,
            "z_loss": self.z_loss,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class SampledSoftmax(SampledHead):
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
        exact_evaluation: Whether all classes compete when the model is not trained, in
            ``evaluate`` and for ``val_loss``: a perplexity that can be compared.
        use_bias, weights_from, weights_initializer, weights_regularizer, weights_constraint,
            logit_scale, logit_softcap, ignore_label, compute_dtype, z_loss, sharded, **kwargs: As
            in `LinearCrossEntropy`.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import tensorflow as tf
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
        self.z_loss = to_option("z_loss", z_loss)

    def _sampling(self, training: bool) -> Sampling | None:
        return None if self.exact_evaluation and not training else super()._sampling(training)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "z_loss": self.z_loss}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "exact_evaluation": self.exact_evaluation, "z_loss": self.z_loss}


@keras.saving.register_keras_serializable(PACKAGE)
class NCE(SampledHead):
    """Noise-contrastive estimation: `nce_loss`.

    Args:
        num_classes: Number of classes, at least 1.
        num_sampled, sampler, seed: As in `SampledSoftmax`.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out;
            as in ``tf.nn.nce_loss`` it does not by default.
        use_bias, weights_from, weights_initializer, weights_regularizer, weights_constraint,
            logit_scale, logit_softcap, ignore_label, compute_dtype, sharded, **kwargs: As in
            `LinearCrossEntropy`.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import tensorflow as tf
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

    def _sampled(self) -> Sampling:
        return super()._sampled()._replace(link="logistic", split_target=True)


@keras.saving.register_keras_serializable(PACKAGE)
class NegativeSampling(SampledHead):
    """word2vec's negative sampling: `negative_sampling_loss`. There are no biases.

    Args:
        num_classes: Number of classes, at least 1.
        num_sampled: Number of sampled classes, for each example or for the batch, see
            ``per_example``.
        sampler, remove_accidental_hits, seed: As in `SampledSoftmax`; the names of samplers draw
            with replacement.
        per_example: Whether each example has negatives of its own, or one list serves the whole
            batch.
        weights_initializer: "zeros" by default.
        weights_from, weights_regularizer, weights_constraint, logit_scale, logit_softcap,
            ignore_label, compute_dtype, sharded, **kwargs: As in `LinearCrossEntropy`.

    Call with activations and labels, ``layer(inputs, labels, sample_weight=None)``; see `call`.

    Raises:
        ValueError: An argument is out of its range, or a dtype, rank or width does not fit.
        tf.errors.InvalidArgumentError: A label is out of range.

    Example:
        >>> import keras
        >>> import tensorflow as tf
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
    _unique = False

    def __init__(
        self,
        num_classes: int,
        num_sampled: int,
        *,
        per_example: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, num_sampled, **kwargs)
        self.per_example = bool(per_example)

    def _sampled(self) -> Sampling:
        return (
            super()
            ._sampled()
            ._replace(link="logistic", corrected=False, per_example=self.per_example)
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "per_example": self.per_example}
