"""The adaptive softmax: a loss over very many classes of which few are frequent.

Frequent classes, the *shortlist*, are rows of the *head*, which also has a row for each *cluster*
of rarer classes. The logits of a cluster come from a narrower row: ``inputs @ projection``, with
the weights of its classes. The probability of a class of a cluster is that of the cluster in the
head times that of the class in the cluster. An example is compared with the classes of the head,
and with those of a cluster only if its label lies there.

Classes are sorted by falling frequency: first those of the shortlist, then those of each cluster.

Grave, Joulin, Cissé, Grangier and Jégou, "Efficient softmax approximation for GPUs", ICML 2017. The
numbers are those of PyTorch's ``AdaptiveLogSoftmaxWithLoss`` for the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fastw2v import ops
from fastw2v._core import tensorflow_ops
from fastw2v._core.arguments import to_floats, to_ids, to_integer, to_tensor, wrong_shape
from fastw2v._core.tables import ACCUMULATORS, tables_of
from fastw2v._losses.build import Hidden, activations
from fastw2v._losses.options import checked
from fastw2v._losses.reduction import Reduction

__all__ = ["adaptive_log_probabilities", "adaptive_softmax_loss", "adaptive_top_k"]

_IGNORED = -1  # the label, in the head and in a cluster, of an example that does not count there


def adaptive_softmax_loss(
    labels: Any,
    inputs: Any,
    head: Any,
    tails: Sequence[tuple[Any, Any]],
    head_biases: Any = None,
    *,
    sample_weight: Any = None,
    ignore_label: int | None = None,
    reduction: str = "none",
    compute_dtype: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """Cross-entropy of the adaptive softmax, without its logits.

    Args:
        labels: Integer classes, of the shape of ``inputs`` but for the last axis.
        inputs: Activations [..., dim]; cast to the dtype of ``head`` where that differs.
        head: Table [shortlist + len(tails), dim]: the frequent classes, then a row for each
            cluster.
        tails: Of each cluster a pair of a projection [dim, width] and a table [classes, width],
            in the dtype of ``head``.
        head_biases: Table [shortlist + len(tails)], or None for none.
        sample_weight, ignore_label, reduction, compute_dtype, name: As in `linear_cross_entropy`.

    Returns:
        The loss in nats, in the shape of ``labels``, or a scalar when ``reduction`` asks for it.

    Raises:
        ValueError: Wrong rank, dtype, shape or option.
        tf.errors.InvalidArgumentError: A label out of range.

    Example:
        >>> import fastw2v
        >>> import tensorflow as tf
        >>> head = tf.Variable(tf.zeros([6, 8]))  # 4 frequent classes and 2 clusters
        >>> tails = [(tf.Variable(tf.zeros([8, 4])), tf.Variable(tf.zeros([10, 4]))),
        ...          (tf.Variable(tf.zeros([8, 2])), tf.Variable(tf.zeros([86, 2])))]
        >>> loss = fastw2v.adaptive_softmax_loss(
        ...     labels=[3, 13, 99], inputs=tf.ones([3, 8]), head=head, tails=tails)
        >>> [round(float(x), 4) for x in loss]  # log 6, log 6 + log 10, log 6 + log 86
        [1.7918, 4.0943, 6.2461]
    """
    with tf.name_scope(name or "adaptive_softmax_loss"):
        model = _Model.of(head, tails, head_biases)
        options = checked(
            model.dtype,
            ignore_label=ignore_label,
            reduction=reduction,
            compute_dtype=compute_dtype,
        )
        hidden = activations(to_tensor("inputs", inputs), model.table)
        rows = hidden.inputs
        labels = _vector_of_labels(labels, hidden, model.num_classes)
        if sample_weight is not None:
            sample_weight = to_floats("sample_weight", sample_weight, ACCUMULATORS[model.dtype])
        reduce = Reduction(
            options.reduction,
            labels[:, tf.newaxis],
            hidden.shape,
            hidden.static_shape,
            model.dtype,
            sample_weight,
            options.ignore_label,
        )
        labels = _checked_range(labels, model.num_classes, options.ignore_label)
        counts = None if options.ignore_label is None else labels != options.ignore_label
        cluster = tf.searchsorted(tf.constant(model.bounds, tf.int64), labels, side="right")
        shortlist = tf.constant(model.shortlist, tf.int64)
        in_head = tf.where(cluster == 0, labels, shortlist + tf.cast(cluster, tf.int64) - 1)
        if counts is not None:
            in_head = tf.where(counts, in_head, _IGNORED)
        how = {"ignore_label": _IGNORED, "compute_dtype": compute_dtype}
        # Weights of examples may have gradients of their own, which need the losses.
        factor = reduce.coefficients() if sample_weight is None else None
        summed = factor is not None and reduce.only_reduced
        if summed:
            how.update(sample_weight=factor, reduction="sum")
        losses = ops.linear_cross_entropy(in_head, rows, head, head_biases, **how)
        for i, (projection, weights) in enumerate(tails):
            inside = cluster == i + 1
            if counts is not None:
                inside &= counts
            local = labels - model.bounds[i]
            if tensorflow_ops.only():  # which has no shapes that depend on values
                local = tf.where(inside, local, _IGNORED)
                narrow = _project(rows, projection)
                losses += ops.linear_cross_entropy(local, narrow, weights, **how)
                continue
            places = tf.where(inside)[:, 0]
            narrow = _project(tf.gather(rows, places), projection)
            of_tail = ops.linear_cross_entropy(tf.gather(local, places), narrow, weights, **how)
            if summed:
                losses += of_tail
            else:
                losses = tf.tensor_scatter_nd_add(losses, places[:, tf.newaxis], of_tail)
        return losses if summed else reduce(losses)


def adaptive_top_k(
    inputs: Any,
    head: Any,
    tails: Sequence[tuple[Any, Any]],
    head_biases: Any = None,
    k: int = 10,
    *,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The most probable classes of an adaptive softmax, among all of them.

    Args:
        inputs, head, tails, head_biases: As in `adaptive_softmax_loss`.
        k: How many, in [1, num_classes].
        name: Name of the op.

    Returns:
        Logarithms of probabilities, and int64 classes, both [..., k], the most probable first.

    Raises:
        ValueError: Wrong rank, dtype, shape or ``k``.

    Example:
        >>> import fastw2v
        >>> import tensorflow as tf
        >>> head = tf.constant([[1.], [0.], [0.]])
        >>> tails = [(tf.ones([1, 1]), tf.constant([[0.], [3.], [0.]]))]
        >>> values, classes = fastw2v.adaptive_top_k(tf.ones([1, 1]), head, tails, k=2)
        >>> classes.numpy().tolist()
        [[0, 1]]
    """
    with tf.name_scope(name or "adaptive_top_k"):
        model = _Model.of(head, tails, head_biases)
        k = to_integer("k", k, 1, model.num_classes)
        hidden = activations(to_tensor("inputs", inputs), model.table)
        rows = hidden.inputs
        shortlist, head_rows = model.shortlist, model.table.rows
        # As many as may be clusters are looked for beside the classes.
        found = min(k + len(tails), head_rows)
        values, classes, normalizer = _normalized(rows, head, head_biases, found)
        all_values = [tf.where(classes < shortlist, values, -float("inf"))]
        all_classes = [classes]
        of_clusters = _logits(rows, head, head_biases, shortlist, head_rows) - normalizer
        for i, (projection, weights) in enumerate(tails):
            size = model.size(i)
            narrow = _project(rows, projection)
            values, classes, _ = _normalized(narrow, weights, None, min(k, size))
            all_values.append(of_clusters[:, i : i + 1] + values)
            all_classes.append(classes + model.bounds[i])
        best = tf.math.top_k(tf.concat(all_values, 1), k)
        classes = tf.gather(tf.concat(all_classes, 1), best.indices, batch_dims=1)
        return _shaped(best.values, hidden, k), _shaped(classes, hidden, k)


def adaptive_log_probabilities(
    inputs: Any,
    head: Any,
    tails: Sequence[tuple[Any, Any]],
    head_biases: Any = None,
    *,
    name: str | None = None,
) -> tf.Tensor:
    """The logarithms of the probabilities of all classes, which are stored.

    Args:
        inputs, head, tails, head_biases: As in `adaptive_softmax_loss`.
        name: Name of the op.

    Returns:
        [..., num_classes].

    Raises:
        ValueError: Wrong rank, dtype or shape.

    Example:
        >>> import fastw2v
        >>> import tensorflow as tf
        >>> tails = [(tf.zeros([8, 2]), tf.zeros([10, 2]))]
        >>> values = fastw2v.adaptive_log_probabilities(tf.ones([1, 8]), tf.zeros([5, 8]), tails)
        >>> values.shape, round(float(tf.reduce_sum(tf.exp(values))), 4)
        (TensorShape([1, 14]), 1.0)
    """
    with tf.name_scope(name or "adaptive_log_probabilities"):
        model = _Model.of(head, tails, head_biases)
        hidden = activations(to_tensor("inputs", inputs), model.table)
        rows = hidden.inputs
        shortlist, head_rows = model.shortlist, model.table.rows
        of_head = tf.nn.log_softmax(_logits(rows, head, head_biases, 0, head_rows))
        parts = [of_head[:, :shortlist]]
        for i, (projection, weights) in enumerate(tails):
            size = model.size(i)
            inside = tf.nn.log_softmax(_logits(_project(rows, projection), weights, None, 0, size))
            parts.append(of_head[:, shortlist + i : shortlist + i + 1] + inside)
        return _shaped(tf.concat(parts, 1), hidden, model.num_classes)


class _Model(NamedTuple):
    """What the tables say of the classes."""

    table: Any  # the head
    dtype: tf.DType
    bounds: list[int]  # the end of the shortlist and of each cluster, in classes

    @property
    def num_classes(self) -> int:
        return self.bounds[-1]

    @property
    def shortlist(self) -> int:
        return self.bounds[0]

    def size(self, i: int) -> int:
        """Classes of the cluster i."""
        return self.bounds[i + 1] - self.bounds[i]

    @classmethod
    def of(cls, head: Any, tails: Any, head_biases: Any) -> _Model:
        """Checks the tables.

        Raises:
            ValueError: Their shapes or dtypes do not fit.
        """
        _, table, _ = tables_of({"weights": head, "biases": head_biases})
        is_list = isinstance(tails, (list, tuple))
        if not is_list or any(not isinstance(t, (list, tuple)) or len(t) != 2 for t in tails):
            raise ValueError(
                "tails is not a list of pairs (projection [dim, width], weights [classes, width])"
            )
        if table.rows is None or table.dim is None:
            raise wrong_shape("head", (table.rows, table.dim), "a static [shortlist + tails, dim]")
        if table.rows <= len(tails):
            raise ValueError(
                f"head has {table.rows} rows, expected more than the {len(tails)} tails: a row for "
                "each frequent class, and one for each tail"
            )
        bounds = [table.rows - len(tails)]
        for i, (projection, weights) in enumerate(tails):
            shapes = [
                tf.TensorShape(getattr(part, "shape", None)) for part in (projection, weights)
            ]
            fits = all(shape.rank == 2 and shape.is_fully_defined() for shape in shapes)
            if not fits or shapes[0][0] != table.dim or shapes[0][1] != shapes[1][1]:
                raise ValueError(
                    f"tails[{i}] has shapes {shapes[0]} and {shapes[1]}, expected a projection "
                    f"[dim, width] = [{table.dim}, width] and weights [classes, width]"
                )
            for name, part in (("projection", projection), ("weights", weights)):
                if tf.as_dtype(part.dtype) != table.dtype:
                    raise ValueError(
                        f"the {name} of tails[{i}] has dtype {tf.as_dtype(part.dtype).name}, "
                        f"expected that of head, {table.dtype.name}"
                    )
            bounds.append(bounds[-1] + shapes[1][0])
        return cls(table, table.dtype, bounds)


def _vector_of_labels(labels: Any, hidden: Hidden, num_classes: int) -> tf.Tensor:
    """One for each row of activations, [n]."""
    labels = to_ids("labels", labels, num_classes)
    rank = labels.shape.rank
    known = hidden.inputs.shape[:1] if hidden.static_shape is None else hidden.static_shape
    if rank is not None and not labels.shape.is_compatible_with(known):
        raise wrong_shape("labels", labels.shape, f"that of inputs but for the last axis, {known}")
    return tf.ensure_shape(tf.reshape(labels, [-1]), hidden.inputs.shape[:1])


def _checked_range(labels: tf.Tensor, num_classes: int, ignore_label: int | None) -> tf.Tensor:
    """The labels; where they run, an error if one of them is no class."""
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_label is not None:
        wrong &= labels != ignore_label
    if tensorflow_ops.only():
        return tf.where(wrong, tf.constant(num_classes, tf.int64), labels)  # no class of the head
    first = tf.boolean_mask(labels, wrong)[:1]
    if tf.executing_eagerly():
        if len(first):
            message = f"labels holds {int(first[0])}, which is not in [0, {num_classes})"
            raise tf.errors.InvalidArgumentError(None, None, message)
        return labels
    none = tf.debugging.Assert(
        tf.equal(tf.size(first), 0), ["labels holds", first, f"not in [0, {num_classes})"]
    )
    with tf.control_dependencies([none]):
        return tf.identity(labels)


def _project(rows: tf.Tensor, projection: Any) -> tf.Tensor:
    return tf.matmul(rows, tf.convert_to_tensor(projection))


def _logits(rows: tf.Tensor, weights: Any, biases: Any, begin: int, end: int) -> tf.Tensor:
    """Of the classes [begin, end), stored."""
    classes = tf.range(begin, end)
    dtype = ACCUMULATORS[rows.dtype]
    some = tf.cast(ops.lookup(weights, classes), dtype)
    logits = tf.matmul(tf.cast(rows, dtype), some, transpose_b=True)
    if biases is None:
        return logits
    return logits + tf.gather(tf.cast(tf.convert_to_tensor(biases), dtype), classes)


def _normalized(
    rows: tf.Tensor, weights: Any, biases: Any, k: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The largest logits as logarithms of probabilities, their classes, and the logarithm of the
    normalizer [batch, 1]."""
    logits, classes = ops.top_k(rows, weights, biases, k)
    of_largest = ops.linear_cross_entropy(classes[:, 0], rows, weights, biases)
    normalizer = logits[:, :1] + of_largest[:, tf.newaxis]
    return logits - normalizer, classes, normalizer


def _shaped(values: tf.Tensor, hidden: Hidden, width: int) -> tf.Tensor:
    """From [n, width] to the shape of the activations."""
    if hidden.shape is None:
        return values
    assert hidden.static_shape is not None  # it comes with the shape
    values = tf.reshape(values, tf.concat([hidden.shape, [width]], 0))
    return tf.ensure_shape(values, hidden.static_shape.concatenate(width))
