"""A language model with an exact softmax over 100,000 words, whose logits are never stored.

    python examples/language_model.py

An LSTM reads words and predicts the next one. `fastw2v.keras.LinearCrossEntropy` is the last dense
layer and its loss in one op. The text is made here: every word has a few likely followers.

After each epoch the program prints the perplexity on text left out of training: among how many
equally likely words the model might as well choose. The same model with `Dense` and the
cross-entropy of Keras is trained beside it, by default for fewer epochs, because it takes longer
and stores a logit, and its gradient, for each of 100,000 words at each position. Then the model is
trained with the adaptive softmax, which compares a position with the frequent words, and with one
cluster of rare ones if its word lies there. It begins nearer to its end, and so early in training
it is ahead; what it costs later, `benchmarks/adaptive_quality.py` measures on real text.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np

import fastw2v

NUM_WORDS = 100_000
DIM = 32
LENGTH = 16  # words that are predicted in a sentence
BATCH = 8  # sentences in a step: 51 MB of logits, where they are stored
LEARNING_RATE = 0.05
CUTOFFS = [100, 5_000]  # of the adaptive softmax, in words sorted by falling frequency


def make_text(num_sentences: int) -> np.ndarray:
    """Sentences as numbers of words, [num_sentences, LENGTH + 1]."""
    rng = np.random.default_rng(1)
    # As in any text, few of the words make up most of it. These are spread over all numbers.
    frequent = rng.choice(NUM_WORDS, 30, replace=False)
    followers = frequent[rng.integers(0, len(frequent), [NUM_WORDS, 3])]
    sentences = np.empty([num_sentences, LENGTH + 1], np.int64)
    sentences[:, 0] = rng.choice(frequent, num_sentences)
    for place in range(LENGTH):
        likely = rng.choice(3, num_sentences, p=[0.8, 0.1, 0.1])
        rare = rng.random(num_sentences) < 0.02
        sentences[:, place + 1] = np.where(
            rare,
            rng.integers(0, NUM_WORDS, num_sentences),
            followers[sentences[:, place], likely],
        )
    return sentences


def by_frequency(text: np.ndarray, training: slice) -> np.ndarray:
    """The text with words renumbered: the most frequent of the training sentences is 0."""
    counts = np.bincount(text[training].ravel(), minlength=NUM_WORDS)
    rank = np.empty(NUM_WORDS, np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(NUM_WORDS)
    return rank[text]


def fastw2v_model(head: keras.Layer) -> keras.Model:
    """Labels are an input of the model: the loss layer adds the loss, and knows the dense layer."""
    words = keras.Input([LENGTH], dtype="int64")
    labels = keras.Input([LENGTH], dtype="int64")
    hidden = fastw2v.keras.Embedding(NUM_WORDS, DIM)(words)
    hidden = keras.layers.LSTM(DIM, return_sequences=True)(hidden)
    model = keras.Model([words, labels], head(hidden, labels))
    # Of the embedding, Adam touches the rows of the words in the batch alone, and yet moves all as
    # the Adam of Keras does.
    model.compile(fastw2v.optimizers.Adam(LEARNING_RATE))
    return model


def keras_model() -> keras.Model:
    words = keras.Input([LENGTH], dtype="int64")
    hidden = keras.layers.Embedding(NUM_WORDS, DIM)(words)
    hidden = keras.layers.LSTM(DIM, return_sequences=True)(hidden)
    logits = keras.layers.Dense(NUM_WORDS)(hidden)
    model = keras.Model(words, logits)
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def perplexities(
    model: keras.Model, training: tuple, held_out: tuple, epochs: int
) -> Iterator[float]:
    """Yields the perplexity on the text left out, after each epoch."""
    for _ in range(epochs):
        model.fit(*training, batch_size=BATCH, verbose=0)
        yield math.exp(model.evaluate(*held_out, batch_size=BATCH, verbose=0))


def print_epochs(name: str, values: Iterator[float]) -> None:
    start = time.perf_counter()
    epoch = 0
    for epoch, perplexity in enumerate(values, 1):
        print(f"{name:<8}  epoch {epoch}  perplexity {perplexity:,.1f}")
    # To stderr: what goes to stdout is the same at every run.
    print(f"{name:<8}  {epoch} epochs in {time.perf_counter() - start:.2f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=4, help="passes over the text")
    parser.add_argument("--stock-epochs", type=int, default=2, help="of the Keras model; 0: none")
    parser.add_argument("--quick", action="store_true", help="two thirds of the text")
    arguments = parser.parse_args()

    text = make_text(14 * BATCH)
    words, labels = text[:, :-1], text[:, 1:]
    split = (8 if arguments.quick else 12) * BATCH
    training, held_out = slice(0, split), slice(-2 * BATCH, None)
    print(f"{split * LENGTH:,} words to predict in an epoch, out of {NUM_WORDS:,}")

    # The same beginning for all: seeds decide the first weights and the order of the batches.
    def with_head(name: str, head: keras.Layer, text: np.ndarray) -> None:
        keras.utils.set_random_seed(1)
        inputs = [text[:, :-1], text[:, 1:]]
        values = perplexities(
            fastw2v_model(head),
            ([part[training] for part in inputs],),
            ([part[held_out] for part in inputs],),
            arguments.epochs,
        )
        print_epochs(name, values)

    with_head("fastw2v", fastw2v.keras.LinearCrossEntropy(NUM_WORDS), text)
    if arguments.stock_epochs:
        keras.utils.set_random_seed(1)
        values = perplexities(
            keras_model(),
            (words[training], labels[training]),
            (words[held_out], labels[held_out]),
            arguments.stock_epochs,
        )
        print_epochs("Keras", values)
    adaptive = fastw2v.keras.AdaptiveSoftmax(NUM_WORDS, CUTOFFS, use_bias=True)
    with_head("adaptive", adaptive, by_frequency(text, training))


if __name__ == "__main__":
    main()
