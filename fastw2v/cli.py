"""The `fastw2v` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastw2v._build_info import VERSION
from fastw2v.commands import (
    analogy,
    convert,
    demo,
    eval,
    info,
    map,
    neighbors,
    train,
    vocab,
)

# In the order of `fastw2v --help`.
_COMMANDS = {
    "train": train,
    "eval": eval,
    "neighbors": neighbors,
    "analogy": analogy,
    "map": map,
    "convert": convert,
    "vocab": vocab,
    "demo": demo,
    "info": info,
}


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(prog="fastw2v", description="Fused losses and word vectors for TensorFlow.")
    parser.add_argument("--version", action="version", version=f"fastw2v {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS.values():
        command.add_parser(commands)
    commands.add_parser("doctor", help="run a program and explain its missing gradients")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 2 after an error, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["doctor"]:  # what follows is another program's, its exceptions too
        from fastw2v.doctor import script

        return script.main(arguments[1:], "fastw2v doctor")
    options = _parser().parse_args(arguments)
    # TensorFlow's remarks on the processor. That oneDNN is on, which is so where the processor has
    # AVX-512, it would say at any level, and the commands' work is done by ops of our own.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        _COMMANDS[options.command].run(options)
    except KeyboardInterrupt as interrupt:
        remark = "".join(f"; {argument}" for argument in interrupt.args)
        print(f"\nfastw2v {options.command}: interrupted{remark}", file=sys.stderr)
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
