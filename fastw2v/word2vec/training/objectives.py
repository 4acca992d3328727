"""What a block of text adds to the tables, for each of the losses, and how likely a text is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from fastw2v import data, optimizers, samplers
from fastw2v.ops import softmax_loss
from fastw2v.training import train_step
from fastw2v.word2vec.training import settings as options
from fastw2v.word2vec.training import train_op
from fastw2v.word2vec.training.settings import Settings
from fastw2v.word2vec.training.tables import values


@dataclass(frozen=True)
class Tables:
    """The variables that training changes.

    Attributes:
        embeddings: float32 ``[V, D]``, the vectors of words; with n-grams ``[V + bucket, D]``, the
            rows that words are made of.
        weights: float32 ``[V, D]``, of words as they are predicted; of the inner nodes of the tree
            where the softmax is hierarchical and nothing else is trained.
        biases: float32 ``[V]``, None but for the two softmax losses.
        node_weights: float32 ``[V, D]``, of the inner nodes where negative sampling is trained,
            too; else None.
        documents: float32 ``[N, D]``, the vectors of documents; None for a text without any.
    """

    embeddings: tf.Variable
    weights: tf.Variable
    biases: tf.Variable | None = None
    node_weights: tf.Variable | None = None
    documents: tf.Variable | None = None


def table_shapes(settings: Settings, rows: int, documents: int = 0) -> dict[str, list[int]]:
    """Which of the tables a model of so many words and documents has."""
    width = settings.vector_size
    shapes = {"embeddings": [settings.input_rows(rows), width], "weights": [rows, width]}
    if settings.loss is not None:
        shapes["biases"] = [rows]
    if settings.objective == options.TREE_AND_NOISE:
        shapes["node_weights"] = [rows, settings.vector_size]
    if documents:
        shapes["documents"] = [documents, settings.vector_size]
    return shapes


def tree_table(settings: Settings) -> str | None:
    """Which of them belongs to the nodes of the tree."""
    if not settings.hs:
        return None
    return "node_weights" if settings.negative else "weights"


def table_device(settings: Settings) -> AbstractContextManager[Any]:
    """Where tables are made: the op that takes the text itself is the CPU's alone."""
    return tf.device("CPU:0") if settings.loss is None else nullcontext()


class Objective:
    """Trains on blocks of text and computes how likely they are."""

    block_tokens: int  # of a block, for training
    _EVALUATED_TOKENS = 1 << 14
    _EVALUATED_BATCH = 1024
    _CHECKED_ROWS = 1 << 14

    def __init__(
        self,
        tables: Tables,
        counts: np.ndarray,
        settings: Settings,
        bags: train_op.WordBags | None = None,
    ) -> None:
        self._tables = tables
        self._counts = counts
        self._settings = settings
        self._bags = bags

    def train(
        self, ids: np.ndarray, seed: tuple[int, int], start_alpha: float, end_alpha: float
    ) -> tuple[float, int]:
        """Trains on a block, while the learning rate goes from one number to the other.

        Returns:
            The loss before each update, summed over the examples, in nats, and their number.
        """
        raise NotImplementedError

    def longest_vector(self) -> tuple[int, float]:
        """The row of the longest vector, and its length: infinite where a number of the vector is
        not finite. Rows of documents are counted on from those of words."""
        row, longest, before = 0, 0.0, 0
        documents = self._tables.documents
        for vectors in (self._vectors(), None if documents is None else values(documents)):
            if vectors is None:
                continue
            for first in range(0, len(vectors), self._CHECKED_ROWS):
                piece = vectors[first : first + self._CHECKED_ROWS]
                squares = np.einsum("ij,ij->i", piece, piece, dtype=np.float64)
                lengths = np.where(np.isfinite(squares), np.sqrt(squares), np.inf)
                if lengths.max() > longest:
                    row, longest = before + first + int(lengths.argmax()), float(lengths.max())
            before += len(vectors)
        return row, longest

    def _vectors(self) -> np.ndarray:
        table = values(self._tables.embeddings)
        return table if self._bags is None else self._bags.means(table)

    def infer(
        self,
        ids: np.ndarray,
        first_vectors: np.ndarray,
        seed: tuple[int, int],
        epochs: int,
        start_alpha: float,
        end_alpha: float,
    ) -> np.ndarray:
        """The vectors of new documents, see `train_op.infer_documents`."""
        raise NotImplementedError

    def log_likelihood(self, ids: np.ndarray, seed: tuple[int, int]) -> tuple[float, int]:
        """The logarithm of the probability that the model gives the words of a block, summed over
        its examples, and their number."""
        total, number = 0.0, 0
        for inputs, labels in self._batches(ids, seed, self._EVALUATED_BATCH, shuffle=False):
            total -= float(self._loss_sum(inputs, labels))
            number += len(labels)
        return total, number

    def _batches(
        self, ids: np.ndarray, seed: tuple[int, int], size: int, shuffle: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Examples as training makes them: what predicts, and the word to be predicted."""
        settings = self._settings
        function = data.skipgrams if settings.sg else data.cbow
        first, second = function(
            ids,
            settings.window,
            counts=self._counts,
            sample=settings.sample,
            shrink_windows=settings.shrink_windows,
            shuffle=shuffle,
            seed=seed,
        )
        # As in word2vec, a context predicts the word in whose window it lies.
        inputs, labels = (second, first) if settings.sg else (first, second)
        inputs, labels = inputs.numpy(), labels.numpy()
        for start in range(0, len(labels), size):
            yield inputs[start : start + size], labels[start : start + size]

    def _loss_sum(self, inputs: np.ndarray, labels: np.ndarray) -> tf.Tensor:
        settings = self._settings
        return softmax_loss(
            self._tables.embeddings,
            self._tables.weights,
            self._biases(),
            inputs if self._bags is None else self._bags.of(inputs),
            labels,
            combiner="mean" if settings.cbow_mean or settings.sg else "sum",
            reduction="sum",
        )

    def _biases(self) -> tf.Tensor | tf.Variable | None:
        """What is added to the logits of the exact softmax."""
        raise NotImplementedError


class TextObjective(Objective):
    """Negative sampling and hierarchical softmax: one op takes the text itself."""

    block_tokens = 1 << 18

    def __init__(
        self,
        tables: Tables,
        counts: np.ndarray,
        settings: Settings,
        bags: train_op.WordBags | None = None,
    ) -> None:
        super().__init__(tables, counts, settings, bags)
        self._keep = train_op.keep_probability(counts, settings.sample) if settings.sample else None

    def train(
        self, ids: np.ndarray, seed: tuple[int, int], start_alpha: float, end_alpha: float
    ) -> tuple[float, int]:
        trained = train_op.train_block(
            self._tables.embeddings,
            self._tables.weights,
            ids,
            **self._options(seed, start_alpha, end_alpha),
            bags=self._bags,
            documents=self._tables.documents,
            deterministic=self._settings.deterministic,
            workers=self._settings.workers or 0,
        )
        return float(trained.loss), int(trained.examples)

    def infer(
        self,
        ids: np.ndarray,
        first_vectors: np.ndarray,
        seed: tuple[int, int],
        epochs: int,
        start_alpha: float,
        end_alpha: float,
    ) -> np.ndarray:
        return train_op.infer_documents(
            self._tables.embeddings,
            self._tables.weights,
            ids,
            first_vectors,
            epochs=epochs,
            **self._options(seed, start_alpha, end_alpha),
        ).numpy()

    def _options(
        self, seed: tuple[int, int], start_alpha: float, end_alpha: float
    ) -> dict[str, Any]:
        """What training and inference have in common."""
        settings = self._settings
        return {
            **self._classes(),
            "keep_probability": self._keep,
            "seed": seed,
            "sg": settings.sg,
            "cbow_mean": settings.cbow_mean,
            "window": settings.window,
            "shrink_windows": settings.shrink_windows,
            "start_alpha": start_alpha,
            "end_alpha": end_alpha,
        }

    def _classes(self) -> dict[str, Any]:
        """What a word is set against, as `train_op.train_block` takes it."""
        raise NotImplementedError


class NegativeSampling(TextObjective):
    """Words against words of the noise."""

    _NARROW = 128  # vectors
    _MANY = 10_000  # words

    def __init__(
        self,
        tables: Tables,
        counts: np.ndarray,
        settings: Settings,
        bags: train_op.WordBags | None = None,
    ) -> None:
        super().__init__(tables, counts, settings, bags)
        self._noise = train_op.noise_table(counts, settings.ns_exponent)

    def _classes(self) -> dict[str, Any]:
        return {
            "noise": self._noise,
            "negative": self._settings.negative,
            **self._group(),
        }

    def _group(self) -> dict[str, int]:
        """How many words are trained on together, and how many are drawn for them.

        With more drawn ones, or smaller groups, vectors are a little better and training takes
        longer; the wider they are, the more. Updates of a group add up: of few words each would
        have so many that steps overshoot, and the loss may become NaN. CBOW, which has a bag where
        skip-gram has several pairs, is as good in groups of 32 if the words are many. Documents are
        trained on a few words each, and need more drawn ones to become as good as gensim's.
        """
        if self._tables.documents is not None:
            group, shared = (32, 40) if self._settings.sg else (16, 24)
        elif not self._settings.sg:
            group, shared = (16 if len(self._counts) < self._MANY else 32), 16
        else:
            group, shared = (24 if self._settings.vector_size <= self._NARROW else 32), 24
        return {"group": min(group, max(1, len(self._counts) // 2)), "shared": shared}

    def _biases(self) -> tf.Tensor:
        # The loss is least where h w = log p(w|h) - log q(w) - log negative, for the noise q: so
        # the probabilities that the model has learned are softmax(h w + log q).
        noise = np.asarray(self._counts, np.float64) ** self._settings.ns_exponent
        return tf.constant(np.log(noise / noise.sum()), tf.float32)


class HierarchicalSoftmax(TextObjective):
    """Turns in a binary tree whose leaves are the words."""

    def __init__(
        self,
        tables: Tables,
        counts: np.ndarray,
        settings: Settings,
        bags: train_op.WordBags | None = None,
    ) -> None:
        super().__init__(tables, counts, settings, bags)
        self._tree = train_op.huffman_tree(counts)

    def _classes(self) -> dict[str, Any]:
        return {"tree": self._tree}

    def log_likelihood(self, ids: np.ndarray, seed: tuple[int, int]) -> tuple[float, int]:
        loss, number = self.train(ids, seed, 0.0, 0.0)  # a step of length 0
        return -loss, number


class TreeAndNoise(Objective):
    """Hierarchical softmax and negative sampling, in turns: on the same examples of each block."""

    block_tokens = 1 << 14

    def __init__(
        self,
        tables: Tables,
        counts: np.ndarray,
        settings: Settings,
        bags: train_op.WordBags | None = None,
    ) -> None:
        super().__init__(tables, counts, settings, bags)
        of_tree = replace(tables, weights=tables.node_weights)
        self._tree = HierarchicalSoftmax(of_tree, counts, settings, bags)
        self._noise = NegativeSampling(tables, counts, settings, bags)

    def train(
        self, ids: np.ndarray, seed: tuple[int, int], start_alpha: float, end_alpha: float
    ) -> tuple[float, int]:
        loss, examples = self._tree.train(ids, seed, start_alpha, end_alpha)
        return loss + self._noise.train(ids, seed, start_alpha, end_alpha)[0], examples

    def infer(self, *arguments: Any) -> np.ndarray:
        return self._noise.infer(*arguments)

    def log_likelihood(self, ids: np.ndarray, seed: tuple[int, int]) -> tuple[float, int]:
        return self._tree.log_likelihood(ids, seed)  # its probabilities sum to 1


class DocumentsAndWords(Objective):
    """PV-DBOW and skip-gram, in turns on each block."""

    block_tokens = 1 << 14

    def __init__(self, documents: Objective, words: Objective) -> None:
        super().__init__(documents._tables, documents._counts, documents._settings)
        self._documents, self._words = documents, words

    def train(
        self, ids: np.ndarray, seed: tuple[int, int], start_alpha: float, end_alpha: float
    ) -> tuple[float, int]:
        words = self._words.train(ids, seed, start_alpha, end_alpha)
        documents = self._documents.train(ids, seed, start_alpha, end_alpha)
        return words[0] + documents[0], words[1] + documents[1]

    def infer(self, *arguments: Any) -> np.ndarray:
        return self._documents.infer(*arguments)


class Softmax(Objective):
    """Words against all others or a sample of them: made of pairs, batches and `train_step`."""

    block_tokens = 1 << 14

    def __init__(
        self,
        tables: Tables,
        counts: np.ndarray,
        settings: Settings,
        bags: train_op.WordBags | None = None,
    ) -> None:
        super().__init__(tables, counts, settings)  # words alone: see SubwordSettings
        self._sampled = {}
        if settings.loss == options.SAMPLED_SOFTMAX:
            sampler = samplers.Unigram(counts, settings.ns_exponent)
            self._sampled = {"num_sampled": settings.num_sampled, "sampler": sampler}
        self._updates_of_a_word = self._most_updates_of_a_word()
        self._optimizer = optimizers.SGD(settings.alpha)
        self._optimizer.build([tables.embeddings, tables.weights, tables.biases])
        inputs = tf.TensorSpec([None] if settings.sg else [None, None], tf.int64)
        self._step = tf.function(
            self._one_step,
            input_signature=[
                inputs,
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([], tf.float32),
                tf.TensorSpec([2], tf.int64),
            ],
            autograph=False,
        )

    def train(
        self, ids: np.ndarray, seed: tuple[int, int], start_alpha: float, end_alpha: float
    ) -> tuple[float, int]:
        loss, number = 0.0, 0
        batches = list(self._batches(ids, seed, self._batch_size(start_alpha), shuffle=True))
        for step, (inputs, labels) in enumerate(batches):
            rate = start_alpha + (end_alpha - start_alpha) * step / len(batches)
            # Of the samplers' own; the examples of the block are drawn with another.
            step_seed = np.array([(seed[0] + (step << 32)) % 2**63, seed[1]])
            loss += float(self._step(inputs, labels, rate, step_seed))
            number += len(labels)
        return loss, number

    def _batch_size(self, rate: float) -> int:
        """How many examples make a step: fewer than asked for where words are few, or one is in
        most of them, and the updates of its row would add up to a step far past the minimum."""
        most = 1.0 / max(rate * self._updates_of_a_word, 1e-9)
        return int(max(1.0, min(self._settings.batch_size, most)))

    def _most_updates_of_a_word(self) -> float:
        """How often an example updates the most frequent word."""
        settings = self._settings
        counts = np.asarray(self._counts, np.float64)
        if settings.sample:
            counts *= train_op.keep_probability(self._counts, settings.sample).numpy()
        share = float(counts.max() / counts.sum())
        if not settings.sg:  # each word of a bag gets the whole gradient
            share = min(1.0, 2 * settings.window * share)
            if not settings.cbow_mean:  # and moves the sum by it
                share *= 2 * settings.window
        return share

    def _one_step(
        self, inputs: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Moves the rows by the rate times the gradient of each example, however many."""
        self._optimizer.learning_rate.assign(rate)
        return train_step(
            self._optimizer,
            softmax_loss,
            self._tables.embeddings,
            self._tables.weights,
            self._tables.biases,
            inputs,
            labels,
            combiner="mean" if self._settings.cbow_mean else "sum",
            reduction="sum",
            **self._sampled,
            **({"seed": seed} if self._sampled else {}),
        )

    def _biases(self) -> tf.Variable:
        return self._tables.biases


def objective_of(
    tables: Tables,
    counts: np.ndarray,
    settings: Settings,
    bags: train_op.WordBags | None = None,
) -> Objective:
    kind = {
        options.NEGATIVE_SAMPLING: NegativeSampling,
        options.HIERARCHICAL_SOFTMAX: HierarchicalSoftmax,
        options.TREE_AND_NOISE: TreeAndNoise,
        options.SAMPLED_SOFTMAX: Softmax,
        options.SOFTMAX: Softmax,
    }[settings.objective]
    objective = kind(tables, counts, settings, bags)
    if isinstance(settings, options.DocumentSettings) and settings.sg and settings.dbow_words:
        words = kind(replace(tables, documents=None), counts, settings)
        return DocumentsAndWords(objective, words)
    return objective
