"""Word ids to training examples on one thread: pairs a second, beside Keras' skipgrams.

All contestants of a case take turns in rounds of one run and take the same text, a sentence of
Zipf-distributed words. Keras' function takes whole windows and no shuffle, as `fastw2v` here does;
the other contestants do more. Its subsampling thins out centers only. "in tf.data" is a whole
pipeline: drawn windows, pairs shuffled, batches of 1024 of them.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass

import harness
import machine
import numpy as np
import tensorflow as tf
from harness import OURS

import fastw2v

KERAS = "Keras"
BATCH = 1024
PASSES = 10  # in tf.data, where an iterator is made first
COLUMNS = (
    *("window", "sample", "tokens", "contestant", "rounds", "median_s", "p20_s", "p80_s"),
    *("examples", "pairs", "pairs_per_s", "times_keras"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)


@dataclass(frozen=True)
class Case:
    """A window, and a threshold of subsampling; 0: all words stay."""

    window: int
    sample: float
    tokens: int = 50_000
    words: int = 100_000

    def __str__(self) -> str:
        subsampled = f", subsampled at {self.sample:g}" if self.sample else ""
        return f"window {self.window}{subsampled}: {self.tokens:,} tokens"


CASES = tuple(Case(window, sample) for sample in (0.0, 1e-3) for window in (2, 5, 10))
QUICK = tuple(Case(2, sample, tokens=300, words=50) for sample in (0.0, 1e-2))


class Contestants:
    """Functions that make the examples of a case; each returns them, or the last of them."""

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(1)
        probability = 1 / np.arange(1, case.words)
        probability /= probability.sum()
        self.case = case
        # Keras takes word 0 for padding.
        self.ids = rng.choice(np.arange(1, case.words), case.tokens, p=probability)
        self.tensor = tf.constant(self.ids)
        # Of a large text of these words.
        self.counts = np.concatenate([[0], np.ceil(1e9 * probability)])

    def make(
        self, function: Callable = fastw2v.data.skipgrams, **options: object
    ) -> Callable[[], tuple]:
        if self.case.sample:
            options |= {"counts": self.counts, "sample": self.case.sample}
        examples = functools.partial(function, window=self.case.window, seed=(1, 2), **options)
        return functools.partial(tf.function(examples), self.tensor)

    def pipeline(self, pairs: int) -> Callable[[], tuple]:
        """Some passes over the text in tf.data; Python sees the last of their batches alone."""
        batches = (
            tf.data.Dataset.from_tensors(self.tensor)
            .repeat(PASSES)
            .map(self.make(shuffle=True).func)
            .rebatch(BATCH)
            .skip((PASSES * pairs - 1) // BATCH)
        )
        return lambda: next(iter(batches))

    def keras(self) -> tuple[list, list]:
        return tf.keras.preprocessing.sequence.skipgrams(
            self.keras_ids,
            self.case.words,
            window_size=self.case.window,
            negative_samples=0.0,
            shuffle=False,
            sampling_table=self.keras_table,
        )

    @functools.cached_property
    def keras_ids(self) -> list[int]:
        return self.ids.tolist()

    @functools.cached_property
    def keras_table(self) -> list[float] | None:
        if not self.case.sample:
            return None
        return fastw2v._kernels.keep_probabilities(self.counts, self.case.sample).tolist()


def rows(case: Case, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measures a case, prints its table and returns its rows."""
    contestants = Contestants(case)
    steps = {
        OURS: contestants.make(shrink_windows=False),
        f"{OURS}, drawn windows": contestants.make(),
        f"{OURS}, drawn windows, shuffled": contestants.make(shuffle=True),
        f"{OURS}, CBOW": contestants.make(fastw2v.data.cbow),
        KERAS: contestants.keras,
    }
    examples, pairs = {}, {}
    for name, step in steps.items():
        first, second = step()
        examples[name] = len(second)
        pairs[name] = int(np.sum(np.asarray(first) >= 0)) if "CBOW" in name else len(second)
    drawn = f"{OURS}, drawn windows, shuffled"
    steps[f"{OURS}, in tf.data"] = contestants.pipeline(pairs[drawn])
    examples[f"{OURS}, in tf.data"] = pairs[f"{OURS}, in tf.data"] = PASSES * pairs[drawn]
    steps[f"{OURS}, in tf.data"]()
    if not case.sample:
        np.testing.assert_array_equal(np.stack(steps[OURS](), axis=1), contestants.keras()[0])

    measured = harness.measured(steps, options.rounds, options.seconds)
    rates = {name: pairs[name] / np.array(measured[name].seconds) for name in steps}
    result = [
        {
            "window": case.window,
            "sample": case.sample,
            "tokens": case.tokens,
            "contestant": name,
            "rounds": len(measurement.seconds),
            "median_s": measurement.percentile(50),
            "p20_s": measurement.percentile(20),
            "p80_s": measurement.percentile(80),
            "examples": examples[name],
            "pairs": pairs[name],
            "pairs_per_s": float(np.median(rates[name])),
            "times_keras": float(np.median(rates[name] / rates[KERAS])),
        }
        for name, measurement in measured.items()
    ]
    width = max(map(len, steps))
    print(
        f"  {'':{width}} {'median ms':>10} {'p20':>9} {'p80':>9} {'pairs':>9} {'M pairs/s':>9} "
        f"{'times Keras':>11}"
    )
    for row in result:
        milliseconds = (row[name] * 1e3 for name in ("median_s", "p20_s", "p80_s"))
        print(
            "  {:{}} {:10.3f} {:9.3f} {:9.3f} {:9,} {:9.2f} {:11.1f}".format(
                row["contestant"],
                width,
                *milliseconds,
                row["pairs"],
                row["pairs_per_s"] / 1e6,
                row["times_keras"],
            ),
            flush=True,
        )
    return result


def main() -> None:
    options = harness.options(__doc__, "data")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    description = machine.description()
    print(", ".join(f"{name} {value}" for name, value in description.items() if value))
    written = []
    for case in QUICK if options.quick else CASES:
        print(f"\n{case}", flush=True)
        written += [row | description for row in rows(case, options)]
        if options.output:  # after each case, so that what was measured outlives an interruption
            harness.write(options.output, COLUMNS, written)
    if options.output:
        print(f"\nwritten: {options.output}")


if __name__ == "__main__":
    main()
