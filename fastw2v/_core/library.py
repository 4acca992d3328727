"""Finds the compiled op library, checks that it fits this TensorFlow, and loads it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from fastw2v._core import missing, tf_internals

_PATH = Path(__file__).parents[1] / "_fastw2v_ops.so"
# Not by the name of the package, which no registry has.
_REBUILD = "pip install --force-reinstall --no-deps ."


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _load() -> Any:
    try:
        from fastw2v._build_info import TENSORFLOW_VERSION
    except ImportError:
        raise ImportError(missing.LIBRARY) from None
    # The C++ interface of TensorFlow changes with every minor version: the dynamic linker would
    # refuse the library with a list of missing symbols.
    if _minor(TENSORFLOW_VERSION) != _minor(tf.__version__):
        raise ImportError(
            f"fastw2v was built for TensorFlow {TENSORFLOW_VERSION}, but TensorFlow "
            f"{tf.__version__} is installed: run `{_REBUILD}` in the source tree of fastw2v "
            "to build it again"
        )
    if not _PATH.exists():
        raise ImportError(missing.LIBRARY)
    return tf.load_op_library(str(_PATH))


ops = _load()

for _op in (
    *("SoftmaxLoss", "SoftmaxLossGrad", "SampledLoss", "SampledLossGrad"),
    *("SoftmaxPart", "SoftmaxPartGrad"),
    *("TopK", "Gather", "GatherGrad"),
):
    tf_internals.reads_only(f"Fastw2v>{_op}")
