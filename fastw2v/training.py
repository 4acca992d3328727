"""A training step in one op: a loss of this library, and the optimizer's update of its tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import record

from fastw2v import xla
from fastw2v._row_optimizer import RowOptimizer
from fastw2v._step import Step
from fastw2v._tables import unwrap

_TABLES = ("embeddings", "weights", "biases")


@tf.autograph.experimental.do_not_convert
def train_step(
    optimizer: keras.optimizers.Optimizer, loss: Callable[..., tf.Tensor], *args: Any, **kwargs: Any
) -> tf.Tensor:
    """Computes a loss and updates its tables by one step of an optimizer.

    The same as to compute ``loss(*args, **kwargs)`` under a ``tf.GradientTape``, to ask the tape
    for the gradients of its tables, and to give these to ``optimizer.apply_gradients``, within
    rounding; but the gradients go into the update without becoming tensors, in one op.

    That op takes variables that are whole (not in shards) and different from each other, and an
    optimizer of `fastw2v.optimizers` that has neither gradient clipping nor accumulation. In all
    other cases, with other optimizers of Keras, under ``jit_compile=True`` and in a distribution
    strategy the step is made in the usual way, with the same result.

    Args:
        optimizer: A Keras optimizer, best one of `fastw2v.optimizers`. If it is not built yet, it
            is built for the tables of this loss; build it yourself for more.
        loss: One of the losses: `fastw2v.softmax_loss`, `fastw2v.linear_cross_entropy`,
            `fastw2v.sampled_softmax_loss`, `fastw2v.nce_loss`, `fastw2v.negative_sampling_loss`.
        *args, **kwargs: The arguments of the loss. ``reduction`` is "mean" (the default here) or
            "sum". Tables are trained if they are trainable variables. The gradient of activations
            (``inputs`` of losses without embeddings) flows on: the result can be differentiated
            by them, as they were before the step.

    Returns:
        The loss before the step, a scalar in nats.

    Raises:
        ValueError: Wrong rank, dtype or option, no trainable table, or ``reduction`` is "none".
        tf.errors.InvalidArgumentError: An id or label out of range. Nothing is updated then.

    Example:
        >>> import fastw2v
        >>> embeddings, context = tf.Variable(tf.ones([100, 8])), tf.Variable(tf.zeros([100, 8]))
        >>> optimizer = fastw2v.optimizers.Adagrad(0.1)
        >>> for _ in range(2):
        ...     loss = fastw2v.train_step(
        ...         optimizer, fastw2v.negative_sampling_loss, embeddings, context,
        ...         inputs=[3, 7], labels=[42, 0], num_sampled=5, seed=(1, 2))
        >>> int(optimizer.iterations), float(loss) < 4.1
        (2, True)
    """
    arguments = _bind(loss, args, kwargs)
    inputs = arguments.get("inputs")
    activations = None
    if "embeddings" not in arguments:
        activations = arguments["inputs"] = tf.convert_to_tensor(inputs)
    trained = _trained(arguments)
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(trained)
    if _fuses(optimizer, arguments, trained):
        value, d_activations = _fused(optimizer, loss, arguments, activations)
    else:
        value, d_activations = _composed(optimizer, loss, arguments, trained, activations)
    if activations is None:
        return value
    return _connected(value, activations, d_activations)


def _bind(loss: Callable, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    if not callable(loss) or getattr(loss, "__module__", "") != "fastw2v.ops":
        raise ValueError(f"loss = {loss!r} is not one of the losses of fastw2v")
    kwargs = {"reduction": "mean", **kwargs}
    if kwargs["reduction"] == "none":
        raise ValueError('reduction = "none" is not one of "mean", "sum": a step needs one number')
    try:
        return inspect.signature(loss).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{loss.__name__}: {error}") from None


def _trained(arguments: dict[str, Any]) -> list[Any]:
    """The variables among the tables, as the caller gave them."""
    variables = []
    for name in _TABLES:
        value = arguments.get(name)
        for shard in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(unwrap(shard), tf.Variable) and shard.trainable:
                if all(unwrap(shard) is not unwrap(other) for other in variables):
                    variables.append(shard)
    if not variables:
        raise ValueError(
            f"none of {', '.join(n for n in _TABLES if n in arguments)} is a trainable variable: "
            "there is nothing to train"
        )
    return variables


def _fuses(optimizer: Any, arguments: dict[str, Any], trained: list[Any]) -> bool:
    if not isinstance(optimizer, RowOptimizer) or not optimizer.updates_are_plain():
        return False
    if xla.compiles() or tf.distribute.has_strategy():
        return False
    tables = [arguments[name] for name in _TABLES if arguments.get(name) is not None]
    whole = [isinstance(unwrap(table), tf.Variable) and table.trainable for table in tables]
    if sum(whole) != len(trained):  # a table in shards, or the same variable twice
        return False
    return all(getattr(variable, "constraint", None) is None for variable in trained)


def _composed(
    optimizer: Any,
    loss: Callable,
    arguments: dict[str, Any],
    trained: list[Any],
    activations: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    sources = [unwrap(variable) for variable in trained]
    if activations is not None:
        sources.append(activations)
    with tf.GradientTape() as tape:
        if activations is not None:
            tape.watch(activations)
        value = loss(**arguments)
        scaled = optimizer.scale_loss(value)
    grads = tape.gradient(scaled, sources)
    d_activations = None
    if activations is not None:
        d_activations = grads.pop() / optimizer.scale_loss(tf.ones([], activations.dtype))
    optimizer.apply(grads, trained)
    return value, d_activations


def _fused(
    optimizer: RowOptimizer,
    loss: Callable,
    arguments: dict[str, Any],
    activations: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    step = Step(optimizer)
    with record.stop_recording(), step.active():
        value = loss(**arguments)
    optimizer.iterations.assign_add(1)
    if activations is None:
        return value, None
    d_activations = tf.reshape(step.d_inputs, tf.shape(activations))
    return value, tf.cast(d_activations, activations.dtype)


@tf.custom_gradient
def _connected(value: tf.Tensor, activations: tf.Tensor, d_activations: tf.Tensor) -> Any:
    """``value``, with this gradient by the activations."""

    def backward(d_value: tf.Tensor) -> tuple:
        return None, tf.cast(d_value, activations.dtype) * d_activations, None

    return tf.identity(value), backward
