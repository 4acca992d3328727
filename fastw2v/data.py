"""Training examples of word2vec from word ids: skip-gram pairs and CBOW bags.

`skipgrams` and `cbow` take a text as ids and give all its examples at once, as tensors that go
straight into `fastw2v.negative_sampling_loss` and `fastw2v.softmax_loss`. They work eagerly, in a
``tf.function`` and in ``tf.data``, where a whole pipeline is a few lines::

    text = tf.data.Dataset.from_tensor_slices(ids).batch(50_000)
    pairs = (
        text.repeat(epochs)
        .enumerate()
        .map(
            lambda i, ids: fastw2v.data.skipgrams(
                ids, window=5, counts=counts, shuffle=True, seed=(7, i)
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .rebatch(1024)
        .prefetch(tf.data.AUTOTUNE)
    )

* **Blocks.** An element is many sentences, not one: the cost of a call is then next to nothing.
  Sentences that come one by one are brought together by ``.ragged_batch(1000)``.
* **Seeds.** ``enumerate`` gives every element a number, and with it a seed of its own. Behind
  ``repeat`` each pass draws anew. The pairs are the same at every run, whatever the number of
  parallel calls.
* **Order.** ``shuffle=True`` mixes the pairs of an element; ``Dataset.shuffle`` on single pairs
  takes a hundred times as long. To mix elements too, shuffle them before ``enumerate``.
* **Batches.** ``rebatch`` cuts the pairs of one element after the other into batches of one size.

Nothing here is differentiable.
"""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from fastw2v._core.arguments import (
    to_counts,
    to_ids,
    to_integer,
    to_number,
    to_seed_pair,
    wrong_shape,
)
from fastw2v._core.library import ops as _ops

__all__ = ["cbow", "skipgrams"]

tf.no_gradient("Fastw2v>KeepProbabilities")
tf.no_gradient("Fastw2v>SkipGrams")
tf.no_gradient("Fastw2v>CbowBags")

_MAX_WINDOW = 2**31 - 1


@tf.autograph.experimental.do_not_convert
def skipgrams(
    ids: Any,
    window: int,
    *,
    counts: Any = None,
    sample: float = 1e-3,
    shrink_windows: bool = True,
    shuffle: bool = False,
    seed: Any = None,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pairs of each word with the words near it, as word2vec and gensim make them.

    With ``counts``, frequent words are thinned out first: an occurrence of word ``k`` stays with
    probability ``min(1, sqrt(x) + x)``, ``x = sample * sum(counts) / counts[k]``. What is left of a
    sentence closes up. Then each word, the center, is paired with up to ``r`` words before it and
    ``r`` after it in its sentence, where ``r`` is drawn for each center from ``1, ..., window``, so
    that nearer words occur more often.

    Args:
        ids: Integer ids of words in order. Either a vector [size], where a negative id is no word
            and ends a sentence; or sentences, as a ``tf.RaggedTensor`` [num_sentences, (length)]
            or as a matrix [num_sentences, length] filled up by negative ids. Unknown words with a
            negative id keep the words on both sides of them apart; to let those close up, as
            word2vec does, leave unknown words out beforehand.
        window: The largest distance between the words of a pair, at least 1.
        counts: How often each word occurs in the whole text, [num_words]: integers or floats,
            finite and not negative. None keeps all words. Constant counts are evaluated once where
            a function is traced, as in ``Dataset.map``, and at each call where it runs eagerly.
        sample: Threshold of subsampling in [0, 1), used with ``counts``: words of a greater
            relative frequency than about 2.6 times it are thinned out. 0 keeps all words.
        shrink_windows: Whether ``r`` is drawn; otherwise it is ``window``.
        shuffle: Whether pairs come in a random order, every order being equally likely; otherwise
            they come in the order of their centers, and of their contexts within a center.
        seed: Decides which words stay, ``r``, and the order. ``None`` draws anew at each call and
            obeys ``tf.random.set_seed``. An integer works as in ``tf.random.uniform(seed=...)``:
            calls differ, and their sequence is decided by it and by ``tf.random.set_seed``. A pair
            of integers, as a tensor [2], a list or a tuple, decides the result: the same ids and
            pair, the same examples, whatever the number of threads.
        name: Name of the op.

    Returns:
        ``(centers, contexts)``, int64 [num_pairs] each: ids of words.

    Raises:
        ValueError: Wrong rank, dtype or option.
        tf.errors.InvalidArgumentError: A count is NaN, infinite or negative, or an id is not below
            the number of counts.

    Example:
        >>> import fastw2v
        >>> centers, contexts = fastw2v.data.skipgrams(
        ...     [4, 8, 15, -1, 16, 23], window=2, shrink_windows=False)
        >>> list(zip(centers.numpy().tolist(), contexts.numpy().tolist()))
        [(4, 8), (4, 15), (8, 4), (8, 15), (15, 4), (15, 8), (16, 23), (23, 16)]

        Every element of a dataset has its own seed:

        >>> text = tf.data.Dataset.from_tensors([4, 8, 15]).repeat(3)
        >>> pairs = text.enumerate().map(
        ...     lambda i, ids: fastw2v.data.skipgrams(ids, window=2, seed=(7, i)))
        >>> [centers.numpy().tolist() for centers, contexts in pairs]
        [[4, 4, 8, 8, 15, 15], [4, 8, 8, 15, 15], [4, 4, 8, 8, 15, 15]]

    Source: Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words and
    Phrases and their Compositionality", NIPS 2013, sections 2 and 2.3; the formula of subsampling
    and the drawn windows as in word2vec.c and gensim.
    """
    with tf.name_scope(name or "skipgrams"):
        return tuple(
            _ops.fastw2v_skip_grams(
                **_arguments(ids, window, counts, sample, shrink_windows, shuffle, seed)
            )
        )


@tf.autograph.experimental.do_not_convert
def cbow(
    ids: Any,
    window: int,
    *,
    counts: Any = None,
    sample: float = 1e-3,
    shrink_windows: bool = True,
    shuffle: bool = False,
    seed: Any = None,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The words near each word as a bag, with that word as its label, for CBOW.

    A bag holds the contexts that `skipgrams` would pair the word with, for the same arguments and
    seed. A word without contexts gives no bag.

    Args:
        ids, window, counts, sample, shrink_windows, seed, name: As in `skipgrams`.
        shuffle: Whether bags come in a random order; the words of a bag stay in theirs.

    Returns:
        ``(bags, labels)``, int64 [num_bags, 2 * window], filled up by -1, and [num_bags]: the
        arguments ``inputs`` and ``labels`` of the losses.

    Raises:
        ValueError: Wrong rank, dtype or option.
        tf.errors.InvalidArgumentError: A count is NaN, infinite or negative, or an id is not below
            the number of counts.

    Example:
        >>> import fastw2v
        >>> bags, labels = fastw2v.data.cbow(
        ...     [4, 8, 15, -1, 16, 23], window=2, shrink_windows=False)
        >>> for bag, label in zip(bags.numpy().tolist(), labels.numpy().tolist()):
        ...     print(label, "from", bag)
        4 from [8, 15, -1, -1]
        8 from [4, 15, -1, -1]
        15 from [4, 8, -1, -1]
        16 from [23, -1, -1, -1]
        23 from [16, -1, -1, -1]
        >>> embeddings, weights = tf.Variable(tf.ones([30, 8])), tf.Variable(tf.zeros([30, 8]))
        >>> loss = fastw2v.negative_sampling_loss(
        ...     embeddings, weights, inputs=bags, labels=labels, num_sampled=5)
        >>> loss.shape
        TensorShape([5])

    Source: Mikolov, Chen, Corrado and Dean, "Efficient Estimation of Word Representations in Vector
    Space", 2013, section 3.1; subsampling and windows as in `skipgrams`.
    """
    with tf.name_scope(name or "cbow"):
        return tuple(
            _ops.fastw2v_cbow_bags(
                **_arguments(ids, window, counts, sample, shrink_windows, shuffle, seed)
            )
        )


def _arguments(
    ids: Any,
    window: int,
    counts: Any,
    sample: float,
    shrink_windows: bool,
    shuffle: bool,
    seed: Any,
) -> dict[str, Any]:
    """The arguments as both ops take them."""
    words, row_splits = _text(ids)
    draws = counts is not None or shrink_windows or shuffle
    return {
        "ids": words,
        "row_splits": row_splits,
        "keep_probability": _keep_probability(counts, sample),
        "seed": to_seed_pair(seed if draws or seed is not None else (0, 0)),
        "window": to_integer("window", window, 1, _MAX_WINDOW),
        "shrink_windows": bool(shrink_windows),
        "shuffle": bool(shuffle),
    }


def _text(ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The ids in a row, and where sentences begin and end; empty where ids themselves say so."""
    expected = "ids [size], or sentences [num_sentences, length], dense or ragged"
    if isinstance(ids, tf.RaggedTensor):
        if ids.shape.rank != 2:
            raise wrong_shape("ids", ids.shape, expected)
        return to_ids("ids", ids.flat_values), tf.cast(ids.row_splits, tf.int64)
    words = to_ids("ids", ids)
    if words.shape.rank == 2:
        num_sentences, length = tf.unstack(tf.shape(words, tf.int64))
        return tf.reshape(words, [-1]), tf.range(num_sentences + 1) * length
    if words.shape.rank not in (None, 1):
        raise wrong_shape("ids", words.shape, expected)
    return words, tf.zeros([0], tf.int64)


def _keep_probability(counts: Any, sample: float) -> tf.Tensor:
    """How likely each word is to stay; empty where all do."""
    sample = to_number("sample", sample, 0.0, 1.0)
    if counts is None:
        return tf.zeros([0])
    # Counts that do not depend on the function being traced are evaluated once, now.
    symbolic = tf.is_symbolic_tensor(counts)
    with contextlib.nullcontext() if symbolic else tf.init_scope():
        return _ops.fastw2v_keep_probabilities(counts=to_counts(counts), sample=sample)
