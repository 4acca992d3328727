"""Pairs of a centre word and a word near it, as arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastw2v.word2vec.corpus import Corpus

_CHUNK_WORDS = 1 << 18


def keep_probability(counts: np.ndarray, sample: float) -> np.ndarray:
    """Returns the probability with which subsampling keeps an occurrence of each word.

    A word of relative frequency f is kept with probability ``sqrt(sample / f) + sample / f``, at
    most 1, as in word2vec.c and gensim. (Mikolov et al. 2013, "Distributed Representations of Words
    and Phrases and their Compositionality", section 2.3, have the first term only.)

    Args:
        counts: ``[V]``, how often each word occurs, at least 1.
        sample: The threshold, for example 1e-3; 0 keeps every word.

    Raises:
        ValueError: ``sample`` is negative.

    Example:
        >>> keep_probability(np.array([990, 10]), sample=0.01).round(3).tolist()
        [0.111, 1.0]
    """
    if not sample >= 0:
        raise ValueError(f"sample is {sample}; it must be at least 0")
    if sample == 0:
        return np.ones(len(counts))
    ratio = sample * counts.sum() / counts
    return np.minimum(np.sqrt(ratio) + ratio, 1.0)


def skipgrams(
    ids: np.ndarray, sentences: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each word paired with the words of its sentence within its reach.

    Args:
        ids: int32 ``[T]``, the words in order.
        sentences: ``[T]``, the sentence of each word.
        reach: ``[T]``, how many words to the left and to the right each word looks.

    Returns:
        ``(centres, contexts)``, int32 arrays of one length: the words at i and j for each
        ``0 < |i - j| <= reach[i]`` within a sentence. The order is no matter.

    Example:
        >>> centres, contexts = skipgrams(
        ...     np.array([7, 8, 9]), np.array([0, 0, 0]), np.array([1, 1, 2])
        ... )
        >>> sorted(zip(centres.tolist(), contexts.tolist()))
        [(7, 8), (8, 7), (8, 9), (9, 7), (9, 8)]
    """
    centres, contexts = [ids[:0]], [ids[:0]]
    for distance in range(1, min(int(reach.max(initial=0)), len(ids) - 1) + 1):
        left, right = ids[:-distance], ids[distance:]
        together = sentences[:-distance] == sentences[distance:]
        to_right = together & (reach[:-distance] >= distance)
        to_left = together & (reach[distance:] >= distance)
        centres += [left[to_right], right[to_left]]
        contexts += [right[to_right], left[to_left]]
    return np.concatenate(centres), np.concatenate(contexts)


def skipgram_batches(
    corpus: Corpus, window: int, sample: float, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yields one pass over a corpus as shuffled batches of skip-gram pairs.

    Frequent words are subsampled, and each word's reach is drawn from 1 to ``window``, as in
    word2vec. Pairs are shuffled within chunks of a quarter of a million words.

    Args:
        corpus: The text.
        window: The largest distance between the words of a pair, at least 1.
        sample: Threshold of `keep_probability`.
        batch_size: Pairs in a batch, at least 1.
        rng: Decides which words are kept, their reach and the order.

    Yields:
        ``(centres, contexts, done)``: int32 ``[batch_size]`` twice, fewer in the last batch, and
        the share of the pass that is done with this batch, in (0, 1].
    """
    keep = keep_probability(corpus.vocabulary.counts, sample).astype(np.float32)
    total = len(corpus.ids)
    rest = (corpus.ids[:0], corpus.ids[:0])
    for start in range(0, total, _CHUNK_WORDS):
        chunk = slice(start, min(start + _CHUNK_WORDS, total))
        ids, sentences = corpus.ids[chunk], corpus.sentences[chunk]
        kept = rng.random(len(ids), dtype=np.float32) < keep[ids]
        ids, sentences = ids[kept], sentences[kept]
        reach = rng.integers(1, window, len(ids), dtype=np.int32, endpoint=True)
        pairs = skipgrams(ids, sentences, reach)
        order = rng.permutation(len(pairs[0]))
        centres, contexts = (
            np.concatenate([left_over, new[order]])
            for left_over, new in zip(rest, pairs, strict=True)
        )
        end = len(centres)
        if chunk.stop < total:
            end -= end % batch_size
        for first in range(0, end, batch_size):
            batch = slice(first, min(first + batch_size, end))
            done = (start + (chunk.stop - start) * batch.stop / end) / total
            yield centres[batch], contexts[batch], done
        rest = centres[end:], contexts[end:]
