"""The definition of every loss in plain TensorFlow: the one reference that tests compare with.

Each function takes the arguments of its namesake in `fastw2v` (but for seeds and samplers: sampled
candidates are given) and returns one loss per example. Logits are stored, so use these on small
problems only. 16-bit tables are computed in float32.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

__all__ = [
    "candidate_logits",
    "exact_loss",
    "hidden_rows",
    "in_batch_softmax_loss",
    "linear_cross_entropy",
    "nce_loss",
    "negative_sampling_loss",
    "sampled_loss",
    "sampled_softmax_loss",
    "softmax_loss",
    "top_k",
]


def softmax_loss(
    embeddings: Any,
    weights: Any,
    biases: Any,
    inputs: Any,
    labels: Any,
    *,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    combiner: str = "mean",
    **options: Any,
) -> tf.Tensor:
    """Softmax cross-entropy of the rows of ``embeddings`` picked by ``inputs``."""
    hidden = hidden_rows(_table(embeddings), inputs, combiner)
    weights, biases = _table(weights), _table(biases)
    if sampled_values is None:
        return exact_loss(hidden, weights, biases, labels, **options)
    return sampled_loss(
        hidden,
        weights,
        biases,
        labels,
        sampled_values,
        remove_accidental_hits=remove_accidental_hits,
        **options,
    )


def linear_cross_entropy(
    labels: Any, inputs: Any, weights: Any, biases: Any = None, **options: Any
) -> tf.Tensor:
    """Softmax cross-entropy of float activations."""
    return exact_loss(
        tf.convert_to_tensor(inputs), _table(weights), _table(biases), labels, **options
    )


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    *,
    sampled_values: Any,
    remove_accidental_hits: bool = True,
    **options: Any,
) -> tf.Tensor:
    """Softmax over the true and the sampled classes, corrected by their expected counts.

    Jean et al. (2015), "On Using Very Large Target Vocabulary for Neural Machine Translation",
    section 3.
    """
    return sampled_loss(
        tf.convert_to_tensor(inputs),
        _table(weights),
        _table(biases),
        labels,
        sampled_values,
        remove_accidental_hits=remove_accidental_hits,
        **options,
    )


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    *,
    sampled_values: Any,
    remove_accidental_hits: bool = False,
    **options: Any,
) -> tf.Tensor:
    """Noise-contrastive estimation: Gutmann and Hyvärinen (2010), equation 3.

    Each of ``num_true`` labels has the target ``1 / num_true``, as in ``tf.nn.nce_loss``.
    """
    labels = tf.convert_to_tensor(labels)
    return sampled_loss(
        tf.convert_to_tensor(inputs),
        _table(weights),
        _table(biases),
        labels,
        sampled_values,
        link="logistic",
        positive_target=1.0 / labels.shape[1],
        remove_accidental_hits=remove_accidental_hits,
        **options,
    )


def negative_sampling_loss(
    embeddings: Any,
    weights: Any,
    inputs: Any,
    labels: Any,
    *,
    sampled_values: Any,
    remove_accidental_hits: bool = True,
    combiner: str = "mean",
    **options: Any,
) -> tf.Tensor:
    """word2vec's negative sampling: Mikolov et al. (2013), "Distributed Representations of Words
    and Phrases and their Compositionality", equation 4."""
    return sampled_loss(
        hidden_rows(_table(embeddings), inputs, combiner),
        _table(weights),
        None,
        labels,
        (sampled_values[0], None, None),
        link="logistic",
        remove_accidental_hits=remove_accidental_hits,
        **options,
    )


def in_batch_softmax_loss(
    queries: Any,
    candidates: Any,
    *,
    candidate_ids: Any = None,
    log_q: Any = None,
    negatives: Any = None,
    negative_ids: Any = None,
    negative_log_q: Any = None,
    num_hard_negatives: int | None = None,
    temperature: Any = 1.0,
    symmetric: bool = False,
) -> tf.Tensor:
    """Softmax over the candidates of the batch: Yi et al. (2019), "Sampling-Bias-Corrected Neural
    Modeling for Large Corpus Item Recommendations", equation 3."""
    queries, candidates = tf.convert_to_tensor(queries), tf.convert_to_tensor(candidates)
    ids, pool, minus = candidate_ids, candidates, log_q
    if negatives is not None:
        pool = tf.concat([candidates, negatives], 0)
        ids = None if ids is None else tf.concat([ids, negative_ids], 0)
        minus = None if minus is None else tf.concat([minus, negative_log_q], 0)
    logits = tf.matmul(queries, pool, transpose_b=True) / temperature
    if minus is not None:
        logits -= tf.cast(minus, logits.dtype)
    loss = _paired_loss(logits, ids, num_hard_negatives)
    if not symmetric:
        return loss
    logits = tf.matmul(candidates, queries, transpose_b=True) / temperature
    return (loss + _paired_loss(logits, candidate_ids, num_hard_negatives)) / 2


def _paired_loss(logits: tf.Tensor, ids: Any, num_hard_negatives: int | None) -> tf.Tensor:
    """The cross-entropy of row b with the class b, against others of another id."""
    batch, classes = logits.shape
    own = tf.eye(batch, classes, dtype=tf.bool)
    if ids is not None:
        ids = tf.convert_to_tensor(ids)
        hits = (ids[:batch, tf.newaxis] == ids) & ~own
        logits = tf.where(hits, _none(logits), logits)
    own_logit = tf.linalg.diag_part(logits)
    others = tf.where(own, _none(logits), logits)
    if num_hard_negatives is not None:
        others = tf.math.top_k(others, min(num_hard_negatives, classes)).values
    return tf.reduce_logsumexp(tf.concat([own_logit[:, None], others], 1), 1) - own_logit


def top_k(
    inputs: Any,
    weights: Any,
    biases: Any = None,
    k: int = 10,
    *,
    excluded: Any = None,
    **options: Any,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest logits and their classes. Those of classes in ``excluded``, a range for each
    example, [batch, 2], are -inf."""
    logits = _logits(tf.convert_to_tensor(inputs), _table(weights), _table(biases), **options)
    if excluded is not None:
        logits = tf.where(_inside(excluded, logits), _none(logits), logits)
    values, indices = tf.math.top_k(logits, k)
    return values, tf.cast(indices, tf.int64)


def hidden_rows(embeddings: tf.Tensor, inputs: Any, combiner: str = "mean") -> tf.Tensor:
    """Rows of ``embeddings``: one per id, or the sum or mean of a bag (negative: padding)."""
    if isinstance(inputs, tf.RaggedTensor):
        hidden = tf.reduce_sum(tf.gather(embeddings, inputs), axis=1)
        present = tf.cast(inputs.row_lengths()[:, tf.newaxis], hidden.dtype)
        return hidden / tf.maximum(present, 1) if combiner == "mean" else hidden
    inputs = tf.convert_to_tensor(inputs)
    if inputs.shape.rank == 1:
        return tf.gather(embeddings, inputs)
    present = tf.cast(inputs >= 0, embeddings.dtype)
    rows = tf.gather(embeddings, tf.maximum(inputs, 0)) * present[..., tf.newaxis]
    hidden = tf.reduce_sum(rows, axis=1)
    if combiner == "mean":
        hidden /= tf.maximum(tf.reduce_sum(present, axis=1, keepdims=True), 1)
    return hidden


def exact_loss(
    hidden: tf.Tensor,
    weights: tf.Tensor,
    biases: tf.Tensor | None,
    labels: Any,
    *,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    z_loss: float = 0.0,
    excluded: Any = None,
    **logit_options: Any,
) -> tf.Tensor:
    """All classes compete. ``hidden`` [batch, dim], ``labels`` [batch] or [batch, num_true].

    Of the classes in the range ``excluded[b]``, ``excluded`` [batch, 2], only the labels compete
    for the example b.

    The logit of a class that is a label of the example, once or several times, is ``margin`` less
    (Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", equation 4),
    whatever then looks at it: the normalizer, the targets, label smoothing.
    """
    logits = _logits(hidden, weights, biases, **logit_options)
    labels, present = _labels(labels, ignore_label, logits.dtype)
    if margin:
        is_label = tf.reduce_any(_is_label(logits, labels, present), axis=1)
        logits -= margin * tf.cast(is_label, logits.dtype)
    true_logits = tf.gather(logits, labels, batch_dims=1)
    if excluded is not None:
        is_label = tf.reduce_any(_is_label(logits, labels, present), axis=1)
        logits = tf.where(_inside(excluded, logits) & ~is_label, _none(logits), logits)
    # Everything relative to the largest logit: a large common offset cancels.
    largest = tf.stop_gradient(tf.reduce_max(logits, axis=1, keepdims=True))
    log_sum = tf.math.log(tf.reduce_sum(tf.exp(logits - largest), axis=1))
    below_true = _mean(largest - true_logits, present)
    below_all = tf.reduce_mean(largest - logits, axis=1) if label_smoothing else 0.0
    loss = log_sum + (1 - label_smoothing) * below_true + label_smoothing * below_all
    loss += z_loss * tf.square(log_sum + largest[:, 0])
    return _without_ignored(loss, present)


def sampled_loss(
    hidden: tf.Tensor,
    weights: tf.Tensor,
    biases: tf.Tensor | None,
    labels: Any,
    sampled_values: Any,
    *,
    link: str = "softmax",
    positive_target: float = 1.0,
    remove_accidental_hits: bool = True,
    ignore_label: int | None = None,
    z_loss: float = 0.0,
    **logit_options: Any,
) -> tf.Tensor:
    """The labels of an example compete with sampled classes: ``sampled_values`` is the triple that
    the candidate samplers return, its counts None where nothing is to be subtracted."""
    sampled, true_count, sampled_count = sampled_values
    sampled = tf.cast(tf.convert_to_tensor(sampled), tf.int64)
    dtype = _accumulator(weights.dtype)
    hidden = tf.cast(hidden, dtype)  # once: its gradient is a sum, which is rounded at its end
    labels, present = _labels(labels, ignore_label, dtype)
    true_logits = candidate_logits(hidden, weights, biases, labels, **logit_options)
    if sampled.shape.rank == 1:  # one list for the whole batch
        rows = tf.gather(weights, sampled)
        own_biases = None if biases is None else tf.gather(biases, sampled)
        sampled_logits = _logits(hidden, rows, own_biases, **logit_options)
        sampled = sampled[tf.newaxis]
    else:
        sampled_logits = candidate_logits(hidden, weights, biases, sampled, **logit_options)
    if true_count is not None:
        true_logits -= tf.math.log(tf.cast(tf.reshape(true_count, tf.shape(labels)), dtype))
        sampled_logits -= tf.math.log(tf.cast(sampled_count, dtype))
    logits = tf.concat([true_logits, sampled_logits], axis=1)

    competes = tf.ones_like(sampled_logits, tf.bool)
    if remove_accidental_hits:
        hits = (sampled[:, :, tf.newaxis] == labels[:, tf.newaxis, :]) & present[:, tf.newaxis, :]
        competes = ~tf.reduce_any(hits, axis=2)
    competes = tf.concat([present, competes], axis=1)
    num_true = tf.shape(labels)[1]
    if link == "logistic":
        zero = tf.zeros_like(logits)
        safe = tf.where(competes, logits, zero)
        targets = tf.concat(
            [positive_target * tf.ones_like(safe[:, :num_true]), zero[:, num_true:]], axis=1
        )
        terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=safe)
        return _without_ignored(tf.reduce_sum(tf.where(competes, terms, zero), axis=1), present)
    logits = tf.where(competes, logits, tf.constant(-math.inf, dtype))
    largest = tf.stop_gradient(tf.reduce_max(logits, axis=1, keepdims=True))
    largest = tf.where(tf.math.is_inf(largest) & (largest < 0), tf.zeros_like(largest), largest)
    log_sum = tf.math.log(tf.reduce_sum(tf.exp(logits - largest), axis=1))
    loss = log_sum + _mean(largest - logits[:, :num_true], present)
    loss += z_loss * tf.square(log_sum + largest[:, 0])
    return _without_ignored(loss, present)


def candidate_logits(
    hidden: tf.Tensor,
    weights: tf.Tensor,
    biases: tf.Tensor | None,
    candidates: tf.Tensor,
    *,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    compute_dtype: Any = None,
) -> tf.Tensor:
    """Logits [batch, n] of each example's own candidates [batch, n]."""
    dtype = _accumulator(weights.dtype)
    rows = tf.gather(weights, candidates)
    hidden, rows = (_operand(x, dtype, compute_dtype) for x in (hidden, rows))
    logits = tf.einsum("bd,bcd->bc", hidden, rows)
    biases = None if biases is None else tf.gather(biases, candidates)
    return _adjust(logits, biases, logit_scale, logit_softcap)


def _table(table: Any) -> tf.Tensor | None:
    if table is None:
        return None
    if isinstance(table, (list, tuple)):
        return tf.concat([tf.convert_to_tensor(shard) for shard in table], axis=0)
    return tf.convert_to_tensor(table)


def _accumulator(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype


def _logits(
    hidden: tf.Tensor,
    weights: tf.Tensor,
    biases: tf.Tensor | None,
    *,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    compute_dtype: Any = None,
) -> tf.Tensor:
    dtype = _accumulator(weights.dtype)
    hidden, weights = (_operand(x, dtype, compute_dtype) for x in (hidden, weights))
    logits = tf.matmul(hidden, weights, transpose_b=True)
    return _adjust(logits, biases, logit_scale, logit_softcap)


def _operand(x: tf.Tensor, dtype: tf.DType, compute_dtype: Any) -> tf.Tensor:
    """An operand of a matrix product, rounded if so asked; its gradient is not rounded."""
    x = tf.cast(x, dtype)
    if compute_dtype is None or tf.as_dtype(compute_dtype).size >= dtype.size:
        return x
    return tf.grad_pass_through(lambda x: tf.cast(tf.cast(x, compute_dtype), dtype))(x)


def _adjust(
    logits: tf.Tensor, biases: tf.Tensor | None, logit_scale: float, logit_softcap: float | None
) -> tf.Tensor:
    logits *= logit_scale
    if biases is not None:
        logits += tf.cast(biases, logits.dtype)
    if logit_softcap:
        logits = logit_softcap * tf.tanh(logits / logit_softcap)
    return logits


def _labels(labels: Any, ignore_label: int | None, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels [batch, num_true] with ignored ones made 0, and which are not ignored."""
    labels = tf.cast(tf.convert_to_tensor(labels), tf.int64)
    if labels.shape.rank == 1:
        labels = labels[:, tf.newaxis]
    if ignore_label is None:
        return labels, tf.ones_like(labels, tf.bool)
    present = labels != ignore_label
    return tf.where(present, labels, tf.zeros_like(labels)), present


def _is_label(logits: tf.Tensor, labels: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Whether a class is this label of an example, [batch, num_true, classes]."""
    classes = tf.range(tf.shape(logits)[1], dtype=labels.dtype)
    return (labels[:, :, tf.newaxis] == classes) & present[:, :, tf.newaxis]


def _inside(ranges: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Whether a class is in the range of an example, [batch, classes]."""
    classes = tf.range(tf.shape(logits)[1], dtype=ranges.dtype)
    return (classes >= ranges[:, :1]) & (classes < ranges[:, 1:])


def _none(logits: tf.Tensor) -> tf.Tensor:
    """The logit of a class that does not compete."""
    return tf.constant(-math.inf, logits.dtype)


def _mean(values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Mean over the labels that are not ignored."""
    total = tf.reduce_sum(tf.where(present, values, tf.zeros_like(values)), axis=1)
    count = tf.reduce_sum(tf.cast(present, values.dtype), axis=1)
    return total / tf.maximum(count, 1)


def _without_ignored(loss: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.reduce_any(present, axis=1), loss, tf.zeros_like(loss))
