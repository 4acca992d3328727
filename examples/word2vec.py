"""Word vectors by skip-gram with negative sampling, beside the same model of TensorFlow's own ops.

The text is what the docstrings of an installed package say. Run it as it stands:

    python examples/word2vec.py

It prints the mean loss of each epoch and, at the end, the nearest neighbors of a few words.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import fastw2v
from fastw2v.word2vec.corpus import DocstringReader, TokenCorpus, read_corpus, tokenize

DIM = 64
BATCH = 1024
WINDOW = 4
NEGATIVES = 5  # for each pair
LEARNING_RATE = 0.03


def sentences(package: str, max_words: int) -> Iterator[list[str]]:
    """The words of each paragraph of the docstrings."""
    directory = Path(importlib.util.find_spec(package).origin).parent
    words = 0
    for text in DocstringReader([directory]):
        for paragraph in text.splitlines():
            yield (sentence := tokenize(paragraph))
            words += len(sentence)
            if words >= max_words:
                return


def make_pairs(corpus: TokenCorpus) -> tf.data.Dataset:
    """One epoch: batches of words and of words near them."""
    blocks = tf.data.Dataset.from_generator(
        lambda: corpus.blocks(20_000), output_signature=tf.TensorSpec([None], tf.int32)
    )
    return (
        blocks.enumerate()
        .map(
            lambda number, ids: fastw2v.data.skipgrams(
                ids,
                window=WINDOW,
                counts=corpus.vocabulary.counts,
                shuffle=True,
                seed=(7, number),  # another one for each block
            )
        )
        .rebatch(BATCH, drop_remainder=True)
        .cache()  # the same pairs for both models, and made once
    )


def make_tables(num_words: int) -> tuple[tf.Variable, tf.Variable]:
    """Vectors of words, and of words as neighbors of others."""
    start = tf.random.stateless_uniform([num_words, DIM], (1, 2), -0.5 / DIM, 0.5 / DIM)
    return tf.Variable(start), tf.Variable(tf.zeros([num_words, DIM]))


def train_with_fastw2v(
    pairs: tf.data.Dataset, tables: tuple[tf.Variable, tf.Variable], counts: np.ndarray, epochs: int
) -> Iterator[float]:
    """Yields the mean loss of each epoch."""
    embeddings, contexts = tables
    sampler = fastw2v.samplers.Unigram(counts, power=0.75, unique=False)
    optimizer = fastw2v.optimizers.Adagrad(LEARNING_RATE)
    optimizer.build([embeddings, contexts])

    # `fastw2v.train_step(optimizer, fastw2v.negative_sampling_loss, embeddings, contexts, ...)`
    # would be the whole body of `step`, in one op.
    @tf.function
    def step(inputs, labels):
        with tf.GradientTape() as tape:
            loss = fastw2v.negative_sampling_loss(
                embeddings,
                contexts,
                inputs=inputs,
                labels=labels,
                num_sampled=NEGATIVES,
                sampler=sampler,
                reduction="sum",  # each pair moves its rows, whatever the size of the batch
            )
        gradients = tape.gradient(loss, [embeddings, contexts])  # slices: the rows in the batch
        optimizer.apply_gradients(zip(gradients, [embeddings, contexts], strict=True))
        return loss / BATCH

    for _ in range(epochs):
        yield float(tf.reduce_mean([step(*batch) for batch in pairs]))


def train_with_tensorflow(
    pairs: tf.data.Dataset, tables: tuple[tf.Variable, tf.Variable], counts: np.ndarray, epochs: int
) -> Iterator[float]:
    """The same, composed from TensorFlow's ops, with the optimizer of Keras."""
    embeddings, contexts = tables
    optimizer = keras.optimizers.Adagrad(LEARNING_RATE)
    optimizer.build([embeddings, contexts])

    @tf.function
    def step(inputs, labels):
        negatives, _, _ = tf.random.fixed_unigram_candidate_sampler(
            tf.expand_dims(labels, 1),
            num_true=1,
            num_sampled=BATCH * NEGATIVES,
            unique=False,
            range_max=len(counts),
            distortion=0.75,
            unigrams=counts.tolist(),
        )
        negatives = tf.reshape(negatives, [BATCH, NEGATIVES])
        with tf.GradientTape() as tape:
            hidden = tf.gather(embeddings, inputs)
            true_logits = tf.reduce_sum(hidden * tf.gather(contexts, labels), axis=1)
            logits = tf.einsum("bd,bnd->bn", hidden, tf.gather(contexts, negatives))
            # A negative that happens to be the label does not count.
            counted = tf.cast(negatives != tf.expand_dims(labels, 1), tf.float32)
            losses = tf.nn.softplus(-true_logits)
            losses += tf.reduce_sum(counted * tf.nn.softplus(logits), axis=1)
            loss = tf.reduce_sum(losses)
        # Keras' optimizers do not sum the slices of a row that occurs several times.
        gradients = map(tf.convert_to_tensor, tape.gradient(loss, [embeddings, contexts]))
        optimizer.apply_gradients(zip(gradients, [embeddings, contexts], strict=True))
        return loss / BATCH

    for _ in range(epochs):
        yield float(tf.reduce_mean([step(*batch) for batch in pairs]))


def print_epochs(name: str, losses: Iterator[float]) -> None:
    start = time.perf_counter()
    for epoch, loss in enumerate(losses, 1):
        print(f"{name:<10}  epoch {epoch}  loss {loss:.4f}")
    # To stderr: what goes to stdout is the same at every run.
    print(f"{name:<10}  {time.perf_counter() - start:.2f} s", file=sys.stderr)


def print_neighbors(embeddings: tf.Variable, corpus: TokenCorpus, num_words: int = 5) -> None:
    """The words whose vectors have the largest cosine with those of some frequent words."""
    words = corpus.vocabulary.words
    directions = tf.math.l2_normalize(embeddings, axis=1)
    asked = [number for number, word in enumerate(words) if len(word) > 4][:num_words]
    _, nearest = fastw2v.top_k(tf.gather(directions, asked), directions, k=6)
    for number, neighbors in zip(asked, nearest.numpy(), strict=True):
        others = [words[neighbor] for neighbor in neighbors if neighbor != number]
        print(f"{words[number]:>12}: {', '.join(others[:5])}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--package", default="keras", help="whose docstrings are the text")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the text")
    parser.add_argument("--no-stock", action="store_true", help="leave out TensorFlow's own ops")
    parser.add_argument("--quick", action="store_true", help="a quarter of the text")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(1)
    corpus = read_corpus(sentences(arguments.package, 20_000 if arguments.quick else 80_000))
    counts = corpus.vocabulary.counts
    pairs = make_pairs(corpus)
    num_batches = sum(1 for _ in pairs)  # fills the cache
    print(f"{corpus.num_tokens:,} words, {len(counts):,} of them different")
    print(f"{num_batches:,} steps of {BATCH:,} pairs in an epoch")

    tables = make_tables(len(counts))
    print_epochs("fastw2v", train_with_fastw2v(pairs, tables, counts, arguments.epochs))
    if not arguments.no_stock:
        stock_tables = make_tables(len(counts))
        losses = train_with_tensorflow(pairs, stock_tables, counts, arguments.epochs)
        print_epochs("TensorFlow", losses)
    print_neighbors(tables[0], corpus)


if __name__ == "__main__":
    main()
