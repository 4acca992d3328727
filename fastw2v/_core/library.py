"""Loads the op library that was compiled for this TensorFlow, once."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastw2v._core import op_libraries, tf_internals


def _load() -> Any:
    return tf.load_op_library(str(op_libraries.find(tf.__version__)))


ops = _load()

for _op in (
    *("SoftmaxLoss", "SoftmaxLossGrad", "SampledLoss", "SampledLossGrad"),
    *("SoftmaxPart", "SoftmaxPartGrad"),
    *("TopK", "Gather", "GatherGrad"),
):
    tf_internals.reads_only(f"Fastw2v>{_op}")
