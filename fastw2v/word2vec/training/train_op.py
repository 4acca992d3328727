"""The training step of word vectors on running text: one op that updates both tables in place."""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fastw2v._core.arguments import (
    to_counts,
    to_floats,
    to_integer,
    to_integers,
    to_number,
    to_tensor,
)
from fastw2v._core.library import ops as _ops
from fastw2v._core.tables import apply_pending, unwrap
from fastw2v.word2vec.corpus.subwords import Subwords, mean_rows
from fastw2v.word2vec.training.settings import MOST_DRAWN, TABLE, Settings

tf.no_gradient("Fastw2v>HuffmanTree")
tf.no_gradient("Fastw2v>InferDocuments")
tf.no_gradient("Fastw2v>NoiseTable")
tf.no_gradient("Fastw2v>Word2VecTrain")


class Trained(NamedTuple):
    """What a step has found.

    Attributes:
        loss: float64 scalar, the sum of the losses of all examples in nats, each as it was before
            the update of its group.
        examples: int64 scalar, how many they were: pairs, or bags of CBOW.
        words: int64 scalar, how many words subsampling has left.
    """

    loss: tf.Tensor
    examples: tf.Tensor
    words: tf.Tensor


def keep_probability(counts: Any, sample: float = Settings.sample) -> tf.Tensor:
    """The probability that subsampling keeps each word, float32 [num_words].

    Word ``k`` stays with probability ``min(1, sqrt(x) + x)``, ``x = sample * sum(counts) /
    counts[k]``, as in word2vec.c and gensim; always where ``sample`` is 0.

    Raises:
        ValueError: Wrong rank or dtype, or ``sample`` is not in [0, 1).
        tf.errors.InvalidArgumentError: A count is NaN, infinite or negative.

    Example:
        >>> from fastw2v.word2vec.training.train_op import keep_probability
        >>> keep_probability([7_500, 2_500], sample=0.1875).numpy().tolist()
        [0.75, 1.0]
    """
    return _ops.fastw2v_keep_probabilities(
        counts=to_counts(counts), sample=to_number("sample", sample, 0.0, 1.0)
    )


def noise_table(counts: Any, ns_exponent: float = Settings.ns_exponent) -> tf.Tensor:
    """The words that negative sampling draws, word ``k`` in proportion to
    ``counts[k]**ns_exponent``, as a table for `train_block`: int32 [num_words, 2].

    Raises:
        ValueError: Wrong rank, dtype or exponent.
        tf.errors.InvalidArgumentError: A count is NaN, infinite or negative, or all are 0.

    Example:
        >>> from fastw2v.word2vec.training.train_op import noise_table
        >>> noise_table([10, 5, 1]).shape
        TensorShape([3, 2])
    """
    power = to_number("ns_exponent", ns_exponent, float("-inf"), float("inf"))
    return _ops.fastw2v_noise_table(counts=to_counts(counts), power=power)


class HuffmanTree(NamedTuple):
    """A binary tree of the words, see `huffman_tree`.

    Attributes:
        splits: int64 [num_words + 1]; the way from the root to word ``k`` is
            ``steps[splits[k]:splits[k + 1]]``.
        steps: int32, ``2 * node + turn`` each; node is in [0, num_words - 1).
        longest: int64 scalar, the number of steps of the longest way.
    """

    splits: tf.Tensor
    steps: tf.Tensor
    longest: tf.Tensor


def huffman_tree(counts: Any) -> HuffmanTree:
    """Huffman's tree of the counts [num_words], for hierarchical softmax: the words that occur most
    are nearest to the root.

    Raises:
        ValueError: Wrong rank or dtype.
        tf.errors.InvalidArgumentError: A count is NaN, infinite or negative.

    Example:
        >>> from fastw2v.word2vec.training.train_op import huffman_tree
        >>> tree = huffman_tree([10, 5, 1])
        >>> tree.splits.numpy().tolist(), int(tree.longest)
        ([0, 1, 3, 5], 2)

    Source: Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words and
    Phrases and their Compositionality", NIPS 2013, section 2.1.
    """
    return HuffmanTree(*_ops.fastw2v_huffman_tree(counts=to_counts(counts)))


class WordBags(NamedTuple):
    """The rows of the embeddings that each word is made of, see `word_bags`.

    Attributes:
        splits: int64 [num_words + 1]; those of word ``k`` are ``rows[splits[k]:splits[k + 1]]``, at
            least one.
        rows: int32.
    """

    splits: tf.Tensor
    rows: tf.Tensor

    def of(self, words: Any) -> tf.RaggedTensor:
        """The rows of some words [n], or of bags of words [n, width], where a negative number is no
        word: int64 [n, None]."""
        bags = tf.RaggedTensor.from_row_splits(tf.cast(self.rows, tf.int64), self.splits)
        words = tf.convert_to_tensor(words)
        if words.shape.rank == 1:
            return tf.gather(bags, words)
        return tf.gather(bags, tf.ragged.boolean_mask(words, words >= 0)).merge_dims(1, 2)

    def means(self, table: np.ndarray) -> np.ndarray:
        """The mean of the rows of each word, float32 [num_words, dim].

        Args:
            table: float32 [num_rows, dim].
        """
        return mean_rows(table, self.splits.numpy(), self.rows.numpy())


def word_bags(words: Sequence[Hashable], subwords: Subwords) -> WordBags:
    """The rows of words and of their n-grams, for `train_block`.

    Args:
        words: The words, in the order of their rows.
        subwords: Which n-grams they have.

    Raises:
        ValueError: There are 2^31 rows or more.

    Example:
        >>> from fastw2v.word2vec.corpus.subwords import Subwords
        >>> from fastw2v.word2vec.training.train_op import word_bags
        >>> bags = word_bags(["up", "down"], Subwords(min_n=3, max_n=3, bucket=100))
        >>> bags.splits.numpy().tolist()  # "<up" and "up>"; "<do", "dow", "own" and "wn>"
        [0, 3, 8]
    """
    return WordBags(*map(tf.constant, subwords.bags(words)))


@tf.autograph.experimental.do_not_convert
def train_block(
    embeddings: tf.Variable,
    weights: tf.Variable,
    ids: Any,
    *,
    seed: Any,
    noise: tf.Tensor | None = None,
    tree: HuffmanTree | None = None,
    documents: tf.Variable | None = None,
    keep_probability: tf.Tensor | None = None,
    bags: WordBags | None = None,
    sg: bool = True,
    cbow_mean: bool = True,
    window: int = Settings.window,
    shrink_windows: bool = Settings.shrink_windows,
    negative: int = Settings.negative,
    group: int = 16,
    shared: int = 16,
    start_alpha: Any = Settings.alpha,
    end_alpha: Any = None,
    deterministic: bool = False,
    workers: int = 0,
    name: str | None = None,
) -> Trained:
    """Trains word vectors on a piece of text once, in place.

    The text should have 100,000 tokens or more, so that the cost of a call does not count.

    It is trained on the CPU, where the two variables have to be: on a machine with a GPU, where
    TensorFlow places variables by itself, create them within ``tf.device("CPU:0")``. The call may
    stand within any ``tf.device``.

    Args:
        embeddings: The word vectors, a float32 ``tf.Variable`` [num_words, dim]; with ``bags``, the
            rows that they are made of, [num_rows, dim].
        weights: The vectors of words as classes (gensim's ``syn1neg``), another variable,
            [num_words, dim], or with ``tree`` those of its nodes (``syn1``; the last row is not
            used); zeros at first.
        ids: int32 [size], the words in order; a negative id is no word and ends a sentence.
        seed: A pair of integers that decides all draws; take another one for every call.
        noise: Negative sampling: the words to draw, see `noise_table`.
        tree: Hierarchical softmax: the tree of the words, see `huffman_tree`. Either this or
            ``noise`` is given; ``negative``, ``group`` and ``shared`` are not looked at then.
        documents: The vectors of documents, a third variable [num_documents, dim]. The id ``-2 -
            d`` before a sentence says that it is of document ``d``; several such ids may stand
            there. With ``sg`` each word is paired with its documents in place of its contexts
            (PV-DBOW), so that ``embeddings`` stay as they are; otherwise its documents are in its
            bag beside the contexts (PV-DM).
        keep_probability: float32 [num_words], see the function of this name. None keeps all words.
        bags: The rows that each word is made of, see `word_bags`. The vector of a word is their
            mean; in CBOW all rows of all contexts are taken together. Each row of a word gets its
            whole step, as in fastText, shortened where words share so many rows that it would
            overshoot. None: word ``k`` has row ``k``.
        sg: Skip-gram, each context of a word paired with it; otherwise CBOW, all its contexts
            together.
        cbow_mean: Whether CBOW takes the mean of the contexts, or their sum.
        window: How far a word looks to each side, among the words that stay.
        shrink_windows: Whether the window of each word is drawn from ``1, ..., window``.
        negative: How many drawn words the loss of an example counts.
        group: How many words are trained on together at most, with the same drawn words, in
            [1, 4096]: their updates are made at once, from the tables as they were before. A
            group has fewer words, and a word takes a shorter step, where the updates of a word
            would add up to a step past its minimum.
        shared: How many words are drawn for a group, in [1, 4096]. Each counts ``negative /
            shared`` times for each example.
        start_alpha: The learning rate at the first token, a number or a float tensor.
        end_alpha: The learning rate after the last token; between them it changes linearly. None
            takes ``start_alpha``.
        deterministic: Gives the same bits for any number of threads. Sixteen parts of the text
            (one for every 64 words, if the words are fewer than 1024) are trained on side by side,
            and their updates made together after each group: about a third more work than
            otherwise, and threads wait for each other twice a group. Otherwise
            threads update the tables without locks, and with more than one of them results differ
            from run to run.
        workers: How many of TensorFlow's threads train at most, where training is not
            deterministic; 0: all. With 1 the same arguments give the same bits.
        name: Name of the op.

    Returns:
        The loss and what it was computed from, see `Trained`.

    Raises:
        ValueError: Wrong rank, dtype or option, or a table that is no variable on the CPU.
        tf.errors.InvalidArgumentError: An id is not below ``num_words``, or shapes do not fit.
            Nothing is updated then.

    Example:
        >>> import tensorflow as tf
        >>> from fastw2v.word2vec.training.train_op import noise_table, train_block
        >>> embeddings = tf.Variable(tf.random.stateless_uniform([3, 8], [1, 2], -0.06, 0.06))
        >>> weights = tf.Variable(tf.zeros([3, 8]))
        >>> trained = train_block(
        ...     embeddings, weights, [0, 1, 0, 2, -1, 1, 0], noise=noise_table([3, 2, 1]),
        ...     seed=(1, 2), window=1)
        >>> int(trained.examples), int(trained.words)
        (8, 6)

    Source: Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words and
    Phrases and their Compositionality", NIPS 2013, equation 4; shared negatives: Ji, Satish, Li and
    Dubey, "Parallelizing Word2Vec in Shared and Distributed Memory", 2016, section 3; bags:
    Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword Information", TACL
    2017; documents: Le and Mikolov, "Distributed Representations of Sentences and Documents", ICML
    2014.
    """
    tables = {"embeddings": embeddings, "weights": weights}
    if documents is not None:
        tables["documents"] = documents
    with _prepared(tables) as handles:
        return Trained(
            *_ops.fastw2v_word2_vec_train(
                embeddings=handles.pop("embeddings"),
                weights=handles.pop("weights"),
                documents=list(handles.values()),
                **_of_text(ids, seed, noise, tree, keep_probability, start_alpha, end_alpha),
                bag_splits=tf.zeros([0], tf.int64) if bags is None else bags.splits,
                bag_rows=tf.zeros([0], tf.int32) if bags is None else bags.rows,
                **_drawn(window, shrink_windows, sg, cbow_mean, negative, group, shared),
                deterministic=bool(deterministic),
                workers=to_integer("workers", workers, 0, 2**31 - 1),
                name=name,
            )
        )


@tf.autograph.experimental.do_not_convert
def infer_documents(
    embeddings: tf.Variable,
    weights: tf.Variable,
    ids: Any,
    first_vectors: Any,
    *,
    seed: Any,
    epochs: int,
    noise: tf.Tensor | None = None,
    tree: HuffmanTree | None = None,
    keep_probability: tf.Tensor | None = None,
    sg: bool = True,
    cbow_mean: bool = True,
    window: int = Settings.window,
    shrink_windows: bool = Settings.shrink_windows,
    negative: int = Settings.negative,
    group: int = 16,
    shared: int = 16,
    start_alpha: Any = Settings.alpha,
    end_alpha: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """Vectors of new documents, each trained on its own text; the tables of words stay.

    The vector of a document depends on its own text and first vector, and on nothing else among
    the documents. It has the same bits each time, whatever the number of threads, which take one
    document after another.

    Args:
        embeddings, weights: As `train_block` has trained them, with ``documents``.
        ids: int32 [size], the texts one after another, each ended by -1.
        first_vectors: float32 [num_documents, dim], what training begins with.
        epochs: How often each text is trained on, at least 1.
        seed, noise, tree, keep_probability, sg, cbow_mean, window, shrink_windows, negative, group,
            shared: As in `train_block`.
        start_alpha, end_alpha: The learning rate at the beginning of the first epoch and at the end
            of the last.
        name: Name of the op.

    Returns:
        float32 [num_documents, dim].

    Raises:
        ValueError: Wrong rank, dtype or option, or a table that is no variable on the CPU.
        tf.errors.InvalidArgumentError: An id is not below ``num_words``, shapes do not fit, or
            there are more or fewer texts than first vectors.

    Example:
        >>> import tensorflow as tf
        >>> from fastw2v.word2vec.training.train_op import infer_documents, noise_table
        >>> embeddings, weights = (tf.Variable(tf.ones([3, 8])) for _ in range(2))
        >>> infer_documents(
        ...     embeddings, weights, [0, 1, -1, 2, -1], tf.zeros([2, 8]), seed=(1, 2), epochs=3,
        ...     noise=noise_table([3, 2, 1])).shape
        TensorShape([2, 8])

    Source: Le and Mikolov, "Distributed Representations of Sentences and Documents", ICML 2014,
    section 2.2.
    """
    with _prepared({"embeddings": embeddings, "weights": weights}) as handles:
        return _ops.fastw2v_infer_documents(
            **handles,
            first_vectors=to_floats("first_vectors", first_vectors, tf.float32),
            epochs=TABLE["epochs"].checked(epochs),
            **_of_text(ids, seed, noise, tree, keep_probability, start_alpha, end_alpha),
            **_drawn(window, shrink_windows, sg, cbow_mean, negative, group, shared),
            name=name,
        )


@contextmanager
def _prepared(tables: dict[str, Any]) -> Iterator[dict[str, tf.Tensor]]:
    """The handles of variables, in the scope of their device, whatever the caller has chosen."""
    variables = {name: _variable(name, table) for name, table in tables.items()}
    device = _device(variables)
    for variable in variables.values():
        apply_pending(variable, None)
    with tf.device(device):
        yield {name: variable.handle for name, variable in variables.items()}


def _of_text(
    ids: Any,
    seed: Any,
    noise: tf.Tensor | None,
    tree: HuffmanTree | None,
    keep_probability: tf.Tensor | None,
    start_alpha: Any,
    end_alpha: Any,
) -> dict[str, tf.Tensor]:
    """Inputs of the ops, beside the tables."""
    if (noise is None) == (tree is None):
        raise ValueError("either noise or tree must be given, and not both")
    if end_alpha is None:
        end_alpha = start_alpha
    if keep_probability is None:
        keep_probability = tf.zeros([0])
    return {
        "ids": _ids(ids),
        "keep_probability": to_floats("keep_probability", keep_probability, tf.float32),
        "noise": tf.zeros([0, 2], tf.int32) if noise is None else noise,
        "tree_splits": tf.zeros([0], tf.int64) if tree is None else tree.splits,
        "tree_steps": tf.zeros([0], tf.int32) if tree is None else tree.steps,
        "tree_longest": tf.zeros([], tf.int64) if tree is None else tree.longest,
        "seed": to_integers("seed", seed, [2]),
        "alphas": tf.stack([_alpha("start_alpha", start_alpha), _alpha("end_alpha", end_alpha)]),
    }


def _drawn(
    window: int,
    shrink_windows: bool,
    sg: bool,
    cbow_mean: bool,
    negative: int,
    group: int,
    shared: int,
) -> dict[str, Any]:
    """Attributes of the ops: what is drawn, and what is made of it."""
    return {
        "window": TABLE["window"].checked(window),
        "shrink_windows": bool(shrink_windows),
        "cbow": not sg,
        "mean": bool(cbow_mean),
        "negative": to_integer("negative", negative, 1, MOST_DRAWN),
        "group": to_integer("group", group, 1, MOST_DRAWN),
        "shared": to_integer("shared", shared, 1, MOST_DRAWN),
    }


def _variable(name: str, table: Any) -> tf.Variable:
    variable = unwrap(table)
    if not isinstance(variable, tf.Variable):
        raise ValueError(f"{name} is a {type(table).__name__}, expected a tf.Variable")
    if variable.dtype != tf.float32 or variable.shape.rank not in (None, 2):
        raise ValueError(
            f"{name} has dtype {variable.dtype.name} and shape {variable.shape}, expected float32 "
            f"[num_{'documents' if name == 'documents' else 'words'}, dim]"
        )
    return variable


def _device(tables: dict[str, tf.Variable]) -> str:
    """The device of the variables."""
    for name, table in tables.items():
        if tf.DeviceSpec.from_string(table.device).device_type not in (None, "CPU"):
            raise ValueError(
                f"{name} is a variable on {table.device}, but word vectors are trained on the CPU: "
                'create it within tf.device("CPU:0")'
            )
    device = tables["embeddings"].device
    for name, table in tables.items():
        if table.device != device:
            raise ValueError(
                f"embeddings is a variable on {device}, but {name} is one on {table.device}: "
                "create them on one device"
            )
    return device


def _alpha(name: str, alpha: Any) -> tf.Tensor:
    if isinstance(alpha, numbers.Real):
        return tf.constant(float(alpha), tf.float64)
    return to_floats(name, alpha, tf.float64)


def _ids(ids: Any) -> tf.Tensor:
    ids = to_tensor("ids", ids)
    if ids.dtype != tf.int32 or ids.shape.rank not in (None, 1):
        raise ValueError(
            f"ids has dtype {ids.dtype.name} and shape {ids.shape}, expected int32 [size]"
        )
    return ids
