"""A call of a loss: what its op takes, how it is run, and what its gradient is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from fastw2v._core import tensorflow_ops, tf_internals
from fastw2v._core.library import ops as _ops
from fastw2v._core.tables import ACCUMULATORS, LossTables, Table, slices
from fastw2v._losses import composed, remote, sharded
from fastw2v._losses.options import EXACT_NUMBERS, NUMBERS
from fastw2v._losses.reduction import Reduction

tf.no_gradient("Fastw2v>SoftmaxStep")
tf.no_gradient("Fastw2v>SampledStep")

TABLES = LossTables._fields  # in the order of the ops' inputs
_COMMON_ATTRIBUTES = (
    "T",
    "combiner",
    "use_ignore_label",
    "ignore_label",
    *NUMBERS,
    "compute_dtype",
)
_SOFTMAX_ATTRIBUTES = (*_COMMON_ATTRIBUTES, *EXACT_NUMBERS)
_SAMPLED_ATTRIBUTES = (*_COMMON_ATTRIBUTES, "link", "split_target", "remove_accidental_hits")


class Loss(Protocol):
    """A loss of `fastw2v.ops`: a function, and what builds its call from the same arguments."""

    __name__: str
    call: Callable[..., LossCall]

    def __call__(self, *args: Any, **kwargs: Any) -> tf.Tensor: ...


class LossCall:
    """The arguments of a loss op by name; each list input is a list.

    Attributes:
        op_inputs: ``embeddings``, ``weights``, ``biases`` (lists of shards), ``inputs``,
            ``row_splits`` (a list), ``labels``; of sampled losses ``sampled_candidates`` and the
            lists ``true_expected_count`` and ``sampled_expected_count``. Also as attributes of the
            call.
        attributes: Of the op.
        tables: What the shards were made of; None for a call that is made from an op.
        reduction: What becomes of the losses of the examples; None likewise.
        result_dtype: What the result is cast to, if anything.
        excluded: Of an exact softmax, a list of at most one tensor: int64 [batch, 2], ranges of
            classes that do not compete for an example, but for its labels.
    """

    def __init__(
        self,
        op_inputs: dict[str, Any],
        attributes: dict[str, Any],
        tables: LossTables | None = None,
        reduction: Reduction | None = None,
        result_dtype: tf.DType | None = None,
        excluded: Sequence[tf.Tensor] = (),
    ) -> None:
        self.op_inputs = op_inputs
        self.attributes = attributes
        self.tables = tables
        self.reduction = reduction
        self.result_dtype = result_dtype
        self.excluded = list(excluded)
        self.sampled = "sampled_candidates" in op_inputs
        self.dtype = tf.as_dtype(attributes["T"])
        used = attributes.get("use_ignore_label", False)
        self.ignore_label = attributes["ignore_label"] if used else None
        self.embeddings = op_inputs["embeddings"]
        self.weights = op_inputs["weights"]
        self.biases = op_inputs["biases"]
        self.inputs = op_inputs["inputs"]
        self.row_splits = op_inputs["row_splits"]
        self.labels = op_inputs["labels"]
        if self.sampled:
            self.sampled_candidates = op_inputs["sampled_candidates"]
            self.true_expected_count = op_inputs["true_expected_count"]
            self.sampled_expected_count = op_inputs["sampled_expected_count"]

    @classmethod
    def of(cls, op: Any, inputs: Sequence[tf.Tensor], sampled: bool) -> tuple[LossCall, list[Any]]:
        """The call of an op that has these inputs, and those that come after its arguments."""
        rest = list(inputs)

        def take(count: int) -> list[tf.Tensor]:
            taken, rest[:count] = rest[:count], []
            return taken

        arguments: dict[str, Any] = {
            "embeddings": take(len(op.get_attr("Embeddings"))),
            "weights": take(len(op.get_attr("Weights"))),
            "biases": take(len(op.get_attr("Biases"))),
            "inputs": take(1)[0],
            "row_splits": take(op.get_attr("num_row_splits")),
            "labels": take(1)[0],
        }
        excluded = [] if sampled else take(op.get_attr("num_excluded"))
        if sampled:
            counts = op.get_attr("num_counts")
            arguments["sampled_candidates"] = take(1)[0]
            arguments["true_expected_count"] = take(counts)
            arguments["sampled_expected_count"] = take(counts)
        names = _SAMPLED_ATTRIBUTES if sampled else _SOFTMAX_ATTRIBUTES
        attributes = {name: attribute(op, name) for name in names}
        return cls(arguments, attributes, excluded=excluded), rest

    # ---- The value -------------------------------------------------------------------------------

    def value(self) -> Any:
        """The losses of the examples [batch], reduced as the call says.

        Where gradients may be asked for, the op is given the coefficients of a sum or mean, if
        there are any, and makes the gradients in the same pass: in a graph if something consumes
        them, eagerly at once.
        """
        if self._is_spread() and not tensorflow_ops.only():
            return self._of_one_machine().value()
        if self.tables is not None and self.tables.weights.sharded is not None:
            return self._reduced(sharded.exact_loss(self))
        if self._is_exact_on_servers() and not tensorflow_ops.only():
            return self._reduced(remote.exact_loss(self))
        op = _ops.fastw2v_sampled_loss if self.sampled else _ops.fastw2v_softmax_loss
        arguments = {
            **self.op_inputs,
            **self._excluded_input(),
            **self.attributes,
            "Accumulator": ACCUMULATORS[self.dtype],
        }
        num_saved, reads, device = self._num_gradients(), self._reads(), self._device()
        eager = tf.executing_eagerly()
        asks = not eager or _only_tapes_record(self._float_inputs())
        assert self.reduction is not None  # else the call is made from an op, which has run
        coefficients = self.reduction.coefficients() if asks else None
        if coefficients is not None:
            arguments["only_reduced"] = self.reduction.only_reduced
        for table, rows in reads:
            table.prepare(rows)
        if tensorflow_ops.only():
            losses = composed.loss(self)
        elif coefficients is None:
            with device:
                losses = op(**arguments, coefficients=[], num_saved=0).loss
        elif not eager:
            with device:
                losses = op(**arguments, coefficients=[coefficients], num_saved=num_saved).loss
        else:
            # Left to itself an eager tape makes zeros in the shapes of all outputs beside the loss,
            # and keeps them; those of what is saved are as large as the tables.
            with tf_internals.stop_recording(), device:
                outputs = op(**arguments, coefficients=[coefficients], num_saved=num_saved)
            losses = self._recorded(outputs, coefficients)
        return self._reduced(losses)

    def step(self, optimizer: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The reduced loss, and the gradient of the activations [batch, dim], if there are any; the
        tables are updated in the same pass.

        Args:
            optimizer: What our ops know of the step, as `RowOptimizer.step_arguments` has it.
        """
        op = _ops.fastw2v_sampled_step if self.sampled else _ops.fastw2v_softmax_step
        has_activations = not self.embeddings
        reads = self._reads()
        assert self.reduction is not None
        coefficients = self.reduction.coefficients()
        for table, rows in reads:
            table.prepare(rows)
        outputs = op(
            **self.op_inputs,
            **self.attributes,
            **optimizer,
            coefficients=coefficients,
            num_activations=int(has_activations),
        )
        return self._reduced(outputs.loss), outputs.d_inputs[0] if has_activations else None

    def _reduced(self, losses: tf.Tensor) -> Any:
        assert self.reduction is not None  # else the call is made from an op, which has run
        value = self.reduction(losses)
        return value if self.result_dtype is None else tf.cast(value, self.result_dtype)

    def _excluded_input(self) -> dict[str, Any]:
        """An input that ops of exact losses alone have."""
        return {} if self.sampled else {"excluded": self.excluded}

    def _device(self) -> Any:
        """Where the ops run: kernels of a GPU exclude no classes."""
        return tf.device("CPU:0") if self.excluded else contextlib.nullcontext()

    def _is_spread(self) -> bool:
        """Whether rows of the tables lie in several places, and have to be fetched."""
        if self.tables is None:
            return False
        embeddings = self.tables.embeddings
        tables = [table for table in self.tables if table is not None]
        if any(table.sharded is not None for table in tables):
            return self.sampled or (embeddings is not None and embeddings.sharded is not None)
        if self._is_exact_on_servers():
            return embeddings is not None and bool(embeddings.machines)
        return len(frozenset().union(*(table.machines for table in tables))) > 1

    def _is_exact_on_servers(self) -> bool:
        """Whether all classes compete, and these lie on several machines."""
        return (
            not self.sampled and self.tables is not None and len(self.tables.weights.machines) > 1
        )

    def _of_one_machine(self) -> LossCall:
        """The same call on rows that are fetched."""
        for table, rows in self._reads():
            if table.sharded is None:
                table.prepare(rows)
        return LossCall(*remote.fetched(self), self.reduction, self.result_dtype, self.excluded)

    def _reads(self) -> list[tuple[Table, list[tf.Tensor] | None]]:
        """The tables, and which of their rows the op reads; None: all."""
        met = [self.labels, self.sampled_candidates] if self.sampled else None
        rows = ([self.inputs], met, met)  # of each table
        assert self.tables is not None  # else the call is made from an op, which has read them
        return [
            (table, read)
            for table, read in zip(self.tables, rows, strict=True)
            if table is not None
        ]

    def _recorded(self, outputs: Any, coefficients: tf.Tensor) -> tf.Tensor:
        """The losses, recorded by gradient tapes."""

        def backward(d_loss: tf.Tensor) -> list[Any]:
            return self.gradients(
                d_loss, outputs.max, outputs.log_sum, [coefficients], outputs.saved
            )

        inputs = self._float_inputs()
        tf_internals.record_operation("Fastw2vLoss", [outputs.loss], inputs, backward)
        return outputs.loss

    # ---- The gradient ----------------------------------------------------------------------------

    def gradients(
        self,
        d_loss: tf.Tensor,
        maximum: tf.Tensor,
        log_sum: tf.Tensor,
        coefficients: list[tf.Tensor],
        saved: list[tf.Tensor],
    ) -> list[Any]:
        """Of the float inputs, by the gradient op; the arguments are its other inputs."""
        op = _ops.fastw2v_sampled_loss_grad if self.sampled else _ops.fastw2v_softmax_loss_grad
        with self._device():
            grads = op(
                d_loss=d_loss,
                max=maximum,
                log_sum=log_sum,
                coefficients=coefficients,
                saved=saved,
                **self.gradient_sizes(),
                **self.op_inputs,
                **self._excluded_input(),
                **self.attributes,
            )
        return self.gradients_of(grads)

    def gradient_sizes(self) -> dict[str, int]:
        """How many tensors of each kind a gradient op returns."""
        return {
            "num_embeddings": len(self.embeddings),
            "num_activations": 0 if self.embeddings else 1,
            "num_weights": len(self.weights),
            "num_biases": len(self.biases),
        }

    def gradients_of(self, grads: Any) -> list[Any]:
        """Gradients of the float inputs, from the outputs of a gradient op."""
        tables = {
            "embeddings": slices(self.embeddings, grads.embeddings_rows, grads.d_embeddings),
            "weights": grads.d_weights,
            "biases": grads.d_biases,
        }
        if self.sampled:
            tables["weights"] = slices(self.weights, grads.weights_rows, grads.d_weights)
            tables["biases"] = slices(self.biases, grads.biases_rows, grads.d_biases)
        return self.float_gradients(tables, None if self.embeddings else grads.d_inputs[0])

    def float_gradients(
        self, tables: dict[str, list[Any]], d_inputs: tf.Tensor | None
    ) -> list[Any]:
        """Gradients of the float inputs, from those of each table."""
        return [*(gradient for name in TABLES for gradient in tables[name]), d_inputs]

    def _float_inputs(self) -> list[tf.Tensor]:
        """What may have a gradient, in the order of the op's inputs (and ids, which have none)."""
        return [*self.embeddings, *self.weights, *self.biases, self.inputs]

    def _num_gradients(self) -> int:
        """Number of outputs of the gradient op."""
        sparse = 2  # rows and values
        hidden = sparse * len(self.embeddings) if self.embeddings else 1
        classes = len(self.weights) + len(self.biases)
        return hidden + (sparse * classes if self.sampled else classes)


def _only_tapes_record(inputs: list[tf.Tensor]) -> bool:
    """Whether a gradient may be asked for eagerly, and no directional derivative by a
    `tf.autodiff.ForwardAccumulator`, which needs to see the op itself."""
    if not tf_internals.tapes_record(inputs):
        return False
    return not tf_internals.pack_tangents(inputs).tangents


def attribute(op: Any, name: str) -> Any:
    """An attribute of an op; a string where it is one."""
    value = op.get_attr(name)
    return value.decode() if isinstance(value, bytes) else value
