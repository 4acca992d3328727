"""Settings of `fastw2v.Word2Vec` as options of the commands, made of their table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastw2v.commands._options import number
from fastw2v.word2vec.training.settings import TABLE, Setting

# Where all commands need something else than the model.
SETTINGS = {**TABLE, "min_count": replace(TABLE["min_count"], low=1)}  # 0 is gensim's name for 1
_ABOVE = {"alpha"}  # their low end is left out: a command that learns nothing is a mistake


def add_settings(
    parser: argparse._ActionsContainer, settings: Iterable[Setting], only_given: bool = False
) -> None:
    """Adds an option for each setting.

    Args:
        parser: What takes them: a parser, or a group of its options.
        settings: The settings, as in ``SETTINGS`` or with something replaced.
        only_given: Whether the options have no attribute where they are not on the command line.
    """
    for setting in settings:
        how = _how(setting)
        text = setting.help
        if setting.default is not None and "action" not in how:
            default = setting.default
            text += f" (default: {default if isinstance(default, str) else format(default, 'g')})"
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            default=argparse.SUPPRESS if only_given else setting.default,
            help=text,
            **how,
        )


def _how(setting: Setting) -> dict[str, Any]:
    """What argparse gets to know of a setting."""
    if setting.choices:
        return {"choices": setting.choices}
    if setting.kind is bool and not setting.default:
        return {"action": "store_true"}
    low, high = (0, 1) if setting.kind is bool else (setting.low, setting.high)
    kind = float if setting.kind is float else int
    metavar = "0|1" if (low, high) == (0, 1) and kind is int else "N"
    parse = number(kind, low, high, low_allowed=setting.name not in _ABOVE)
    return {"type": parse, "metavar": metavar}
