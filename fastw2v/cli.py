"""The `fastw2v` command."""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NoReturn

from fastw2v._build_info import CUDA, TENSORFLOW_VERSION, VERSION


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _number(
    kind: type, low: float, low_allowed: bool = True, below: float = math.inf
) -> Callable[[str], float]:
    """Returns a parser of finite numbers from `low` on."""
    allowed = f"{'at least' if low_allowed else 'above'} {low}"
    if below < math.inf:
        allowed += f" and below {below}"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low <= value < below) or (value == low and not low_allowed):
            name = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {allowed}")
        return value

    return parse


def _parser() -> _Parser:
    parser = _Parser(prog="fastw2v", description="Fused losses and word vectors for TensorFlow.")
    parser.add_argument("--version", action="version", version=f"fastw2v {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    commands.add_parser(
        "info",
        help="print versions, instruction set, threads and GPU support",
        description="Print versions, instruction set, threads and GPU support.",
    )
    commands.add_parser("doctor", help="run a program and explain its missing gradients")
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    demo = commands.add_parser(
        "demo",
        help="train word vectors on the docstrings of the installed packages",
        description="Train skip-gram word vectors with the fused sampled softmax on the docstrings "
        "of the installed Python packages or on a text file; print nearest neighbours, write the "
        "vectors in word2vec text format and draw a map of the most frequent words.",
    )
    count, positive = _number(int, 1), _number(float, 0, low_allowed=False)
    demo.add_argument(
        "--text",
        metavar="FILE",
        help="train on this UTF-8 text, plain or compressed by gzip, bzip2 or xz, a sentence per "
        "line, rather than on docstrings",
    )
    demo.add_argument(
        "--output-dir",
        metavar="DIR",
        default="fastw2v-demo",
        help="where to write vectors.txt and map.png (default: %(default)s)",
    )
    for option, kind, default, text in (
        ("--vector-size", count, 100, "width of the vectors"),
        ("--window", count, 5, "largest distance between a word and one that it predicts"),
        ("--min-count", count, 5, "leave out words that occur less often"),
        (
            "--sample",
            _number(float, 0, below=1),
            1e-3,
            "thin out words more frequent than this; 0: none",
        ),
        ("--alpha", positive, 0.025, "learning rate at the beginning"),
        ("--epochs", count, 3, "passes over the text, if the time allows"),
        ("--num-sampled", count, 64, "sampled words that compete in each step"),
        ("--batch-size", count, 1024, "pairs of words in each step"),
        ("--seed", _number(int, 0), 1, "decides the result, unless the time ends training"),
        ("--max-words", count, None, "read at most so many words"),
        ("--max-seconds", positive, 150.0, "end training so long after the start"),
    ):
        if default is not None:
            text += f" (default: {default:g})"
        demo.add_argument(option, type=kind, default=default, metavar="N", help=text)


def _info() -> str:
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
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 2 after an error, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["doctor"]:  # what follows is another program's, its exceptions too
        from fastw2v.doctor import script

        return script.main(arguments[1:], "fastw2v doctor")
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's remarks on the processor
    try:
        if options.command == "info":
            print(_info())
        else:
            from fastw2v import demo

            demo.run(options)
    except KeyboardInterrupt:
        print(f"\nfastw2v {options.command}: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (ImportError, MemoryError, ValueError) as error:
        reason = str(error)
    else:
        return 0
    print(f"fastw2v {options.command}: error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
