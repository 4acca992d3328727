"""Every name of TensorFlow that is not public and that this package uses (the doctor apart, which
looks inside of TensorFlow by its nature), with the reason for it.

They may change with any version of TensorFlow: tests/test_tf_internals.py checks each.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.distribute.sharded_variable import ShardedVariable
from tensorflow.python.eager import backprop, forwardprop, forwardprop_util, record
from tensorflow.python.framework import auto_control_deps_utils
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.ops.control_flow_v2_func_graphs import WhileBodyFuncGraph
from tensorflow.python.saved_model import save_context

__all__ = [
    "DERIVATIVES",
    "AutoTrackable",
    "PlainVariable",
    "ShardedVariable",
    "Trackable",
    "could_record",
    "enclosing_xla_context",
    "gradient_function",
    "is_function_of_one_replica",
    "is_in_control_flow",
    "is_resource_variable",
    "mark_as_read",
    "outside_its_loop",
    "pack_tangents",
    "push_forwardprop_state",
    "reads_only",
    "record_operation",
    "shape_of_handle",
    "stop_recording",
    "tapes_record",
    "traced_anew",
]

# Variables: `ShardedVariable` is what a variable on several parameter servers is.

# What `tf.Variable` makes where no strategy makes something else of it.
PlainVariable = resource_variable_ops.ResourceVariable

# What checkpoints find, and ask for its tensors by `_serialize_to_tensors`.
Trackable = tf.__internal__.tracking.Trackable
# Finds what are its attributes.
AutoTrackable = tf.__internal__.tracking.AutoTrackable

# Whether ops can be given the handle of a variable; those of Keras and of strategies wrap one.
is_resource_variable = resource_variable_ops.is_resource_variable
# Records on tapes that a variable was used: its handle alone does not.
mark_as_read = resource_variable_ops.variable_accessed
# The shape of the variable behind a handle, without reading the variable.
shape_of_handle = resource_variable_ops.variable_shape
# Says that an op never writes the variables whose handles it takes: without this, functions would
# run all losses that share a variable one after the other.
reads_only = auto_control_deps_utils.register_read_only_resource_op

# Tapes.

# Whether there is any tape or accumulator.
could_record = record.could_possibly_record
# Whether a tape watches one of some tensors.
tapes_record = record.should_record_backprop
# `tf.GradientTape.stop_recording`, for the tapes of others.
stop_recording = record.stop_recording
# `tf.custom_gradient`, for handles of variables too.
record_operation = record.record_operation

# Directional derivatives: `tf.autodiff.ForwardAccumulator` has no public place for one.

DERIVATIVES = forwardprop._SPECIAL_CASES
# What the gradient that is registered for an op returns.
gradient_function = backprop._gradient_function
# Within it an accumulator that is just making a tangent begins anew, and tapes record.
push_forwardprop_state = forwardprop_util.push_forwardprop_state
# The tangents that accumulators have for some tensors.
pack_tangents = forwardprop_util.pack_tangents

# The context of XLA that a graph is traced in, or None.
enclosing_xla_context = tf.__internal__.get_enclosing_xla_context


def is_function_of_one_replica() -> bool:
    """Whether what is traced now is a function that is called by one replica, in eager mode, while
    the others of the process wait for their turn: the thread of a replica has the graph from which
    strategy.run was called."""
    graph = getattr(threading.current_thread(), "graph", None)
    if tf.executing_eagerly() or not isinstance(graph, tf.Graph):
        return False
    return not graph.building_function


def outside_its_loop(tensor: tf.Tensor) -> bool:
    """Whether a tensor is of the body of a loop, and used after the loop has run, as its gradient
    is: only the class of the graph shows a body."""
    if not tf.is_symbolic_tensor(tensor):
        return False
    here = list(_enclosing(tf.compat.v1.get_default_graph()))
    return any(
        isinstance(graph, WhileBodyFuncGraph) and graph not in here
        for graph in _enclosing(tensor.graph)
    )


def is_in_control_flow() -> bool:
    """Whether what is traced now is in the body of a loop or in a branch, or is called there."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return any(getattr(each, "is_control_flow_graph", False) for each in _enclosing(graph))


@contextlib.contextmanager
def traced_anew() -> Iterator[None]:
    """Functions that are called within it are traced for this call alone, as for a SavedModel:
    for what policy of variables one is written is part of what TensorFlow keeps a trace for."""

    class Policy:
        """As ``tf.saved_model.experimental.VariablePolicy.NONE``, and equal to itself alone."""

        def _save_variable_devices(self) -> bool:
            return False

        def _expand_distributed_variables(self) -> bool:
            return False

    options = tf.saved_model.SaveOptions()
    options.experimental_variable_policy = Policy()
    state = save_context._save_context
    before = state._in_save_context, state._options
    state.enter_save_context(options)
    try:
        yield
    finally:
        state._in_save_context, state._options = before


def _enclosing(graph: tf.Graph | None) -> Iterator[tf.Graph]:
    """A graph and the graphs of functions around it."""
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)
