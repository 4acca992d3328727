"""Pairs of a centre word and a word near it, in batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from fastw2v.data import skipgrams
from fastw2v.word2vec.corpus import Corpus

_CHUNK_WORDS = 1 << 18


def skipgram_batches(
    corpus: Corpus, window: int, sample: float, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yields one pass over a corpus as shuffled batches of skip-gram pairs.

    Pairs are those of `fastw2v.data.skipgrams`, shuffled within chunks of a quarter of a million
    words.

    Args:
        corpus: The text.
        window: The largest distance between the words of a pair, at least 1.
        sample: Threshold above which frequent words are thinned out, in [0, 1); 0 keeps all.
        batch_size: Pairs in a batch, at least 1.
        rng: Decides which words are kept, their windows and the order.

    Yields:
        ``(centres, contexts, done)``: int64 ``[batch_size]`` twice, fewer in the last batch, and
        the share of the pass that is done with this batch, in (0, 1].

    Raises:
        ValueError: ``window`` or ``sample`` is out of range.
    """
    total = len(corpus.ids)
    rest = (np.zeros(0, np.int64),) * 2
    for start in range(0, total, _CHUNK_WORDS):
        chunk = slice(start, min(start + _CHUNK_WORDS, total))
        pairs = skipgrams(
            tf.RaggedTensor.from_value_rowids(
                corpus.ids[chunk], corpus.sentences[chunk] - corpus.sentences[start]
            ),
            window,
            counts=corpus.vocabulary.counts,
            sample=sample,
            shuffle=True,
            seed=rng.integers(2**63, size=2),
        )
        centres, contexts = (
            np.concatenate([left_over, new.numpy()])
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
