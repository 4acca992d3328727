"""`fastw2v info`: what is installed and what the machine has."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib import metadata

from fastw2v._build_info import CUDA, VERSION
from fastw2v._core import missing, op_libraries, with_tensorflow


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    commands.add_parser(
        "info",
        help="print versions, instruction set, threads and GPU support",
        description="Print versions, instruction set, threads and GPU support.",
    )


def run(options: argparse.Namespace) -> None:
    from fastw2v import _kernels

    tensorflow = _tensorflow()
    lines = {
        "fastw2v": f"{VERSION}, built for TensorFlow {' and '.join(op_libraries.versions())}",
        **tensorflow,
        "Python": platform.python_version(),
        "instruction set": _kernels.instruction_set(),
        "GPU support": _gpu_support(),
    }
    width = max(map(len, lines))
    print("\n".join(f"{name:{width}}  {value}" for name, value in lines.items()))


def _gpu_support() -> str:
    if not CUDA:
        return "no, fastw2v was built without CUDA"
    # Imported with TensorFlow, where both are there.
    library = sys.modules.get("fastw2v._core.library")
    why = getattr(library, "why_no_gpu_kernels", "")
    return f"no, built with CUDA {CUDA}: {why}" if why else f"yes, CUDA {CUDA}"


def _tensorflow() -> dict[str, object]:
    """What there is of TensorFlow, which may be missing or another one than the ops need."""
    with_tensorflow.warn = False  # of what is printed
    try:
        import tensorflow as tf
    except ImportError as error:
        return {"TensorFlow": f"none: {missing.sentence(error)}"}
    try:
        ops = op_libraries.find(tf.__version__).name
    except ImportError as error:
        ops = f"none: {error}"
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    return {
        "TensorFlow": tf.__version__,
        "op library": ops,
        "Keras": metadata.version("keras"),
        "threads": threads or len(os.sched_getaffinity(0)),
        "GPUs": ", ".join(gpus) or "TensorFlow finds none",
    }
