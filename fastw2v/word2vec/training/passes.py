"""Passes over a text: the learning rate, the loss, reports on the way, and Ctrl-C."""

from __future__ import annotations

import itertools
import math
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from fastw2v.word2vec.training.settings import LINEAR

if TYPE_CHECKING:
    from fastw2v.word2vec.corpus import TokenCorpus
    from fastw2v.word2vec.training.objectives import Objective
    from fastw2v.word2vec.training.workers import Alone

_LONGEST_VECTOR = 1000.0  # those of trainings that go well are shorter than 100
_CHECKING = 0.01  # the share of the time that looking at all vectors may take
_CLOCK_FROM = 0.1  # the share of the time after which being late shortens the training


@dataclass(frozen=True)
class Progress:
    """How far training has come.

    Attributes:
        done: The share of the work, or of the time if that runs out earlier, in [0, 1].
        epoch: The pass over the text that is under way, from 1 on.
        epochs: Passes in all.
        epoch_ended: Whether this is the end of a pass.
        words: Words of the text, all passes together, as subsampling has not touched them yet.
        examples: Pairs or bags in the pass so far.
        loss: Mean over these, in nats; each before the update that it leads to.
        learning_rate: Of the next word.
        seconds: Since this call of `train` began.
        words_per_second: In this call of `train`; what is done between the blocks, as evaluation
            is, does not count.
    """

    done: float
    epoch: int
    epochs: int
    epoch_ended: bool
    words: int
    examples: int
    loss: float
    learning_rate: float
    seconds: float
    words_per_second: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} of {self.epochs}, {self.words_per_second:,.0f} words/s, "
            f"learning rate {self.learning_rate:.3g}, loss {self.loss:.4f}"
        )


@dataclass
class Run:
    """A call of `train`, as far as it has come: all that it takes to go on.

    Attributes:
        epochs, alpha, min_alpha, schedule: As `train` was asked for.
        num_words: Words of one pass.
        first_epoch: Passes in earlier calls, so that no pass draws what another has drawn.
        epoch, block: Passes done, and blocks of the next that are done.
        words, loss, examples: Of the pass under way, so far; the loss is a sum in float64.
        total_loss, total_examples: The same over all passes.
        block_tokens: Of a block; 0: what the objective takes.
    """

    epochs: int
    alpha: float
    min_alpha: float
    schedule: str
    num_words: int
    first_epoch: int = 0
    epoch: int = 0
    block: int = 0
    words: int = 0
    loss: float = 0.0
    examples: int = 0
    total_loss: float = 0.0
    total_examples: int = 0
    block_tokens: int = 0

    @property
    def power(self) -> float:
        """Of the share of the work that is left, in the learning rate."""
        return 1.0 if self.schedule == LINEAR else self.epochs / (self.epochs + 2)

    @property
    def all_words(self) -> int:
        return self.epoch * self.num_words + self.words

    @property
    def done(self) -> float:
        return self.all_words / (self.epochs * self.num_words)

    @property
    def finished(self) -> bool:
        return self.epoch == self.epochs


def train(
    objective: Objective,
    corpus: TokenCorpus,
    run: Run,
    *,
    seed: int,
    losses: list[float],
    max_seconds: float = math.inf,
    workers: Alone,
) -> Iterator[Progress]:
    """Trains block after block, and yields after each, or after those of all workers between two
    merges of their tables, and at the end of each pass.

    Between two steps of the iterator the tables and `run` fit together: there it may be left, and
    later be begun anew with the same `run`.

    Args:
        objective: What trains on a block.
        corpus: The text.
        run: Where to begin; it is kept up to date.
        seed: Decides all draws, together with the numbers of the pass and the block.
        losses: Takes the mean loss of each pass, NaN for one that subsampling left no example.
        max_seconds: Ends training earlier: the learning rate then falls with the time.
        workers: Those who train; each calls this, for its share of the blocks.

    Raises:
        ConnectionError: Another worker has ended, or cannot be reached.
        ValueError: The loss or a vector is no longer finite, or a vector is longer than makes
            sense.
    """
    begin, words_before = time.monotonic(), run.all_words
    elsewhere = 0.0  # seconds between the blocks
    next_check = begin
    agreed_seconds = 0.0  # of several workers
    loss, examples = 0.0, 0  # of this worker, since the last merge

    def done() -> float:
        seconds = time.monotonic() - begin if workers.number == 1 else agreed_seconds
        time_over = min(seconds / max_seconds, 1.0)
        # Not earlier: the first steps are slow, and the clock must not touch a run that has time.
        return time_over if time_over > max(run.done, _CLOCK_FROM) else run.done

    def rate(done: float) -> float:
        of_one = run.min_alpha + (run.alpha - run.min_alpha) * max(1.0 - done, 0.0) ** run.power
        return workers.rate_factor * of_one

    def progress(epoch_ended: bool) -> Progress:
        seconds = time.monotonic() - begin
        words = run.all_words
        return Progress(
            done=done(),
            epoch=run.epoch + (not epoch_ended),
            epochs=run.epochs,
            epoch_ended=epoch_ended,
            words=words,
            examples=run.examples,
            loss=losses[-1] if epoch_ended else run.loss / max(run.examples, 1),
            learning_rate=rate(done()),
            seconds=seconds,
            words_per_second=(words - words_before) / max(seconds - elsewhere, 1e-9),
        )

    def synchronize(whole: bool) -> None:
        """Takes over what all workers have done since the last merge."""
        nonlocal agreed_seconds, loss, examples
        totals = workers.synchronize(loss, examples, time.monotonic() - begin, whole)
        agreed_seconds = totals.seconds
        loss, examples = 0.0, 0
        run.loss += totals.loss
        run.total_loss += totals.loss
        run.examples += totals.examples
        run.total_examples += totals.examples
        if not math.isfinite(totals.loss):
            check_vectors(objective, corpus, run)
            raise ValueError(
                f"the loss is {totals.loss} with alpha = {run.alpha:g}: take a smaller alpha"
            )

    while not run.finished:
        blocks = corpus.blocks(run.block_tokens or objective.block_tokens)
        for ids, words in _ahead(itertools.islice(blocks, run.block, None)):
            start = done()
            if start >= 1:  # the time is over
                synchronize(whole=True)
                yield progress(epoch_ended=False)
                return
            if workers.takes(run.block):
                end = start + words / (run.epochs * run.num_words)
                draws = seed, (run.first_epoch + run.epoch << 32) + run.block
                try:
                    trained = objective.train(ids, draws, rate(start), rate(end))
                except Exception:
                    check_vectors(objective, corpus, run)
                    raise
                loss, examples = loss + trained[0], examples + trained[1]
            run.words += words
            run.block += 1
            if not workers.merges_after(run.block):
                continue
            synchronize(whole=False)
            left = time.monotonic()
            # Of several workers all have the same vectors at the end of the pass.
            if left >= next_check and workers.number == 1:
                check_vectors(objective, corpus, run)
                next_check = left + (time.monotonic() - left) / _CHECKING
            yield progress(epoch_ended=False)
            elsewhere += time.monotonic() - left
        synchronize(whole=True)
        check_vectors(objective, corpus, run)
        losses.append(run.loss / run.examples if run.examples else math.nan)
        run.epoch += 1
        run.block = run.words = run.examples = 0
        run.loss = 0.0
        left = time.monotonic()
        yield progress(epoch_ended=True)
        elsewhere += time.monotonic() - left


def check_vectors(objective: Objective, corpus: TokenCorpus, run: Run) -> None:
    """Raises ValueError where training has run away."""
    row, length = objective.longest_vector()
    if length <= _LONGEST_VECTOR:
        return
    words, tags = corpus.vocabulary.words, corpus.tags
    name = (
        f"{words[row]!r}"
        if row < len(words) or tags is None
        else (f"the document {tags.words[row - len(words)]!r}")
    )
    raise ValueError(
        f"training diverges: after {run.words:,} words of pass {run.epoch + 1} the vector of "
        f"{name} has length {length:.3g}, above {_LONGEST_VECTOR:g}. "
        f"Take a smaller alpha (it is {run.alpha:g}), fewer negative words or a smaller window"
    )


def _ahead(blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """The blocks with the number of words in each. Another thread reads the next from the disk
    while one is trained on."""

    def read() -> tuple[np.ndarray, int] | None:
        block = next(blocks, None)
        if block is None:
            return None
        ids = np.array(block)
        return ids, int(np.count_nonzero(ids >= 0))

    with ThreadPoolExecutor(1, "fastw2v-reader") as reader:
        following = reader.submit(read)
        while (block := following.result()) is not None:
            following = reader.submit(read)
            yield block


class Interrupts:
    """Keeps Ctrl-C for a moment at which nothing is half done. A second one comes at once."""

    def __init__(self) -> None:
        self.met = False
        self._handler: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # neither ignored nor left to the system
                self._handler = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.met = True
        self.__exit__()
