"""The tables of a model as NumPy arrays, and their first values."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

_PIECE_ROWS = 1 << 14
_VIEW = "_fastw2v_view"  # of a variable: what `values` has made last, if anybody still holds it


class _Writable:
    """The memory of an array that NumPy takes for read-only, as it takes all that TensorFlow has.

    Writing is right here: the tensor is the value of a variable and of nothing else (`own`), and an
    op that changes the variable leaves the tensor alone as long as somebody holds it.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def values(variable: tf.Variable) -> np.ndarray:
    """The values of a variable.

    Of one on the CPU they are not copied: what is written into the array is written into the
    variable, until something else changes the variable; then the array keeps what it holds. A
    tensor that is read from the variable meanwhile, and what is made of it without a change, may be
    the same memory. Of a variable on another device they are a copy, which cannot be written to.

    Example:
        >>> with tf.device("CPU:0"):
        ...     variable = tf.Variable([1.0, 2.0])
        >>> values(variable)[0] = 7
        >>> variable.numpy().tolist()
        [7.0, 2.0]
    """
    view = getattr(variable, _VIEW, _nothing)()
    if view is not None and holds(variable, np.asarray(view)):
        return np.asarray(view)
    own(variable)
    array = np.from_dlpack(_tensor(variable))
    if is_on_cpu(variable) and array.size:
        view = _Writable(array)
        setattr(variable, _VIEW, weakref.ref(view))
        return np.asarray(view)
    array.flags.writeable = False
    return array


def own(variable: tf.Variable) -> None:
    """Gives a variable on the CPU memory that no other tensor or variable shares, as those share it
    from which it was assigned, and copies of it."""
    if is_on_cpu(variable):
        # Adds nothing to no rows: an update of rows is never made in shared memory.
        updates = tf.zeros([0, *variable.shape[1:]], variable.dtype)
        tf.raw_ops.ResourceScatterAdd(
            resource=variable.handle, indices=tf.zeros([0], tf.int64), updates=updates
        )


def holds(variable: tf.Variable, array: np.ndarray) -> bool:
    """Whether an array that `values` returned is still the memory of the variable, on the CPU.

    It is asked wherever `wv` is read, so that it must be quick; what reads a copy holds another.
    """
    tensor = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    return np.from_dlpack(tensor).ctypes.data == array.ctypes.data


def is_on_cpu(variable: tf.Variable) -> bool:
    return "CPU" in variable.device


def pieces(variable: tf.Variable) -> Iterator[np.ndarray]:
    """The rows of a variable, some at a time; a table is never copied whole."""
    if is_on_cpu(variable):
        yield values(variable)
        return
    for first in range(0, variable.shape[0], _PIECE_ROWS):
        yield variable[first : first + _PIECE_ROWS].numpy()


def first_vectors(rows: int, width: int, seed: int, table: int = 0) -> tf.Tensor:
    """As gensim has them: uniform in [-1 / D, 1 / D); other ones for each table."""
    bound = 1 / width
    return tf.random.stateless_uniform([rows, width], [seed, table], -bound, bound, alg="philox")


def _nothing() -> None:
    return None


def _tensor(variable: tf.Variable) -> tf.Tensor:
    """The value of a variable, on the CPU; not copied if it is there."""
    # After a lookup of rows, reading would copy.
    tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
    tensor = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    return tensor if is_on_cpu(variable) else tensor.cpu()
