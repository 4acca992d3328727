"""The public losses and `top_k`, their prediction. Each prepares its arguments and calls one fused
op; none stores the logits.

What the losses have in common:

* **Tables** (``embeddings``, ``weights`` [rows, dim]; ``biases`` [rows]) are a ``tf.Variable``, a
  Keras variable, a tensor, or a list of shards (partition strategy ``div``), of dtype float32,
  float64, float16 or bfloat16. A variable's rows are read where they lie, without a copy.
* **Losses** are in nats. 16-bit tables are summed, and their losses returned, in float32.
* **Gradients** are never None for a float argument: dense for exact ``weights`` and ``biases`` and
  for activations, elsewhere ``tf.IndexedSlices`` with unique ascending rows. Second derivatives
  work and store the logits.
* **Memory**: exact losses take about 64 MB at most beside their gradients, sampled ones also a copy
  of the sampled rows. Up to 64 MB of it stay with the process for the next call.
* **Determinism**: same arguments and seeds, same bits, whatever the number of threads.
* **Errors**: ``ValueError`` for what is wrong in the call itself (rank, dtype, option), and
  ``tf.errors.InvalidArgumentError`` for values met when it runs (an id or label out of range);
  both name the argument, the value and the range.
* **XLA**: under ``jit_compile=True`` the losses are composed from TensorFlow ops and store the
  logits. What is met when it runs raises nothing there: an example with an id, label or count out
  of range, or with an empty bag, has the loss NaN and no gradient (all examples, where a candidate
  of the whole batch is out of range), and the gradient of a gathered table holds rows of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastw2v import _step, gradients, samplers
from fastw2v._arguments import to_ids, to_integer, to_number
from fastw2v._preparation import (
    Classes,
    Hidden,
    activations,
    candidates_of,
    competing,
    gathered,
    logit_options,
    op_inputs,
    to_labels,
)
from fastw2v._reduction import MEAN_AND_LOSSES, Reduction
from fastw2v._tables import table, to_tensor


@tf.autograph.experimental.do_not_convert
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
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: str = "none",
    compute_dtype: Any = None,
    seed: Any = None,
    name: str | None = None,
) -> tf.Tensor:
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
        logit_scale: Factor on ``hidden @ weights.T``, the inverse of a temperature.
        logit_softcap: Bounds the logits, biases included: ``cap * tanh(logits / cap)``.
        z_loss: Adds ``z_loss * logsumexp(logits)**2``, which keeps the normaliser near 1.
        reduction: "none", "sum", or "mean": the sum divided by the sum of the weights of the
            examples that are not ignored.
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
        ...     loss = fastw2v.softmax_loss(embeddings, weights, biases, [3, 7], [42, 0])
        >>> [round(float(x), 4) for x in loss]
        [6.2146, 6.2146]
        >>> [g is None for g in tape.gradient(loss, [embeddings, weights, biases])]
        [False, False, False]
    """
    with tf.name_scope(name or "softmax_loss"):
        hidden = gathered(embeddings, inputs, combiner)
        classes = competing(weights, biases, hidden)
        labels = to_labels(labels, hidden)
        values = candidates_of(
            num_sampled, sampler, sampled_values, labels, classes.weights.rows, ignore_label, seed
        )
        options = logit_options(
            classes.weights.dtype, ignore_label, logit_scale, logit_softcap, z_loss, compute_dtype
        )
        smoothing = to_number("label_smoothing", label_smoothing, 0.0, 1.0)
        reduced = _reduction(reduction, hidden, classes, labels, sample_weight, ignore_label)
        if values is None:
            return _exact(hidden, classes, labels, reduced, label_smoothing=smoothing, **options)
        if smoothing:
            raise ValueError(
                f"label_smoothing = {smoothing} needs all classes to compete; with sampled "
                "classes it must be 0"
            )
        return _sampled(
            hidden,
            classes,
            labels,
            values,
            reduced,
            link="softmax",
            remove_accidental_hits=remove_accidental_hits,
            **options,
        )


@tf.autograph.experimental.do_not_convert
def linear_cross_entropy(
    labels: Any,
    inputs: Any,
    weights: Any,
    biases: Any = None,
    *,
    sample_weight: Any = None,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: str = "none",
    compute_dtype: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """Softmax cross-entropy of ``inputs @ weights.T + biases``, for float activations.

    The exact loss of a last linear layer, such as the head of a language model, without its logits.

    Args:
        labels: Integer classes, of the shape of ``inputs`` but for the last axis; or with one more
            axis, [..., num_true], each then with the target probability ``1 / num_true``.
        inputs: Activations [..., dim]; cast to the dtype of ``weights`` where that differs.
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        sample_weight, ignore_label, label_smoothing, logit_scale, logit_softcap, z_loss, reduction,
            compute_dtype, name: As in `softmax_loss`; ``sample_weight`` has the shape of the loss.

    Returns:
        The loss in nats, in the shape of ``inputs`` but for the last axis, or a scalar when
        ``reduction`` asks for it.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: A label out of range.

    Example:
        >>> import fastw2v
        >>> weights = tf.Variable(tf.zeros([500, 16]))
        >>> loss = fastw2v.linear_cross_entropy([42, 0], tf.ones([2, 16]), weights)
        >>> [round(float(x), 4) for x in loss]
        [6.2146, 6.2146]
    """
    with tf.name_scope(name or "linear_cross_entropy"):
        dense = table("weights", weights)
        hidden = activations(inputs, dense.dtype)
        classes = competing(dense, biases, hidden)
        labels = to_labels(labels, hidden)
        options = logit_options(
            dense.dtype, ignore_label, logit_scale, logit_softcap, z_loss, compute_dtype
        )
        smoothing = to_number("label_smoothing", label_smoothing, 0.0, 1.0)
        reduced = _reduction(reduction, hidden, classes, labels, sample_weight, ignore_label)
        return _exact(hidden, classes, labels, reduced, label_smoothing=smoothing, **options)


@tf.autograph.experimental.do_not_convert
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
) -> tf.Tensor:
    """Drop-in for ``tf.nn.sampled_softmax_loss``: same arguments, defaults and result.

    Args:
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        labels: Integer classes [batch, num_true].
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
    with tf.name_scope(name or "sampled_softmax_loss"):
        return _tf_nn_loss(
            weights,
            biases,
            labels,
            inputs,
            (num_sampled, num_classes, num_true, sampled_values, sampler, seed),
            (sample_weight, ignore_label, reduction),
            (logit_scale, logit_softcap, z_loss, compute_dtype),
            link="softmax",
            remove_accidental_hits=remove_accidental_hits,
        )


@tf.autograph.experimental.do_not_convert
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
) -> tf.Tensor:
    """Drop-in for ``tf.nn.nce_loss``: same arguments, defaults and result.

    Noise-contrastive estimation (Gutmann and Hyvärinen 2010, equation 3): tells each label from
    sampled classes by a logistic loss, its logits corrected by the logarithm of expected counts.

    Args:
        weights: Table [num_classes, dim].
        biases: Table [num_classes], or None for none.
        labels: Integer classes [batch, num_true].
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
    with tf.name_scope(name or "nce_loss"):
        return _tf_nn_loss(
            weights,
            biases,
            labels,
            inputs,
            (num_sampled, num_classes, num_true, sampled_values, sampler, seed),
            (sample_weight, ignore_label, reduction),
            (logit_scale, logit_softcap, 0.0, compute_dtype),
            link="logistic",
            split_target=True,
            remove_accidental_hits=remove_accidental_hits,
        )


@tf.autograph.experimental.do_not_convert
def negative_sampling_loss(
    embeddings: Any,
    weights: Any,
    inputs: Any,
    labels: Any,
    num_sampled: int | None = None,
    *,
    sampler: str | samplers.Sampler = "log_uniform",
    sampled_values: Any = None,
    shared_negatives: bool = False,
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
) -> tf.Tensor:
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
        num_sampled: Number of negatives, for each example or, where shared, for the batch.
        sampler: "log_uniform" (classes sorted by falling frequency), "uniform", or an instance of
            `fastw2v.samplers.Sampler`; word2vec's own is ``samplers.Unigram(counts, 0.75,
            unique=False)``. The names draw with replacement.
        sampled_values: Negatives already drawn, in place of ``num_sampled``: a triple as in
            `softmax_loss`, or the candidates alone, [num_sampled] or [batch, num_sampled].
        shared_negatives: Whether one list of negatives serves the whole batch.
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
        >>> loss = fastw2v.negative_sampling_loss(embeddings, weights, [3, 7], [42, 0], 5)
        >>> loss.shape
        TensorShape([2])
    """
    with tf.name_scope(name or "negative_sampling_loss"):
        hidden = gathered(embeddings, inputs, combiner)
        classes = competing(weights, None, hidden)
        labels = to_labels(labels, hidden)
        if sampled_values is not None and not isinstance(sampled_values, tuple):
            sampled_values = (sampled_values, None, None)
        values = candidates_of(
            num_sampled,
            sampler,
            sampled_values,
            labels,
            classes.weights.rows,
            ignore_label,
            seed,
            unique=False,
            per_example=not shared_negatives,
        )
        if values is None:
            raise ValueError("num_sampled = None, expected a number of negatives of at least 1")
        reduced = _reduction(reduction, hidden, classes, labels, sample_weight, ignore_label)
        return _sampled(
            hidden,
            classes,
            labels,
            (values[0], None, None),
            reduced,
            link="logistic",
            remove_accidental_hits=remove_accidental_hits,
            **logit_options(
                classes.weights.dtype, ignore_label, logit_scale, logit_softcap, 0.0, compute_dtype
            ),
        )


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
    """The ``k`` classes of largest logit: what a model trained with these losses predicts.

    As ``tf.math.top_k(inputs @ weights.T + biases, k)``, without the logits being stored. With
    the rows of ``inputs`` and of ``weights`` of length 1 the logits are cosines, and the classes
    the nearest neighbours.

    Classes of equal logits come in ascending order. A NaN counts as larger than any number, so that
    a broken row is seen. The order is that of the logits before the soft cap, which rises with
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
        dense = table("weights", weights)
        hidden = activations(inputs, dense.dtype)
        classes = competing(dense, biases, hidden)
        k = to_integer("k", k, 1, 2**31 - 1 if dense.rows is None else dense.rows)
        options = logit_options(dense.dtype, None, logit_scale, logit_softcap, 0.0, None)
        for part in (classes.weights, classes.biases):
            if part is not None:
                part.prepare(None)
        values, indices = gradients.top_k(
            tf.cast(hidden.inputs, gradients.accumulator(dense.dtype)),
            classes.weights,
            classes.biases,
            k,
            logit_scale=options["logit_scale"],
            logit_softcap=options["logit_softcap"],
        )
        if hidden.shape is None:
            return values, indices
        shape = tf.concat([hidden.shape, [k]], axis=0)
        static_shape = hidden.static_shape.concatenate(k)
        return tuple(
            tf.ensure_shape(tf.reshape(part, shape), static_shape) for part in (values, indices)
        )


# ---- For layers ----------------------------------------------------------------------------------


@tf.autograph.experimental.do_not_convert
def lookup(embeddings: Any, inputs: Any, combiner: str | None) -> tf.Tensor:
    """Rows of a table for ids of any shape, or, with a combiner, for bags [batch, n] of them, in
    float32 (float64 for such tables); the gradient has unique ascending rows."""
    if combiner is not None:
        hidden = gathered(embeddings, inputs, combiner)
        return gradients.gather(hidden.embeddings, hidden.inputs, hidden.row_splits, combiner)
    ids = to_ids("inputs", inputs)
    rows = table("embeddings", embeddings)
    hidden = gradients.gather(rows, tf.reshape(ids, [-1]), [], "sum")
    hidden = tf.reshape(hidden, tf.concat([tf.shape(ids), [tf.shape(hidden)[1]]], axis=0))
    return tf.ensure_shape(hidden, ids.shape.concatenate(rows.dim))


@tf.autograph.experimental.do_not_convert
def head_loss(
    labels: Any,
    inputs: Any,
    weights: Any,
    biases: Any,
    *,
    num_sampled: int | None = None,
    sampler: str | samplers.Sampler = "log_uniform",
    remove_accidental_hits: bool = True,
    seed: Any = None,
    per_example: bool = False,
    link: str = "softmax",
    corrected: bool = True,
    sample_weight: Any = None,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    compute_dtype: Any = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean loss of float activations, and the losses of the examples, from one op.

    ``corrected``: expected counts are subtracted from the logits, and the names of samplers draw
    without replacement. A corrected logistic loss shares its target among the labels, as
    `nce_loss` does.
    """
    dense = table("weights", weights)
    hidden = activations(inputs, dense.dtype)
    classes = competing(dense, biases, hidden)
    labels = to_labels(labels, hidden)
    values = candidates_of(
        num_sampled,
        sampler,
        None,
        labels,
        dense.rows,
        ignore_label,
        seed,
        unique=corrected,
        per_example=per_example,
    )
    options = logit_options(
        dense.dtype, ignore_label, logit_scale, logit_softcap, z_loss, compute_dtype
    )
    reduced = _reduction(MEAN_AND_LOSSES, hidden, classes, labels, sample_weight, ignore_label)
    if values is None:
        smoothing = to_number("label_smoothing", label_smoothing, 0.0, 1.0)
        return _exact(hidden, classes, labels, reduced, label_smoothing=smoothing, **options)
    return _sampled(
        hidden,
        classes,
        labels,
        values if corrected else (values[0], None, None),
        reduced,
        link=link,
        split_target=corrected and link == "logistic",
        remove_accidental_hits=remove_accidental_hits,
        **options,
    )


# ---- The ops -------------------------------------------------------------------------------------


def _exact(
    hidden: Hidden, classes: Classes, labels: tf.Tensor, reduced: Reduction, **attributes: Any
) -> tf.Tensor:
    inputs = op_inputs(hidden, classes, labels)
    return _reduced_losses(hidden, classes, inputs, reduced, attributes, sampled=False)


def _reduced_losses(
    hidden: Hidden,
    classes: Classes,
    inputs: dict[str, Any],
    reduced: Reduction,
    attributes: dict[str, Any],
    *,
    sampled: bool,
) -> tf.Tensor:
    attributes.update(T=classes.weights.dtype, combiner=hidden.combiner)
    tables = {
        "embeddings": hidden.embeddings,
        "weights": classes.weights,
        "biases": classes.biases,
    }
    met = [inputs["labels"], inputs["sampled_candidates"]] if sampled else None
    for name, met_rows in (("embeddings", [inputs["inputs"]]), ("weights", met), ("biases", met)):
        if tables[name] is not None:
            tables[name].prepare(met_rows)
    return reduced(_step.losses(tables, inputs, attributes, reduced, sampled=sampled))


def _sampled(
    hidden: Hidden,
    classes: Classes,
    labels: tf.Tensor,
    values: Sequence[tf.Tensor | None],
    reduced: Reduction,
    **attributes: Any,
) -> tf.Tensor:
    candidates, true_count, sampled_count = values
    counts = true_count is not None
    inputs = {
        **op_inputs(hidden, classes, labels),
        "sampled_candidates": candidates,
        "true_expected_count": [true_count] if counts else [],
        "sampled_expected_count": [sampled_count] if counts else [],
    }
    return _reduced_losses(hidden, classes, inputs, reduced, attributes, sampled=True)


def _tf_nn_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    sampling: tuple,
    reducing: tuple,
    scaling: tuple,
    **attributes: Any,
) -> tf.Tensor:
    """The losses that take their arguments as tf.nn does."""
    num_sampled, num_classes, num_true, sampled_values, sampler, seed = sampling
    sample_weight, ignore_label, reduction = reducing
    num_true = to_integer("num_true", num_true, 1)
    num_classes = to_integer("num_classes", num_classes, 1)
    weights = table("weights", weights)
    if weights.rows is not None and num_classes > weights.rows:
        raise ValueError(
            f"num_classes = {num_classes} is not in [1, {weights.rows}], the rows of weights"
        )
    inputs = to_tensor("inputs", inputs)
    if not inputs.shape.is_compatible_with([None, None]):
        raise ValueError(f"inputs has shape {inputs.shape}, expected [batch, dim]")
    hidden = activations(tf.ensure_shape(inputs, [None, None]), weights.dtype)
    classes = competing(weights, biases, hidden)
    labels = to_ids("labels", labels)
    if not labels.shape.is_compatible_with([None, num_true]):
        raise ValueError(
            f"labels has shape {labels.shape}, expected [batch, num_true] = [batch, {num_true}]"
        )
    labels = to_labels(tf.ensure_shape(labels, [None, num_true]), hidden)
    values = candidates_of(
        num_sampled, sampler, sampled_values, labels, num_classes, ignore_label, seed
    )
    if values is None:
        raise ValueError("num_sampled = None, expected a number of classes of at least 1")
    if values[1] is not None:  # TensorFlow's samplers leave the batch unknown
        values = (values[0], tf.reshape(values[1], tf.shape(labels)), values[2])
    reduced = _reduction(reduction, hidden, classes, labels, sample_weight, ignore_label)
    loss = _sampled(
        hidden,
        classes,
        labels,
        values,
        reduced,
        **attributes,
        **logit_options(weights.dtype, ignore_label, *scaling),
    )
    return tf.cast(loss, inputs.dtype)


# ---- How the losses of the examples become one ---------------------------------------------------


def _reduction(
    reduction: str,
    hidden: Hidden,
    classes: Classes,
    labels: tf.Tensor,
    sample_weight: Any,
    ignore_label: int | None,
) -> Reduction:
    dtype = gradients.accumulator(classes.weights.dtype)
    shapes = hidden.shape, hidden.static_shape
    return Reduction(reduction, labels, *shapes, dtype, sample_weight, ignore_label)
