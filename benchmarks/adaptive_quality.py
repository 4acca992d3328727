"""What the adaptive softmax costs in perplexity, beside the exact one.

The same language model, an LSTM over the words of the docstrings of TensorFlow, is trained with
each head: same text, order of batches and optimizer. Words are numbered by falling frequency, and
those that occur once are one word. A twentieth of the text is held out.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import keras
import machine
import numpy as np

import fastw2v
from fastw2v.word2vec.corpus.docstrings import DocstringReader
from fastw2v.word2vec.corpus.tokenizer import tokenize

COLUMNS = (
    *("text", "words", "classes", "dim", "head", "seed", "epoch", "perplexity"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)
LENGTH = 20  # words that are predicted in an example
BATCH = 32
DIM = 64
LEARNING_RATE = 0.002


def read_text(package: str, most: int) -> tuple[np.ndarray, int]:
    """The words of the docstrings as numbers, in examples [n, LENGTH + 1], and the classes."""
    directory = Path(importlib.util.find_spec(package).origin).parent
    paragraphs = itertools.chain.from_iterable(
        text.splitlines() for text in DocstringReader([directory])
    )
    words = [word for paragraph in paragraphs for word in tokenize(paragraph)][:most]
    counts = Counter(words)
    names = [word for word, count in counts.most_common() if count > 1]
    number = {word: i for i, word in enumerate(names)}
    ids = np.array([number.get(word, len(names)) for word in words])
    whole = len(ids) // (LENGTH + 1) * (LENGTH + 1)
    return ids[:whole].reshape(-1, LENGTH + 1), len(names) + 1


def perplexities(
    head: keras.Layer, text: np.ndarray, classes: int, seed: int, epochs: int
) -> Iterator[float]:
    """Of the text held out, after each epoch."""
    keras.utils.set_random_seed(seed)
    words, labels = (keras.Input([LENGTH], dtype="int64") for _ in range(2))
    hidden = fastw2v.keras.Embedding(classes, DIM)(words)
    hidden = keras.layers.LSTM(DIM, return_sequences=True)(hidden)
    model = keras.Model([words, labels], head(hidden, labels))
    model.compile(fastw2v.optimizers.Adam(LEARNING_RATE))
    held_out = np.arange(len(text)) % 20 == 0
    parts = [[part[:, :-1], part[:, 1:]] for part in (text[~held_out], text[held_out])]
    for _ in range(epochs):
        model.fit(parts[0], batch_size=BATCH, verbose=0)
        yield math.exp(model.evaluate(parts[1], batch_size=BATCH, verbose=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", default="tensorflow", help="whose docstrings are the text")
    parser.add_argument("--words", type=int, default=300_000, help="at most so many")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2,000 words, one epoch and seed")
    parser.add_argument("--output", type=Path, metavar="CSV")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.seeds, options.words = 1, 1, 2_000
    elif options.output is None:
        options.output = harness.RESULTS / "adaptive_quality.csv"
    text, classes = read_text(options.package, options.words)
    cutoffs = [classes // 10, classes // 3]
    heads = {
        "exact": lambda: fastw2v.keras.LinearCrossEntropy(classes),
        f"adaptive, cutoffs {cutoffs[0]:,} {cutoffs[1]:,}": lambda: fastw2v.keras.AdaptiveSoftmax(
            classes, cutoffs, use_bias=True
        ),
    }
    version = importlib.import_module(options.package).__version__
    shared = {
        "text": f"docstrings of {options.package} {version}",
        "words": text.size,
        "classes": classes,
        "dim": DIM,
    }
    rows = []
    for seed in range(1, options.seeds + 1):
        for name, make in heads.items():
            results = perplexities(make(), text, classes, seed, options.epochs)
            for epoch, perplexity in enumerate(results, 1):
                print(
                    f"seed {seed}  {name}  epoch {epoch}  perplexity {perplexity:.1f}", flush=True
                )
                row = {"head": name, "seed": seed, "epoch": epoch, "perplexity": perplexity}
                rows.append(shared | row | machine.description())
                if options.output:  # what was measured outlives an interruption
                    harness.write(options.output, COLUMNS, rows)


if __name__ == "__main__":
    main()
