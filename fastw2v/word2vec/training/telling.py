"""Reports of the progress of training, for all who want them."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from fastw2v.word2vec.progress import ProgressLine
from fastw2v.word2vec.training.passes import Progress

_LOGGED_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Telling:
    """Reports to a function, a progress bar, TensorBoard and the log.

    Args:
        stack: Closes the bar and the file of TensorBoard.
        report: Is called with each `Progress`.
        progress: Whether to show a bar.
        tensorboard: Directory for scalars.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        report: Callable[[Progress], None] | None,
        progress: bool,
        tensorboard: str | os.PathLike[str] | None,
    ) -> None:
        self._report = report
        self._line = stack.enter_context(ProgressLine("training")) if progress else None
        self._writer = None
        if tensorboard is not None:
            self._writer = tf.summary.create_file_writer(os.fspath(tensorboard))
            stack.callback(self._writer.close)
        self._logged = time.monotonic()

    def __call__(self, now: Progress, log_likelihood: float | None) -> None:
        """Reports it.

        Args:
            now: How far training is.
            log_likelihood: Of the pass that has ended; None if it is not known.
        """
        held_out = "" if log_likelihood is None else f", held out {log_likelihood:.4f}"
        self._log(now, held_out)
        if self._line is not None:
            self._line.update(now.done, str(now))
            if now.epoch_ended:
                self._line.print(f"{now}{held_out}")
        if self._writer is not None:
            self._write(self._writer, now, log_likelihood)
        if self._report is not None:
            self._report(now)

    def _log(self, now: Progress, held_out: str) -> None:
        if now.epoch_ended:
            logger.info("end of %s%s", now, held_out)
        elif time.monotonic() - self._logged >= _LOGGED_SECONDS:
            logger.info("%.0f%% done, %s", 100 * now.done, now)
            self._logged = time.monotonic()

    def _write(self, writer: Any, now: Progress, log_likelihood: float | None) -> None:
        scalars = {
            "loss": now.loss,
            "learning_rate": now.learning_rate,
            "words_per_second": now.words_per_second,
        }
        if now.epoch_ended:
            scalars = {"epoch_loss": now.loss}
            if log_likelihood is not None:
                scalars["log_likelihood"] = log_likelihood
        # tf.summary.scalar would need the package tensorboard to write, not only to look.
        values = [
            tf.compat.v1.Summary.Value(tag=name, simple_value=value)
            for name, value in scalars.items()
        ]
        summary = tf.compat.v1.Summary(value=values).SerializeToString()
        with writer.as_default(step=now.words):
            tf.summary.experimental.write_raw_pb(summary)


def call(callbacks: Iterable[Any], method: str, model: Any) -> None:
    """Calls a method of those callbacks that have it."""
    for callback in callbacks:
        function = getattr(callback, method, None)
        if function is not None:
            function(model)
