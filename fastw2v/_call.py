"""The arguments of a loss op, and what the modules that read them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops

# In the order of the ops' inputs.
TABLES = ("embeddings", "weights", "biases")
_COMMON_ATTRIBUTES = (
    "T",
    "combiner",
    "use_ignore_label",
    "ignore_label",
    "logit_scale",
    "logit_softcap",
    "z_loss",
    "compute_bfloat16",
)
_SOFTMAX_ATTRIBUTES = (*_COMMON_ATTRIBUTES, "label_smoothing")
_SAMPLED_ATTRIBUTES = (*_COMMON_ATTRIBUTES, "link", "split_target", "remove_accidental_hits")


class Call:
    """The arguments of a loss op by name; each list input is a list."""

    def __init__(self, sampled: bool, inputs: dict[str, Any], attributes: dict[str, Any]) -> None:
        self.sampled = sampled
        self.op_inputs = inputs
        self.attributes = attributes
        self.dtype = tf.as_dtype(attributes["T"])
        used = attributes.get("use_ignore_label", False)
        self.ignore_label = attributes["ignore_label"] if used else None
        self.embeddings = inputs["embeddings"]
        self.weights = inputs["weights"]
        self.biases = inputs["biases"]
        self.inputs = inputs["inputs"]
        self.row_splits = inputs["row_splits"]
        self.labels = inputs["labels"]
        if sampled:
            self.sampled_candidates = inputs["sampled_candidates"]
            self.true_expected_count = inputs["true_expected_count"]
            self.sampled_expected_count = inputs["sampled_expected_count"]

    @classmethod
    def of(cls, op: Any, inputs: Sequence[tf.Tensor], sampled: bool) -> tuple[Call, list]:
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
        if sampled:
            counts = op.get_attr("num_counts")
            arguments["sampled_candidates"] = take(1)[0]
            arguments["true_expected_count"] = take(counts)
            arguments["sampled_expected_count"] = take(counts)
        names = _SAMPLED_ATTRIBUTES if sampled else _SOFTMAX_ATTRIBUTES
        attributes = {name: attribute(op, name) for name in names}
        return cls(sampled, arguments, attributes), rest

    def float_inputs(self) -> list[tf.Tensor]:
        """What may have a gradient, in the order of the op's inputs (and ids, which have none)."""
        return [*self.embeddings, *self.weights, *self.biases, self.inputs]

    def num_gradients(self) -> int:
        """Number of outputs of the gradient op."""
        sparse = 2  # rows and values
        hidden = sparse * len(self.embeddings) if self.embeddings else 1
        classes = len(self.weights) + len(self.biases)
        return hidden + (sparse * classes if self.sampled else classes)

    def float_gradients(self, tables: dict[str, list], d_inputs: tf.Tensor | None) -> list:
        """Gradients of these, from those of each table."""
        return [*(gradient for name in TABLES for gradient in tables[name]), d_inputs]


def attribute(op: Any, name: str) -> Any:
    value = op.get_attr(name)
    return value.decode() if isinstance(value, bytes) else value


def sparse(
    tables: Sequence[tf.Tensor], rows: Sequence[tf.Tensor], values: Sequence[tf.Tensor]
) -> list[tf.IndexedSlices]:
    return [
        tf.IndexedSlices(value, row, dense_shape=table_shape(table))
        for table, row, value in zip(tables, rows, values, strict=True)
    ]


def table_shape(table: tf.Tensor) -> tf.Tensor:
    if table.dtype == tf.resource:
        return resource_variable_ops.variable_shape(table)
    return tf.shape(table)


def accumulator(dtype: tf.DType) -> tf.DType:
    """In what the losses of tables of ``dtype`` are summed."""
    return tf.float64 if dtype == tf.float64 else tf.float32
