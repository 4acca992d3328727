"""Loads the op library that was compiled for this TensorFlow, once."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import tensorflow as tf

from fastw2v._core import op_libraries, tf_internals


def _why_no_gpu_kernels(library: Path) -> str:
    """Why an op library has registered no kernels of a GPU though it has them, and what to do: a
    sentence, or an empty string where it has registered them or has none."""
    ask = getattr(ctypes.CDLL(str(library)), "fastw2v_why_no_gpu_kernels", None)
    if ask is None:
        return ""
    ask.restype = ctypes.c_char_p
    return ask().decode()


_path = op_libraries.find(tf.__version__)
ops: Any = tf.load_op_library(str(_path))
why_no_gpu_kernels = _why_no_gpu_kernels(_path)

for _op in (
    *("SoftmaxLoss", "SoftmaxLossGrad", "SampledLoss", "SampledLossGrad"),
    *("SoftmaxPart", "SoftmaxPartGrad"),
    *("TopK", "Gather", "GatherGrad", "FindRows"),
):
    tf_internals.reads_only(f"Fastw2v>{_op}")
