"""The `fastw2v` command."""

from __future__ import annotations

import argparse
import difflib
import functools
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from fastw2v._build_info import VERSION
from fastw2v._core import missing
from fastw2v.commands import (
    analogy,
    convert,
    demo,
    eval,
    info,
    map,
    neighbors,
    phrases,
    train,
    vocab,
)
from fastw2v.word2vec.vectors import UnknownWordError

# In the order of `fastw2v --help`.
_COMMANDS = {
    "train": train,
    "eval": eval,
    "neighbors": neighbors,
    "analogy": analogy,
    "map": map,
    "convert": convert,
    "vocab": vocab,
    "phrases": phrases,
    "demo": demo,
    "info": info,
}
# They run another program: what follows its name, and its exceptions, are its own.
_OTHER_PROGRAMS = {
    "doctor": "run a program and explain its missing gradients",
    "distribute": "run a program in several processes of this machine",
}
_ALIKE = 0.75  # the share of letters in common from which an option is taken to be meant
# What word2vec's own program, fastText and gensim before version 4 call the options.
_ELSEWHERE = {
    "cbow": "--sg",
    "dim": "--vector-size",
    "iter": "--epochs",
    "lr": "--alpha",
    "maxn": "--max-n",
    "minn": "--min-n",
    "model": "--sg",
    "neg": "--negative",
    "size": "--vector-size",
    "thread": "--workers",
    "threads": "--workers",
    "ws": "--window",
}


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and what to write instead.

    Options are written in full: --cbow, which is another program's, must not mean --cbow-mean.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._arguments = sys.argv[1:] if args is None else list(args)
        namespace, unknown = super().parse_known_args(self._arguments, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        if message.startswith(("unrecognized arguments", "the following arguments are required")):
            found = [option for word in self._arguments if (option := self._meant(word))]
            if found:
                message += f": did you mean {', '.join(dict.fromkeys(found))}?"
            else:
                message += f"; {self.prog} --help lists the arguments"
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _meant(self, word: str) -> str | None:
        """The option that is meant by a word that looks like one and is none."""
        options = [name for name in self._option_string_actions if name.startswith("--")]
        given = word.partition("=")[0]
        name = given.lstrip("-").lower().replace("_", "-")
        looks_like_one = given.startswith("-") and name[:1].isalpha()
        if not looks_like_one or given in self._option_string_actions:
            return None
        # With one dash, "-output FILE" is the option -o and its value "utput", and FILE is left.
        if _ELSEWHERE.get(name) in options:
            return _ELSEWHERE[name]
        return next(iter(difflib.get_close_matches("--" + name, options, 1, _ALIKE)), None)


def _parser() -> _Parser:
    parser = _Parser(
        prog="fastw2v",
        description="Fused losses and word vectors for TensorFlow.",
        epilog="fastw2v COMMAND --help lists the arguments of a command.",
        # With wider margins the longest names would stand on lines of their own.
        formatter_class=functools.partial(argparse.HelpFormatter, indent_increment=1),
    )
    parser.add_argument("-V", "--version", action="version", version=f"fastw2v {VERSION}")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    for command in _COMMANDS.values():
        command.add_parser(commands)
    for name, remark in _OTHER_PROGRAMS.items():
        commands.add_parser(name, help=remark)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 2 after an error, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["doctor"]:
        from fastw2v.doctor import script

        return script.main(arguments[1:], "fastw2v doctor")
    if arguments[:1] == ["distribute"]:
        from fastw2v.distribute import launcher

        return launcher.main(arguments[1:])
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 2
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    if not arguments[0].startswith("-") and arguments[0] not in _COMMANDS:
        names = [*_COMMANDS, *_OTHER_PROGRAMS]
        close = difflib.get_close_matches(arguments[0], names, 1)
        hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(names)}"
        parser.error(f"there is no command {arguments[0]!r}: {hint}")
    options = parser.parse_args(arguments)
    # TensorFlow's remarks on the processor. That oneDNN is on, which is so where the processor has
    # AVX-512, it would say at any level, and the commands' work is done by ops of our own.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *place, **others: print(
            f"fastw2v {options.command}: warning: {_one_line(message)}", file=sys.stderr
        )
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        _COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        remark = "".join(f"; {argument}" for argument in interrupt.args)
        print(f"\nfastw2v {options.command}: interrupted{remark}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read the output, as `head` does, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not isinstance(error, _documented_errors()):
            raise
        print(f"fastw2v {options.command}: error: {_reason(error)}", file=sys.stderr)
        return 2
    return 0


def _documented_errors() -> tuple[type[Exception], ...]:
    """What the library raises for input, files and machines that do not do; all others are faults
    of the program, and end it with a traceback."""
    errors = (ImportError, MemoryError, OSError, UnknownWordError, ValueError)
    tensorflow = sys.modules.get("tensorflow")  # imported by the commands that train, and no other
    return errors if tensorflow is None else (*errors, tensorflow.errors.ResourceExhaustedError)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return _one_line(name + error.strerror)
    if isinstance(error, ImportError):
        return _one_line(missing.sentence(error))
    if isinstance(error, MemoryError):
        return f"out of memory{_one_line(f': {error}') if error.args else ''}"
    return _one_line(error)


def _one_line(text: object) -> str:
    return "; ".join(line.strip() for line in str(text).splitlines() if line.strip())


if __name__ == "__main__":
    sys.exit(main())
