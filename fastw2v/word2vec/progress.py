"""How far a long task has come, on the standard error stream."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

_BAR_SECONDS = 0.2
_LINE_SECONDS = 5.0


class ProgressLine:
    """A bar on a terminal; elsewhere, as in a log file, a line every five seconds.

    Args:
        label: What is going on, one word.

    Example:
        >>> with ProgressLine("counting") as progress:
        ...     for number in range(3):
        ...         progress.update((number + 1) / 3, f"{number + 1} numbers")
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._begin = self._shown = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=1.0, desc=label, bar_format="{desc}{postfix}", leave=False)

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: float | None, text: str) -> None:
        """Shows how far the task is.

        Args:
            done: The share that is done, in [0, 1]; None if it is not known.
            text: What to show beside it.
        """
        now = time.monotonic()
        if now - self._shown < (_LINE_SECONDS if self._bar is None else _BAR_SECONDS):
            return
        self._shown = now
        if self._bar is not None:
            if done is not None:
                self._bar.n = done
                self._bar.bar_format = (
                    "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
                )
            self._bar.set_postfix_str(text)
        elif done:
            left = tqdm.format_interval((now - self._begin) * (1 - done) / done)
            print(f"{self._label}: {done:4.0%}, {left} left, {text}", file=sys.stderr, flush=True)
        else:
            print(f"{self._label}: {text}", file=sys.stderr, flush=True)

    def print(self, text: str) -> None:
        """Writes a line that stays."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)
