"""Softmax over the candidates of a batch: the loss of models with two towers.

Each query is paired with a candidate, and the candidates of the other queries are its negatives.
Their vectors are made by the model, so that gradients flow into both towers, and there are as many
logits as pairs of a query and a candidate: batches are as large as memory allows. Here the logits
are not stored.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from fastw2v._core import xla
from fastw2v._core.arguments import (
    to_floats,
    to_ids,
    to_integer,
    to_number,
    to_tensor,
    wrong_shape,
)
from fastw2v._core.tables import check_float
from fastw2v._losses import prediction
from fastw2v._losses.build import Sampling, loss_call
from fastw2v.distribute import Group

__all__ = ["in_batch_softmax_loss"]


@tf.autograph.experimental.do_not_convert
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
    group: Group | None = None,
    sample_weight: Any = None,
    reduction: str = "none",
    compute_dtype: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """Cross-entropy of a softmax over the candidates of the batch, without its logits.

    The loss of the query b is ``logsumexp_c z[b, c] - z[b, b]``, where ``z[b, c] =
    dot(queries[b], candidates[c]) / temperature - log_q[c]`` and ``c`` goes over all candidates:
    those of the batch, and those given as ``negatives``. The numbers are those of
    ``tfrs.tasks.Retrieval``, whose loss is the sum, and of the layers of ``keras_rs`` that correct
    and select logits.

    A candidate comes into the batch as often as it is popular, and would be pushed down for it:
    the logarithm ``log_q`` of how probable it is there is subtracted from its logits (Yi et al.
    2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", equation
    3). `fastw2v.keras.StreamingLogQ` estimates it.

    Args:
        queries: Vectors [batch, dim]; cast to the dtype of ``candidates`` where that differs.
        candidates: Vectors [batch, dim] of float32, float64, float16 or bfloat16; that of row b
            belongs to the query of row b.
        candidate_ids: Integers or strings [batch]. A candidate of the same id as that of the query
            (an accidental hit) does not compete. None: all compete.
        log_q: Floats [batch], finite: the logarithms of the probabilities, or of expected counts,
            with which the candidates come into a batch. None: nothing is subtracted.
        negatives: Vectors [n, dim] of more candidates, drawn from all items, say, for all queries.
        negative_ids, negative_log_q: The same of these, [n]; given where those of the candidates
            are.
        num_hard_negatives: At least 1: a query is compared with so many of its negatives, those of
            the largest logits, the lower row first among equal ones. None, or at least as many as
            there are: with all.
        temperature: Above 0, divides the products; a number, or a scalar tensor or variable, which
            has a gradient.
        symmetric: Whether the loss is the mean of this one and of the same with the roles
            exchanged, in which a candidate is compared with all queries: without ``negatives`` and
            ``log_q``, and without the queries of candidates of its id.
        group: In a replica of a `tf.distribute.Strategy`, a `fastw2v.distribute.Group` whose
            members' candidates (and, where ``symmetric``, queries) all compete; each has the same
            number of them. Ids are integers then. ``negatives`` are those of the replica.
        sample_weight: Factor on the loss of each query, a scalar or [batch].
        reduction: "none", "sum" or "mean", as in `softmax_loss`.
        compute_dtype: As in `softmax_loss`.
        name: Name of the op.

    On a GPU, the CPU computes the loss where ``candidate_ids`` or ``num_hard_negatives`` are given.

    Returns:
        The loss of each query in nats, [batch], or a scalar when ``reduction`` asks for it. The
        gradients of queries, candidates, negatives, the probabilities and a temperature are dense;
        which negatives are the hardest is not differentiated.

    Raises:
        ValueError: Wrong rank, dtype, shape or option, or ids or ``log_q`` of a part of the
            candidates only.
        tf.errors.InvalidArgumentError: Sizes that are known only when it runs do not fit.

    Example:
        >>> import fastw2v
        >>> import tensorflow as tf
        >>> queries, candidates = tf.Variable(tf.eye(3)), tf.Variable(tf.eye(3))
        >>> loss = fastw2v.in_batch_softmax_loss(queries, candidates)
        >>> [round(float(x), 4) for x in loss]  # log(e + 2) - 1
        [0.5514, 0.5514, 0.5514]
        >>> loss = fastw2v.in_batch_softmax_loss(queries, candidates, candidate_ids=[7, 8, 7])
        >>> [round(float(x), 4) for x in loss]  # log(e + 1) - 1 where a candidate stands twice
        [0.3133, 0.5514, 0.3133]
    """
    with tf.name_scope(name or "in_batch_softmax_loss"):
        ours = _Candidates.of("candidates", candidates, candidate_ids, log_q)
        queries = _vectors("queries", queries, ours.vectors.dtype)
        queries, ours = _paired(queries, ours)
        queries = _divided(queries, temperature)
        if num_hard_negatives is not None:
            num_hard_negatives = to_integer("num_hard_negatives", num_hard_negatives, 1)
        batch = tf.shape(queries, tf.int64)[0]
        labels, everyone = tf.range(batch), ours
        if group is not None and group.size > 1:
            labels += group.rank * batch
            everyone = ours.gathered(group)
        competitors = everyone
        if negatives is not None:
            more = _Candidates.of("negatives", negatives, negative_ids, negative_log_q)
            competitors = everyone.with_more(more)
        elif negative_ids is not None or negative_log_q is not None:
            raise ValueError("negative_ids or negative_log_q is given without negatives")
        options = {
            "sample_weight": sample_weight,
            "reduction": reduction,
            "compute_dtype": compute_dtype,
        }
        loss = _one_way(queries, competitors, labels, num_hard_negatives, options)
        if not symmetric:
            return loss
        asking = _Candidates(queries, ours.ids, None)
        if everyone is not ours:
            asking = asking.gathered(group)
        back = _one_way(ours.vectors, asking, labels, num_hard_negatives, options)
        return tf.nest.map_structure(lambda x, y: 0.5 * (x + y), loss, back)


class _Candidates(NamedTuple):
    """What competes for a query."""

    vectors: tf.Tensor  # [n, dim]
    ids: tf.Tensor | None  # int64 or string [n]
    log_q: tf.Tensor | None  # [n], in the dtype of the vectors

    @classmethod
    def of(cls, name: str, vectors: Any, ids: Any, log_q: Any) -> _Candidates:
        """Checks the arguments of a user.

        Args:
            name: Of ``vectors``, "candidates" or "negatives".
            vectors, ids, log_q: As the user gave them.

        Raises:
            ValueError: One has another rank, dtype or length.
        """
        prefix = {"candidates": "", "negatives": "negative_"}[name]
        vectors = _vectors(name, vectors)
        checks = []
        if ids is not None:
            ids_name = prefix + "ids" if prefix else "candidate_ids"
            ids = to_tensor(ids_name, ids)
            if ids.dtype != tf.string:
                ids = to_ids(ids_name, ids)
            checks += _check_length(ids_name, ids, name, vectors)
        if log_q is not None:
            log_q = to_floats(prefix + "log_q", log_q, vectors.dtype)
            checks += _check_length(prefix + "log_q", log_q, name, vectors)
        return cls(vectors, ids, log_q).after(checks)

    def after(self, checks: list[Any]) -> _Candidates:
        """These, once the checks of a graph have passed: no op sees sizes that do not fit, so
        that the message is always that of the check."""
        if not checks:
            return self
        with tf.control_dependencies(checks):
            return _Candidates(*(None if x is None else tf.identity(x) for x in self))

    def gathered(self, group: Group) -> _Candidates:
        """Those of all members of a group."""
        if self.ids is not None and self.ids.dtype == tf.string:
            raise ValueError(
                "candidate_ids has dtype string, expected integers where a group is given: "
                "collectives do not take strings"
            )
        return _Candidates(*(None if x is None else group.all_gather(x) for x in self))

    def with_more(self, more: _Candidates) -> _Candidates:
        """These, followed by others.

        Raises:
            ValueError: Only one of the two has ids or probabilities, or their widths or dtypes
                differ.
        """
        if self.vectors.dtype != more.vectors.dtype:
            raise ValueError(
                f"negatives has dtype {more.vectors.dtype.name}, but candidates has dtype "
                f"{self.vectors.dtype.name}; they must be equal"
            )
        if not more.vectors.shape[1:].is_compatible_with(self.vectors.shape[1:]):
            raise ValueError(
                f"negatives has width {more.vectors.shape[1]}, but candidates has width "
                f"{self.vectors.shape[1]}"
            )
        for ours, theirs, name, other in (
            (self.ids, more.ids, "candidate_ids", "negative_ids"),
            (self.log_q, more.log_q, "log_q", "negative_log_q"),
        ):
            if (ours is None) != (theirs is None):
                given, missing = (other, name) if ours is None else (name, other)
                raise ValueError(f"{given} is given without {missing}: give both, or neither")
            if ours is not None and theirs is not None and ours.dtype != theirs.dtype:
                raise ValueError(
                    f"{other} has dtype {theirs.dtype.name}, but {name} has dtype {ours.dtype.name}"
                )
        pairs = zip(self, more, strict=True)
        return _Candidates(*(None if x is None else tf.concat([x, y], 0) for x, y in pairs))


def _one_way(
    queries: tf.Tensor,
    candidates: _Candidates,
    labels: tf.Tensor,
    num_hard_negatives: int | None,
    options: dict[str, Any],
) -> Any:
    """The loss of queries [batch, dim], whose candidates are ``labels``."""
    vectors, ids, log_q = candidates
    excluded = tf.stack([labels, labels + 1], axis=1)  # what is none of a query's negatives
    if ids is not None:
        # Candidates of one id stand together, so that the hits of a query are a range.
        order, excluded = _by_id(ids, labels)
        places = tf.math.invert_permutation(order)
        vectors = _permuted(vectors, order, places)
        labels = tf.gather(places, labels)
        if log_q is not None:
            log_q = _permuted(log_q, order, places)
    elif num_hard_negatives is not None:
        vectors = tf.reshape(vectors, tf.shape(vectors))  # whose gradient is dense
    vectors, log_q = _not_empty(vectors), None if log_q is None else _not_empty(log_q)
    tables = {"weights": vectors, "biases": None if log_q is None else -log_q}
    options = {**options, "tells": False}  # vectors of a model that is evaluated, a given log_q

    def against_all() -> Any:
        met = None if ids is None else excluded
        return loss_call(tables, queries, labels, excluded=met, **options).value()

    def against_hardest() -> Any:
        inputs, weights, biases = (
            None if x is None else tf.stop_gradient(x) for x in (queries, *tables.values())
        )
        logits, hardest = prediction.top_k(
            inputs, weights, biases, num_hard_negatives, excluded=excluded, tells=False
        )
        # Where there are not so many: a label among the sampled classes does not compete twice.
        hardest = tf.where(logits == -math.inf, labels[:, tf.newaxis], hardest)
        sampling = Sampling(sampled_values=(hardest, None, None))
        return loss_call(tables, queries, labels, sampling, **options).value()

    if num_hard_negatives is None:
        return against_all()
    total = vectors.shape[0]
    if total is not None:
        return against_hardest() if num_hard_negatives < total - 1 else against_all()
    few = tf.shape(vectors)[0] - 1 <= num_hard_negatives
    return tf.cond(few, against_all, against_hardest)


@tf.custom_gradient
def _permuted(x: tf.Tensor, order: tf.Tensor, places: tf.Tensor) -> Any:
    """Rows in another order, whose inverse is ``places``; the gradient is dense."""

    def gradient(d: Any) -> tuple[tf.Tensor, None, None]:
        return tf.gather(tf.convert_to_tensor(d), places), None, None

    return tf.gather(x, order), gradient


def _not_empty(x: tf.Tensor) -> tf.Tensor:
    """With a row of zeros where there is none, of an empty batch: there must be a class."""
    if x.shape[0]:
        return x
    missing = tf.cast(tf.equal(tf.shape(x)[0], 0), tf.int32)
    padded = tf.pad(x, [[0, missing]] + [[0, 0]] * (x.shape.rank - 1))
    padded.set_shape([None, *x.shape[1:]])
    return padded


def _by_id(ids: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An order of candidates in which equal ids follow each other, int64 [n], and in it the range
    [batch, 2] of those that have the id of a label."""
    if ids.dtype == tf.string:
        ids = tf.unique(ids, tf.int64).idx
    order = tf.argsort(ids, stable=True)
    sorted_ids, wanted = tf.gather(ids, order), tf.gather(ids, labels)
    ends = [tf.searchsorted(sorted_ids, wanted, side, tf.int64) for side in ("left", "right")]
    return tf.cast(order, tf.int64), tf.stack(ends, axis=1)


def _vectors(name: str, value: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """An argument [n, dim] of floats, cast to ``dtype``."""
    vectors = to_tensor(name, value)
    check_float(name, vectors.dtype)
    if not vectors.shape.is_compatible_with([None, None]):
        raise wrong_shape(
            name, vectors.shape, "[batch, dim]" if name != "negatives" else "[n, dim]"
        )
    vectors = tf.ensure_shape(vectors, [None, None])
    return vectors if dtype is None else tf.cast(vectors, dtype)


def _check_length(name: str, values: tf.Tensor, of: str, vectors: tf.Tensor) -> list[Any]:
    """The checks of a graph that an argument has a number for each row of another.

    Raises:
        ValueError: It has not, whatever its sizes will be.
    """
    if not values.shape.is_compatible_with(vectors.shape[:1]):
        raise wrong_shape(name, values.shape, f"[{vectors.shape[0]}], one for each of {of}")
    known = values.shape.is_fully_defined() and vectors.shape[0] is not None
    if known or xla.compiles():
        return []
    message = f"{name} has another length than {of}"
    return [tf.debugging.assert_equal(tf.shape(values), tf.shape(vectors)[:1], message)]


def _paired(queries: tf.Tensor, candidates: _Candidates) -> tuple[tf.Tensor, _Candidates]:
    """The two, of which there are as many, and as wide ones."""
    vectors = candidates.vectors
    if not queries.shape.is_compatible_with(vectors.shape):
        raise ValueError(
            f"candidates has shape {vectors.shape}, but queries has shape {queries.shape}: row "
            "b of the one belongs to row b of the other; more candidates are given as negatives"
        )
    if queries.shape.is_fully_defined() and vectors.shape.is_fully_defined():
        return queries, candidates
    if xla.compiles():
        return tf.reshape(queries, tf.shape(vectors)), candidates
    message = "candidates has another shape than queries"
    fits = tf.debugging.assert_equal(tf.shape(queries), tf.shape(vectors), message)
    with tf.control_dependencies([fits]):
        return tf.identity(queries), candidates.after([fits])


def _divided(queries: tf.Tensor, temperature: Any) -> tf.Tensor:
    """The queries that make the logits of a temperature."""
    if tf.is_tensor(temperature) or hasattr(temperature, "shape"):
        temperature = to_floats("temperature", temperature, queries.dtype)
        if not temperature.shape.is_compatible_with([]):
            raise wrong_shape("temperature", temperature.shape, "a number or a scalar")
        return queries / temperature
    number = to_temperature(temperature)
    return queries if number == 1.0 else queries / tf.constant(number, queries.dtype)


def to_temperature(value: Any) -> float:
    """A number above 0."""
    if to_number("temperature", value, 0.0, math.inf) == 0.0:
        raise ValueError(f"temperature = {value!r} is not in (0, inf)")
    return float(value)  # as exact as the vectors that it divides
