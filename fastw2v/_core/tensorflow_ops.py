"""Where only TensorFlow's own ops may run: in functions that XLA compiles, and in what is traced to
be served without this package. `fastw2v._losses.composed` makes the losses there and
`fastw2v.samplers.composed` the draws.

Nothing raises an error for values there: an id out of range gives a NaN in place of one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import tensorflow as tf

from fastw2v._core import tf_internals

_served = ContextVar("_served", default=False)


def only() -> bool:
    """Whether what is traced now may hold TensorFlow's own ops only."""
    if tf.executing_eagerly():
        return False
    # In words: xla.compiles() or is_served(). Each loss asks several times.
    return _served.get() or tf_internals.enclosing_xla_context() is not None


def is_served() -> bool:
    """Whether what is traced now is to be served without this package."""
    return _served.get() and not tf.executing_eagerly()


@contextlib.contextmanager
def tensorflow_ops() -> Iterator[None]:
    """Functions that are traced within it hold TensorFlow's own ops only.

    Losses, `top_k`, `lookup`, the samplers and the layers are composed from TensorFlow's ops there,
    as they are where XLA compiles: the numbers are the same, logits are stored, and an id, label or
    count out of range, or an empty bag, gives NaN and no error. Pending updates of an optimizer are
    applied when a function is traced, and are no part of it.

    A ``tf.function`` that was called before keeps the ops that it was traced with, unless it is
    called by a function that enters this context itself: such a function traces all anew. Call
    a function outside of the context that was first called within it, and it keeps these ops too.

    Example:
        >>> import fastw2v
        >>> weights = tf.Variable(tf.eye(3))
        >>> @tf.function(input_signature=[tf.TensorSpec([None, 3])])
        ... def best(inputs):
        ...     with fastw2v.tensorflow_ops():
        ...         return fastw2v.top_k(inputs, weights, k=1)
        >>> ops = {op.type for op in best.get_concrete_function().graph.get_operations()}
        >>> "TopKV2" in ops, "Fastw2v>TopK" in ops
        (True, False)
        >>> best([[0.0, 2.0, 1.0]])[1].numpy().tolist()
        [[1]]
    """
    token = _served.set(True)
    try:
        # In eager mode it may be a SavedModel that is written within, as TensorFlow sees to it.
        with contextlib.nullcontext() if tf.executing_eagerly() else tf_internals.traced_anew():
            yield
    finally:
        _served.reset(token)
