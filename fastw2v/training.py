"""A training step in one op: a loss of this library, and the optimizer's update of its tables."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf

from fastw2v._core import tf_internals, xla
from fastw2v._core.keras_at_hand import check_not_keras_2
from fastw2v._core.tables import trained_variables, unwrap
from fastw2v._losses import swapped
from fastw2v._losses.call import Loss
from fastw2v.optimizers.rows import RowOptimizer


@tf.autograph.experimental.do_not_convert
def train_step(
    optimizer: keras.optimizers.Optimizer, loss: Loss, *args: Any, **kwargs: Any
) -> tf.Tensor:
    """Computes a loss and updates its tables by one step of an optimizer.

    The same as to compute ``loss(*args, **kwargs)`` under a ``tf.GradientTape``, to ask the tape
    for the gradients of its tables, and to give these to ``optimizer.apply_gradients``, within
    rounding; but the gradients go into the update without becoming tensors, in one op.

    That op takes variables that are whole (not in shards) and different from each other, and an
    optimizer of `fastw2v.optimizers` that has neither gradient clipping nor accumulation. In all
    other cases, with other optimizers of Keras, under ``jit_compile=True`` and in a distribution
    strategy the step is made in the usual way, with the same result: by all replicas of a strategy
    one step on the batches of all, whose mean is ``reduction="mean"``.

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
        The loss before the step, a scalar in nats; of a replica its share, as of the losses.

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
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        check_not_keras_2("optimizer", optimizer)
        raise ValueError(f"optimizer = {optimizer!r} is not an optimizer of fastw2v or Keras")
    arguments = _bind(loss, args, kwargs)
    activations = None
    if "embeddings" not in arguments:
        activations = arguments["inputs"] = tf.convert_to_tensor(arguments["inputs"])
    variables, by_table = trained_variables(arguments)
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(variables)
    step = None
    may_fuse = not (xla.compiles() or tf.distribute.has_strategy())
    if may_fuse and by_table is not None and isinstance(optimizer, RowOptimizer):
        step = optimizer.step_arguments(by_table)
    if step is None:
        value, d_activations = _composed(optimizer, loss, arguments, variables, activations)
    else:
        name = arguments.get("name") or loss.__name__
        with tf_internals.stop_recording(), tf.name_scope(name):
            try:
                value, d_activations = loss.call(**arguments).step(step)
            except swapped.ERRORS as error:
                signature = inspect.signature(loss)
                told = swapped.explained(error, loss.__name__, signature, (), arguments)
                raise told from told.__cause__
        optimizer.iterations.assign_add(1)
    if activations is None:
        return value
    d_activations = tf.reshape(d_activations, tf.shape(activations))
    return _connected(value, activations, tf.cast(d_activations, activations.dtype))


def _bind(loss: Loss, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if not hasattr(loss, "call"):
        raise ValueError(f"loss = {loss!r} is not one of the losses of fastw2v")
    kwargs = {"reduction": "mean", **kwargs}
    if kwargs["reduction"] == "none":
        raise ValueError('reduction = "none" is not one of "mean", "sum": a step needs one number')
    try:
        return inspect.signature(loss).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{loss.__name__}: {error}") from None


def _composed(
    optimizer: Any,
    loss: Loss,
    arguments: dict[str, Any],
    variables: list[Any],
    activations: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    sources = [unwrap(variable) for variable in variables]
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
    optimizer.apply(grads, variables)
    return value, d_activations


@tf.custom_gradient
def _connected(value: tf.Tensor, activations: tf.Tensor, d_activations: tf.Tensor) -> Any:
    """``value``, with this gradient by the activations."""

    def backward(d_value: tf.Tensor) -> tuple[Any, ...]:
        return None, tf.cast(d_value, activations.dtype) * d_activations, None

    return tf.identity(value), backward
