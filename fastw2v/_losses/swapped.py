"""What to say of arguments that stand in each other's place. The losses ask once a call has failed,
so that a call that works pays nothing."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v._core.tables import LossTables, unwrap

ERRORS = (TypeError, ValueError, tf.errors.InvalidArgumentError)

_BY_PLACE = inspect.Parameter.POSITIONAL_OR_KEYWORD
_SWAPPED = "inputs and labels seem to be swapped"


def explained(
    error: Exception,
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Exception:
    """The error of a call of the loss ``name``; where arguments seem to stand in each other's
    place, one that says so at its end."""
    hint = _hint(error, name, signature, args, kwargs)
    if hint is None:
        return error
    hinted: Exception
    if isinstance(error, tf.errors.OpError):
        hinted = type(error)(error.node_def, error.op, f"{error.message}\n{hint}")
    else:
        hinted = type(error)(f"{error}; {hint}")
    hinted.__cause__ = error.__cause__
    return hinted.with_traceback(error.__traceback__)


def exchanged_activations(inputs: Any, labels: Any) -> str | None:
    """What to say where activations are given as labels, and classes as activations."""
    (input_dtype, input_shape), (label_dtype, label_shape) = _look(inputs), _look(labels)
    if input_dtype is None or label_dtype is None or not label_dtype.is_floating:
        return None
    if input_dtype.is_integer:
        return f"{_SWAPPED}: inputs are integers and labels are floats"
    if None in (input_shape.rank, label_shape.rank) or not label_shape.rank:
        return None
    # Labels may be floats, too; but they are not longer than the rows that predict them.
    longer = label_shape.rank - input_shape.rank
    if longer == 0 and None not in (input_shape[-1], label_shape[-1]):
        longer = int(label_shape[-1] > input_shape[-1])
    if longer == 1:
        return f"{_SWAPPED}: inputs have shape {input_shape}, and labels {label_shape}"
    return None


def _hint(
    error: Exception,
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> str | None:
    parameters = signature.parameters
    try:
        given = signature.bind_partial(*args, **kwargs).arguments
    except TypeError:  # an argument that does not exist
        return None
    required = [each for each in parameters if parameters[each].default is inspect.Parameter.empty]
    by_place = list(parameters)[: len(args)]
    placed = [each for each in parameters if parameters[each].kind is _BY_PLACE][:6]
    in_order = f"the order of arguments is {name}({', '.join(placed)})"
    if not set(required) <= given.keys():
        return in_order if by_place else None
    if any(_is_no_table(each, given[each]) for each in LossTables._fields if each in by_place):
        return in_order
    inputs, labels = given["inputs"], given["labels"]
    if "embeddings" not in given:
        return exchanged_activations(inputs, labels)
    if isinstance(error, tf.errors.InvalidArgumentError):
        return _out_of_range(given)
    if isinstance(labels, tf.RaggedTensor) and not isinstance(inputs, tf.RaggedTensor):
        return f"{_SWAPPED}: labels are bags of ids"
    dtype, shape = _look(inputs)
    _, table_shape = _look(given["weights"])
    if dtype is not None and dtype.is_floating:
        if shape.rank and shape.rank > 1 and shape[-1:].is_compatible_with(table_shape[-1:]):
            return f"for activations in place of ids there is {_for_activations(name, given)}"
        if "inputs" in by_place and isinstance(unwrap(inputs), tf.Variable):
            return in_order
    return None


def _for_activations(name: str, given: dict[str, Any]) -> str:
    if name == "negative_sampling_loss":
        return "the layer fastw2v.keras.NegativeSampling"
    sampled = given.get("num_sampled") is not None or given.get("sampled_values") is not None
    return f"fastw2v.{'sampled_softmax_loss' if sampled else 'linear_cross_entropy'}"


def _is_no_table(name: str, value: Any) -> bool:
    """Whether it is something else, such as ids, or biases where a matrix should be."""
    value = unwrap(value)
    if not isinstance(value, (tf.Variable, tf.Tensor, np.ndarray)):
        return False  # a list, or None
    dtype, shape = _look(value)
    others_rank = 2 if name == "biases" else 1
    return dtype is None or not dtype.is_floating or shape.rank == others_rank


def _look(value: Any) -> tuple[tf.DType | None, tf.TensorShape]:
    """Dtype, None where this is no tensor, and static shape of an argument."""
    value = unwrap(value)
    try:
        if not hasattr(value, "dtype"):
            value = np.asarray(value)
        return tf.as_dtype(value.dtype), tf.TensorShape(value.shape)
    except (TypeError, ValueError):
        return None, tf.TensorShape(None)


# ---- Values, which are known in eager mode -------------------------------------------------------


def _out_of_range(given: dict[str, Any]) -> str | None:
    """What to say where ids and labels are out of range as they are, and in range exchanged."""
    inputs, labels = _values(given["inputs"]), _values(given["labels"])
    if inputs is None or labels is None or len(inputs) != len(labels):
        return None
    ignored = given.get("ignore_label")
    rows, classes = _rows(given["embeddings"]), _rows(given["weights"])
    fits = _are_ids(inputs, rows) and _are_classes(labels, classes, ignored)
    exchanged = _are_ids(labels, rows) and _are_classes(inputs, classes, ignored)
    if fits or not exchanged:
        return None
    return f"{_SWAPPED}: the other way around all of them are in range"


def _are_ids(values: np.ndarray, rows: int) -> bool:
    """Whether each row holds ids of a table, and beside them padding at most."""
    padded = values.shape[1] > 1
    is_id = values >= 0
    return bool(np.all(values < rows) and np.all(is_id.any(axis=1) if padded else is_id))


def _are_classes(values: np.ndarray, classes: int, ignored: int | None) -> bool:
    return bool(np.all((values == ignored) | ((values >= 0) & (values < classes))))


def _values(value: Any) -> np.ndarray | None:
    """Integers as a matrix with a row for each example; None where they are not known."""
    try:
        values = np.asarray(value)
    except (NotImplementedError, TypeError, ValueError):  # a tensor of a graph, bags
        return None
    if values.dtype.kind not in "iu" or values.ndim > 2 or not values.size:
        return None
    return values.reshape([len(values), -1]) if values.ndim else values.reshape([1, 1])


def _rows(table: Any) -> int:
    """How many rows a table has, or all its shards."""
    shards = table if isinstance(table, (list, tuple)) else [table]
    return sum(_look(shard)[1][0] or 0 for shard in shards)
