"""Options that several commands have, and their values, checked while the command line is read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

TEXT = (
    "a UTF-8 text with a sentence per line, plain or compressed (.gz, .xz, .bz2, .zst), or a "
    "directory of such files; - is the standard input"
)


def number(
    kind: type, low: float, high: float = math.inf, low_allowed: bool = True
) -> Callable[[str], float]:
    """Returns a parser of integers in [low, high], or of finite numbers in [low, high)."""
    allowed = []
    if low > -math.inf:
        allowed.append(f"{'at least' if low_allowed else 'above'} {low:g}")
    if high < math.inf:
        allowed.append(f"at most {high}" if kind is int else f"below {high:g}")
    name = "an integer" if kind is int else "a number"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        is_allowed = low <= value <= high if kind is int else low <= value < high
        if not (is_allowed and math.isfinite(value)) or (value == low and not low_allowed):
            reason = " ".join([name, " and ".join(allowed)]).rstrip()
            raise argparse.ArgumentTypeError(f"{text!r} is not {reason}")
        return value

    return parse


count = number(int, 1)
positive = number(float, 0, low_allowed=False)


def text_path(path: str) -> str:
    """The path of a text; that of the standard input for a dash."""
    return "/dev/stdin" if path == "-" else path


def add_corpus(parser: argparse._ActionsContainer) -> None:
    """Adds the text that a command reads."""
    parser.add_argument("corpus", metavar="CORPUS", type=text_path, help=TEXT)


def read_words(path: str) -> list[str]:
    """The words of a file that holds one on each line.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason}") from None
    return [word for line in lines if (word := line.strip())]
