"""Finds the compiled op library, checks that it fits this TensorFlow, and loads it once."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow.python.framework import auto_control_deps_utils

_PATH = Path(__file__).with_name("_fastw2v_ops.so")
_REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir fastw2v"
_MISSING = (
    "fastw2v's compiled op library is missing: run `pip install .` in its source tree "
    "(and import fastw2v from another directory than that one)"
)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _load():
    try:
        from fastw2v._build_info import TENSORFLOW_VERSION
    except ImportError:
        raise ImportError(_MISSING) from None
    # The C++ interface of TensorFlow changes with every minor version: the dynamic linker would
    # refuse the library with a list of missing symbols.
    if _minor(TENSORFLOW_VERSION) != _minor(tf.__version__):
        raise ImportError(
            f"fastw2v was built for TensorFlow {TENSORFLOW_VERSION}, but TensorFlow "
            f"{tf.__version__} is installed: run `{_REBUILD}` to build it again"
        )
    if not _PATH.exists():
        raise ImportError(_MISSING)
    return tf.load_op_library(str(_PATH))


ops = _load()

# These read variables and never write them: without this, functions would run all losses that share
# a variable one after the other.
for _op in (
    *("SoftmaxLoss", "SoftmaxLossGrad", "SampledLoss", "SampledLossGrad"),
    *("TopK", "Gather", "GatherGrad"),
):
    auto_control_deps_utils.register_read_only_resource_op(f"Fastw2v>{_op}")
