"""The op that a loss calls: its own, or within `fastw2v.train_step` the one that also trains."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from fastw2v import gradients
from fastw2v._library import ops as _ops
from fastw2v._reduction import Reduction
from fastw2v._tables import Table

if TYPE_CHECKING:  # Keras is imported by those alone who use its optimizers
    from fastw2v._row_optimizer import RowOptimizer

tf.no_gradient("Fastw2v>SoftmaxStep")
tf.no_gradient("Fastw2v>SampledStep")

_CURRENT: contextvars.ContextVar[Step | None] = contextvars.ContextVar("step", default=None)


class Step:
    """Takes the place of a loss op while `train_step` calls the loss."""

    def __init__(self, optimizer: RowOptimizer) -> None:
        self._optimizer = optimizer
        self.d_inputs: tf.Tensor | None = None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def losses(
        self,
        tables: dict[str, Table | None],
        inputs: dict[str, Any],
        attributes: dict[str, Any],
        coefficients: tf.Tensor,
        *,
        sampled: bool,
    ) -> tf.Tensor:
        """The losses [batch]; the tables are updated by their sum times the coefficients."""
        arguments = {**inputs, **attributes, **self._optimizer.step_inputs()}
        for name, table in tables.items():
            variable = None if table is None else table.variables[0]
            trains = variable is not None and variable.trainable
            arguments[f"train_{name}"] = trains
            arguments[f"{name}_state"] = self._optimizer.state(variable) if trains else []
        op = _ops.fastw2v_sampled_step if sampled else _ops.fastw2v_softmax_step
        outputs = op(
            **arguments,
            coefficients=coefficients,
            num_activations=1 if tables["embeddings"] is None else 0,
        )
        if tables["embeddings"] is None:
            self.d_inputs = outputs.d_inputs[0]
        return outputs.loss


def losses(
    tables: dict[str, Table | None],
    inputs: dict[str, Any],
    attributes: dict[str, Any],
    reduction: Reduction,
    *,
    sampled: bool,
) -> tf.Tensor:
    """The losses [batch] of a call: by the op of `train_step` within it, elsewhere by their own."""
    step = _CURRENT.get()
    if step is None:
        return gradients.loss(inputs, attributes, reduction, sampled=sampled)
    return step.losses(tables, inputs, attributes, reduction.coefficients(), sampled=sampled)
