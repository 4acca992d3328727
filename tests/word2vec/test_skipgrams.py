from collections import Counter

import numpy as np
import pytest

from fastw2v.word2vec import skipgrams as skipgrams_module
from fastw2v.word2vec.corpus import build_corpus
from fastw2v.word2vec.skipgrams import skipgram_batches


def neighbours(ids, sentences):
    """The pairs of a window of one word."""
    return Counter(
        pair
        for i in range(len(ids) - 1)
        if sentences[i] == sentences[i + 1]
        for pair in ((ids[i], ids[i + 1]), (ids[i + 1], ids[i]))
    )


TEXT = "\n".join(" ".join(f"{a}{b}" for a in "abcdefgh") for b in "abcdefghijklmnop")


def all_pairs(corpus, **options):
    batches = skipgram_batches(corpus, **options, rng=np.random.default_rng(3))
    return [(centres.tolist(), contexts.tolist(), done) for centres, contexts, done in batches]


@pytest.mark.parametrize("chunk_words", [10, 50, 10**6])
def test_batches_hold_every_pair_once(monkeypatch, chunk_words):
    # Windows of one word have no random reach; chunks that end with a sentence cut no window.
    monkeypatch.setattr(skipgrams_module, "_CHUNK_WORDS", 8 * chunk_words)
    corpus = build_corpus([TEXT], min_count=1)
    batches = all_pairs(corpus, window=1, sample=0, batch_size=32)
    found = Counter(
        pair for centres, contexts, _ in batches for pair in zip(centres, contexts, strict=True)
    )
    assert found == neighbours(corpus.ids.tolist(), corpus.sentences)
    assert [len(centres) for centres, _, _ in batches] == [32] * 7
    shares = [done for _, _, done in batches]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] == 1


def test_batches_leave_nothing_over():
    corpus = build_corpus([TEXT], min_count=1)
    sizes = [len(centres) for centres, _, _ in all_pairs(corpus, window=1, sample=0, batch_size=50)]
    assert sizes == [50, 50, 50, 50, 24]


def test_reach_is_drawn_evenly():
    corpus = build_corpus(["a b c d e f g h i\n" * 4000], min_count=1)
    middle = corpus.vocabulary.index["e"]
    contexts = Counter(
        context
        for centres, contexts, _ in all_pairs(corpus, window=4, sample=0, batch_size=1000)
        for centre, context in zip(centres, contexts, strict=True)
        if centre == middle
    )
    # A word at distance d is met when the reach is d or more: with probability (5 - d) / 4.
    for distance, word in enumerate("fghi", start=1):
        expected = 4000 * (5 - distance) / 4
        assert abs(contexts[corpus.vocabulary.index[word]] - expected) < 5 * np.sqrt(4000 / 4)


def test_frequent_words_are_thinned_out():
    corpus = build_corpus(["the the the the rare\n" * 3000], min_count=1)
    kept = Counter(
        word
        for centres, _, _ in all_pairs(corpus, window=1, sample=0.1, batch_size=1000)
        for word in centres
    )
    ratio = 0.1 * 5 / np.array([4, 1])
    keep = np.minimum(np.sqrt(ratio) + ratio, 1)
    assert keep[0] < 0.5 < keep[1]
    # Each kept "rare" has one neighbour at most, a kept "the": both ends of the sentence cut.
    alone = (1 - keep[0]) ** 4
    assert abs(kept[1] - 3000 * keep[1] * (1 - alone)) < 5 * np.sqrt(3000 / 4)


def test_same_seed_same_batches():
    corpus = build_corpus([TEXT * 3], min_count=1)
    options = {"window": 5, "sample": 0.01, "batch_size": 16}
    assert all_pairs(corpus, **options) == all_pairs(corpus, **options)
