"""`fastw2v info`: what is installed and what the machine has."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata

from fastw2v._build_info import CUDA, TENSORFLOW_VERSION, VERSION


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    commands.add_parser(
        "info",
        help="print versions, instruction set, threads and GPU support",
        description="Print versions, instruction set, threads and GPU support.",
    )


def run(options: argparse.Namespace) -> None:
    import tensorflow as tf

    from fastw2v import _kernels

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    lines = {
        "fastw2v": f"{VERSION}, built for TensorFlow {TENSORFLOW_VERSION}",
        "TensorFlow": tf.__version__,
        "Keras": metadata.version("keras"),
        "Python": platform.python_version(),
        "instruction set": _kernels.instruction_set(),
        "threads": threads or len(os.sched_getaffinity(0)),
        "GPU support": f"yes, CUDA {CUDA}" if CUDA else "no, fastw2v was built without CUDA",
        "GPUs": ", ".join(gpus) or "TensorFlow finds none",
    }
    width = max(map(len, lines))
    print("\n".join(f"{name:{width}}  {value}" for name, value in lines.items()))
