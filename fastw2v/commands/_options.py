"""Values of options, checked while the command line is read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def number(
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


count = number(int, 1)
positive = number(float, 0, low_allowed=False)
