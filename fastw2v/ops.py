"""The public losses and `top_k`, their prediction. Each prepares its arguments and calls one fused
op; none stores the logits.

What the losses have in common:

* **Tables** (``embeddings``, ``weights`` [rows, dim]; ``biases`` [rows]) are a ``tf.Variable``, a
  Keras variable, a tensor, or a list of shards (partition strategy ``div``), of dtype float32,
  float64, float16 or bfloat16. The rows of a variable are read in place, without a copy.
* **Losses** are in nats. 16-bit tables are summed, and their losses returned, in float32. In a
  replica of a `tf.distribute.Strategy` a mean is the replica's share of the mean over all of them
  (`fastw2v._losses.reduction.Reduction`).
* **Gradients** are never None for a float argument: dense for exact ``weights`` and ``biases`` and
  for activations, elsewhere ``tf.IndexedSlices`` with unique ascending rows. Second derivatives
  and those of ``tf.autodiff.ForwardAccumulator`` work and store the logits.
* **Memory**: exact losses take about 64 MB at most beside their gradients, sampled ones also a copy
  of the sampled rows. Up to 64 MB of it stay with the process for the next call.
* **Determinism**: same arguments and seeds, same bits, whatever the number of threads.
* **Errors**: ``ValueError`` for an error in the call itself (rank, dtype, option), and
  ``tf.errors.InvalidArgumentError`` for values found when it runs (an id or label out of range);
  both name the argument, the value and the range. Where two arguments seem to be swapped, such as
  ``inputs`` and ``labels``, they say so; values are compared in eager mode only.
* **XLA**: under ``jit_compile=True`` the losses are composed from TensorFlow ops and store the
  logits. Values out of range raise no error there: an example with an id, label or count out
  of range, or with an empty bag, has the loss NaN and no gradient (all examples, where a candidate
  of the whole batch is out of range), and the gradient of a gathered table holds rows of zeros.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastw2v import gradients, samplers  # noqa: F401  # gradients are registered by the import
from fastw2v._losses import lookup as _lookup
from fastw2v._losses import prediction, swapped
from fastw2v._losses.build import Sampling, loss_call, tf_nn_call
from fastw2v._losses.call import Loss, LossCall

__all__ = [
    "linear_cross_entropy",
    "lookup",
    "nce_loss",
    "negative_sampling_loss",
    "sampled_softmax_loss",
    "softmax_loss",
    "top_k",
]


def _loss(build: Callable[..., LossCall]) -> Loss:
    """Makes of a function that builds a call the loss that returns its value.

    The function is kept as ``loss.call``, for `fastw2v.train_step`.
    """
    signature = inspect.signature(build)
    place = list(signature.parameters).index("name")

    @functools.wraps(build)
    def loss(*args: Any, **kwargs: Any) -> tf.Tensor:
        name = args[place] if len(args) > place else kwargs.get("name")
        with tf.name_scope(name or build.__name__):
            try:
                return build(*args, **kwargs).value()
            except swapped.ERRORS as error:
                told = swapped.explained(error, build.__name__, signature, args, kwargs)
                raise told from told.__cause__

    loss.__annotations__["return"] = "tf.Tensor"
    made: Any = loss
    made.__signature__ = signature.replace(return_annotation="tf.Tensor")
    made.call = build
    return tf.autograph.experimental.do_not_convert(loss)


@_loss
def softmax_loss(
    embeddings: Any,
    weights: Any,
    biases: Any,
    inputs: Any,
    labels: Any,
    *,
    num_sampled: int | None = None,
    sampler: str | samplers.Sampler = "log_uniform",
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    combiner: str = "mean",
    sample_weight: Any = None,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: str = "none",
    compute_dtype: Any = None,
    seed: Any = None,
    name: str | None = None,
) -> LossCall:
    """Softmax cross-entropy of embedding rows against all or sampled classes.

    Gathers ``hidden = embeddings[inputs]``, and computes for each example the cross-entropy of
    ``softmax(logits)`` with the label, ``logits = hidden @ weights.T + biases``. With
    ``num_sampled`` the label competes with that many sampled classes only, their logits corrected
    by the logarithm of their expected counts (Jean et al. 2015, "On Using Very Large Target
    Vocabulary for Neural Machine Translation", section 3).

    Args:
        embeddings: Table [num_inputs, dim].
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        inputs: Integer ids of rows of ``embeddings``: a scalar, [batch], bags [batch, n] in which a
            negative id is padding, or a ``tf.RaggedTensor`` of bags.
        labels: Integer classes: a scalar, [batch], or [batch, num_true], each then with the target
            probability ``1 / num_true``.
        num_sampled: Number of sampled classes; None: all classes compete.
        sampler: "log_uniform" (classes sorted by falling frequency), "uniform", or an instance of
            `fastw2v.samplers.Sampler`; used when ``num_sampled`` is given.
        sampled_values: Candidates already drawn, in place of ``num_sampled``: the triple
            (sampled_candidates, true_expected_count, sampled_expected_count) of this library's
            samplers or of TensorFlow's. Candidates are [num_sampled] for the whole batch or
            [batch, num_sampled], a list for each example.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out.
        combiner: "mean" or "sum", how a bag becomes one row.
        sample_weight: Factor on the loss of each example, a scalar or [batch].
        ignore_label: Labels of this value do not count. An example that has no other label has loss
            0 and no gradient.
        label_smoothing: In [0, 1): this much of the target is spread over all classes evenly.
            Exact softmax only.
        margin: In [0, 1000): taken from the logits of the labels, after ``logit_scale`` and
            ``logit_softcap``; for CosFace's margin m between cosines scaled by s it is ``s * m``.
            It is subtracted once from a class that is a label twice, and not in `top_k`. Exact
            softmax only.
        logit_scale: Factor on ``hidden @ weights.T``, the inverse of a temperature.
        logit_softcap: Bounds the logits, biases included: ``cap * tanh(logits / cap)``.
        z_loss: Adds ``z_loss * logsumexp(logits)**2``, which keeps the normalizer near 1.
        reduction: "none", "sum", or "mean": the sum divided by the sum of the weights of the
            examples that are not ignored, and in a replica of a `tf.distribute.Strategy` by the
            number of replicas.
        compute_dtype: "bfloat16" rounds the operands of matrix products to bfloat16 (sums stay in
            float32); None keeps the precision of the tables.
        seed: Of the sampler; see `fastw2v.samplers.Sampler.sample`.
        name: Name of the op.

    The numbers of the options are kept in float32.

    Returns:
        The loss of each example in nats, [batch], or a scalar when ``inputs`` is one or when
        ``reduction`` asks for it.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: An id or label out of range, or an empty bag.

    Example:
        >>> import fastw2v
        >>> embeddings = tf.Variable(tf.random.normal([1000, 16]))
        >>> weights, biases = tf.Variable(tf.zeros([500, 16])), tf.Variable(tf.zeros([500]))
        >>> with tf.GradientTape() as tape:
        ...     loss = fastw2v.softmax_loss(
        ...         embeddings, weights, biases, inputs=[3, 7], labels=[42, 0])
        >>> [round(float(x), 4) for x in loss]
        [6.2146, 6.2146]
        >>> [g is None for g in tape.gradient(loss, [embeddings, weights, biases])]
        [False, False, False]
    """
    sampling = Sampling(num_sampled, sampler, sampled_values, seed, remove_accidental_hits)
    return loss_call(
        {"embeddings": embeddings, "weights": weights, "biases": biases},
        inputs,
        labels,
        sampling,
        combiner=combiner,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
        label_smoothing=label_smoothing,
        margin=margin,
        logit_scale=logit_scale,
        logit_softcap=logit_softcap,
        z_loss=z_loss,
        reduction=reduction,
        compute_dtype=compute_dtype,
    )


@_loss
def linear_cross_entropy(
    labels: Any,
    inputs: Any,
    weights: Any,
    biases: Any = None,
    *,
    sample_weight: Any = None,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: str = "none",
    compute_dtype: Any = None,
    name: str | None = None,
) -> LossCall:
    """Softmax cross-entropy of ``inputs @ weights.T + biases``, for float activations.

    The exact loss of a last linear layer, such as the head of a language model, without its logits.

    Args:
        labels: Integer classes, of the shape of ``inputs`` but for the last axis; or with one more
            axis, [..., num_true], each then with the target probability ``1 / num_true``.
        inputs: Activations [..., dim]; cast to the dtype of ``weights`` where that differs.
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        sample_weight, ignore_label, label_smoothing, margin, logit_scale, logit_softcap, z_loss,
            reduction, compute_dtype, name: As in `softmax_loss`; ``sample_weight`` has the shape of
            the loss.

    Returns:
        The loss in nats, in the shape of ``inputs`` but for the last axis, or a scalar when
        ``reduction`` asks for it.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: A label out of range.

    Example:
        >>> import fastw2v
        >>> weights = tf.Variable(tf.zeros([500, 16]))
        >>> loss = fastw2v.linear_cross_entropy(
        ...     labels=[42, 0], inputs=tf.ones([2, 16]), weights=weights)
        >>> [round(float(x), 4) for x in loss]
        [6.2146, 6.2146]
    """
    return loss_call(
        {"weights": weights, "biases": biases},
        inputs,
        labels,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
        label_smoothing=label_smoothing,
        margin=margin,
        logit_scale=logit_scale,
        logit_softcap=logit_softcap,
        z_loss=z_loss,
        reduction=reduction,
        compute_dtype=compute_dtype,
    )


@_loss
def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    seed: Any = None,
    name: str | None = None,
    *,
    sampler: str | samplers.Sampler = "log_uniform",
    sample_weight: Any = None,
    ignore_label: int | None = None,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: str = "none",
    compute_dtype: Any = None,
    partition_strategy: str = "div",
) -> LossCall:
    """Drop-in for ``tf.nn.sampled_softmax_loss``: same arguments, defaults and result.

    Args:
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        labels: Classes [batch, num_true]: integers, or floats where all classes are exact in them.
        inputs: Activations [batch, dim].
        num_sampled: Number of classes to sample.
        num_classes: Number of classes to sample from, at most the rows of ``weights``.
        num_true: Number of labels of an example.
        sampled_values: Candidates already drawn, as in `softmax_loss`.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out.
        seed: Of the sampler; see `fastw2v.samplers.Sampler.sample`.
        name: Name of the op.
        sampler, sample_weight, ignore_label, logit_scale, logit_softcap, z_loss, reduction,
            compute_dtype: As in `softmax_loss`.
        partition_strategy: Of ``tf.compat.v1.nn``: "div", that of this library's shards; "mod" is
            the same for a table that is whole.

    Returns:
        The loss of each example in nats, [batch], in the dtype of ``inputs``.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: A label or candidate out of range.

    Example:
        >>> import fastw2v
        >>> weights, biases = tf.Variable(tf.zeros([500, 16])), tf.Variable(tf.zeros([500]))
        >>> loss = fastw2v.sampled_softmax_loss(
        ...     weights, biases, labels=[[42], [0]], inputs=tf.ones([2, 16]), num_sampled=8,
        ...     num_classes=500)
        >>> loss.shape
        TensorShape([2])
    """
    return tf_nn_call(
        {"weights": weights, "biases": biases},
        labels,
        inputs,
        num_classes,
        num_true,
        Sampling(num_sampled, sampler, sampled_values, seed, remove_accidental_hits),
        partition_strategy=partition_strategy,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
        logit_scale=logit_scale,
        logit_softcap=logit_softcap,
        z_loss=z_loss,
        reduction=reduction,
        compute_dtype=compute_dtype,
    )


@_loss
def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    name: str | None = None,
    *,
    seed: Any = None,
    sampler: str | samplers.Sampler = "log_uniform",
    sample_weight: Any = None,
    ignore_label: int | None = None,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    reduction: str = "none",
    compute_dtype: Any = None,
    partition_strategy: str = "div",
) -> LossCall:
    """Drop-in for ``tf.nn.nce_loss``: same arguments, defaults and result.

    Noise-contrastive estimation (Gutmann and Hyvärinen 2010, equation 3): a logistic
    loss distinguishes each label from sampled classes, with logits corrected by the logarithm of
    expected counts.

    Args:
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        labels: Classes [batch, num_true]: integers, or floats where all classes are exact in them.
        inputs: Activations [batch, dim].
        num_sampled: Number of classes to sample.
        num_classes: Number of classes to sample from, at most the rows of ``weights``.
        num_true: Number of labels of an example; the target of each is ``1 / num_true``.
        sampled_values: Candidates already drawn, as in `softmax_loss`.
        remove_accidental_hits: Whether a sampled class that is a label of the example drops out.
        name: Name of the op.
        seed: Of the sampler; see `fastw2v.samplers.Sampler.sample`.
        sampler, sample_weight, ignore_label, logit_scale, logit_softcap, reduction, compute_dtype:
            As in `softmax_loss`.
        partition_strategy: As in `sampled_softmax_loss`.

    Returns:
        The loss of each example in nats, [batch], in the dtype of ``inputs``.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: A label or candidate out of range.

    Example:
        >>> import fastw2v
        >>> weights, biases = tf.Variable(tf.zeros([500, 16])), tf.Variable(tf.zeros([500]))
        >>> loss = fastw2v.nce_loss(
        ...     weights, biases, labels=[[42], [0]], inputs=tf.ones([2, 16]), num_sampled=8,
        ...     num_classes=500)
        >>> loss.shape
        TensorShape([2])
    """
    sampling = Sampling(
        num_sampled,
        sampler,
        sampled_values,
        seed,
        remove_accidental_hits,
        link="logistic",
        split_target=True,
    )
    return tf_nn_call(
        {"weights": weights, "biases": biases},
        labels,
        inputs,
        num_classes,
        num_true,
        sampling,
        partition_strategy=partition_strategy,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
        logit_scale=logit_scale,
        logit_softcap=logit_softcap,
        reduction=reduction,
        compute_dtype=compute_dtype,
    )


@_loss
def negative_sampling_loss(
    embeddings: Any,
    weights: Any,
    inputs: Any,
    labels: Any,
    num_sampled: int | None = None,
    *,
    sampler: str | samplers.Sampler = "log_uniform",
    sampled_values: Any = None,
    per_example: bool = True,
    remove_accidental_hits: bool = True,
    combiner: str = "mean",
    sample_weight: Any = None,
    ignore_label: int | None = None,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    reduction: str = "none",
    compute_dtype: Any = None,
    seed: Any = None,
    name: str | None = None,
) -> LossCall:
    """word2vec's negative sampling, for skip-gram (one id) and CBOW (a bag of ids).

    With ``z = embeddings[inputs] @ weights.T``, the loss of an example is the sum of
    ``softplus(-z)`` over its labels and ``softplus(z)`` over its sampled classes (Mikolov et al.
    2013, "Distributed Representations of Words and Phrases and their Compositionality",
    equation 4). There are no biases, and expected counts are not subtracted.

    Args:
        embeddings: Table [num_inputs, dim].
        weights: Table [num_classes, dim].
        inputs: Integer ids, as in `softmax_loss`.
        labels: Integer classes: a scalar, [batch], or [batch, num_true], each of them a positive.
        num_sampled: Number of negatives, for each example or for the batch, see ``per_example``.
        sampler: "log_uniform" (classes sorted by falling frequency), "uniform", or an instance of
            `fastw2v.samplers.Sampler`; word2vec's own is ``samplers.Unigram(counts, 0.75,
            unique=False)``. The names draw with replacement.
        sampled_values: Negatives already drawn, in place of ``num_sampled``: a triple as in
            `softmax_loss`, or the candidates alone, [num_sampled] or [batch, num_sampled].
        per_example: Whether each example has negatives of its own, or one list serves the whole
            batch.
        remove_accidental_hits: Whether a negative that is a label of the example drops out.
        combiner, sample_weight, ignore_label, logit_scale, logit_softcap, reduction, compute_dtype,
            seed, name: As in `softmax_loss`.

    Returns:
        The loss of each example in nats, [batch], or a scalar when ``inputs`` is one or when
        ``reduction`` asks for it.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: An id, label or candidate out of range, or an empty bag.

    Example:
        >>> import fastw2v
        >>> embeddings = tf.Variable(tf.random.normal([1000, 16]))
        >>> weights = tf.Variable(tf.zeros([1000, 16]))
        >>> loss = fastw2v.negative_sampling_loss(
        ...     embeddings, weights, inputs=[3, 7], labels=[42, 0], num_sampled=5)
        >>> loss.shape
        TensorShape([2])
    """
    if sampled_values is not None and not isinstance(sampled_values, tuple):
        sampled_values = (sampled_values, None, None)
    sampling = Sampling(
        num_sampled,
        sampler,
        sampled_values,
        seed,
        remove_accidental_hits,
        link="logistic",
        corrected=False,
        unique=False,
        per_example=bool(per_example),
        required="negatives",
    )
    return loss_call(
        {"embeddings": embeddings, "weights": weights, "biases": None},
        inputs,
        labels,
        sampling,
        combiner=combiner,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
        logit_scale=logit_scale,
        logit_softcap=logit_softcap,
        reduction=reduction,
        compute_dtype=compute_dtype,
    )


@tf.autograph.experimental.do_not_convert
def lookup(
    table: Any, ids: Any, combiner: str | None = None, *, name: str | None = None
) -> tf.Tensor:
    """Rows of a table, or sums and means of them, as the losses read them.

    As ``tf.nn.embedding_lookup`` or, with a combiner, ``tf.nn.embedding_lookup_sparse``; pending
    updates of an optimizer with ``lazy=False`` are applied before, and the table may be a
    `fastw2v.distribute.ShardedTable`, or lie in shards or on parameter servers.

    Args:
        table: Table [rows, dim].
        ids: Integers of any shape; with a combiner bags [batch, n], in which a negative id is
            padding, or a ``tf.RaggedTensor`` or ``tf.SparseTensor`` of bags.
        combiner: None, "mean", "sum" or "sqrtn", how a bag becomes one row.
        name: Name of the op.

    Returns:
        [..., dim] in float32, of tables of float64 in float64. The gradient by the table is a
        ``tf.IndexedSlices`` with unique ascending rows.

    Raises:
        ValueError: Wrong rank, dtype or combiner.
        tf.errors.InvalidArgumentError: An id out of range, or an empty bag.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable([[1.0, 0.0], [0.0, 3.0]])
        >>> fastw2v.lookup(table, [[1, 0]], "sum").numpy().tolist()
        [[1.0, 3.0]]
    """
    with tf.name_scope(name or "lookup"):
        return _lookup.lookup(table, ids, combiner)


@tf.autograph.experimental.do_not_convert
def top_k(
    inputs: Any,
    weights: Any,
    biases: Any = None,
    k: int = 10,
    *,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The ``k`` classes with the largest logits: the prediction of a model with these losses.

    As ``tf.math.top_k(inputs @ weights.T + biases, k)``, without the logits being stored. With
    the rows of ``inputs`` and of ``weights`` of length 1 the logits are cosines, and the classes
    the nearest neighbors.

    Classes of equal logits come in ascending order. A NaN counts as larger than any number, so that
    a broken row is noticed. The order is that of the logits before the soft cap, which rises with
    them and may round several to the same value.

    Args:
        inputs: Activations [..., dim]; cast to the dtype of ``weights`` where that differs.
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        k: How many, in [1, num_classes].
        logit_scale: Factor on ``inputs @ weights.T``, kept in float32.
        logit_softcap: Bounds the logits, biases included: ``cap * tanh(logits / cap)``.
        name: Name of the op.

    Returns:
        A pair of tensors [..., k], the largest logit first: logits in float32 (float64 for tables
        of float64), and classes in int64. The gradient of the logits reaches ``inputs`` and, as
        ``tf.IndexedSlices`` with unique ascending rows, ``weights`` and ``biases``.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: ``k`` or a width out of range, where the size of
            ``weights`` is only known when it runs.

    Example:
        >>> import fastw2v
        >>> weights = tf.Variable([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        >>> values, indices = fastw2v.top_k([[2.0, 1.0]], weights, k=2)
        >>> values.numpy().tolist(), indices.numpy().tolist()
        ([[2.0, 1.5]], [[0, 2]])
    """
    with tf.name_scope(name or "top_k"):
        return prediction.top_k(
            inputs, weights, biases, k, logit_scale=logit_scale, logit_softcap=logit_softcap
        )
