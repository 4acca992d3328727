from collections import Counter

import numpy as np
import pytest
from gensim.models import Word2Vec

from fastw2v.word2vec import skipgrams as skipgrams_module
from fastw2v.word2vec.corpus import build_corpus
from fastw2v.word2vec.skipgrams import keep_probability, skipgram_batches, skipgrams


def pairs_by_definition(ids, sentences, reach):
    """The pairs, one at a time."""
    return Counter(
        (ids[i], ids[j])
        for i in range(len(ids))
        for j in range(len(ids))
        if 0 < abs(i - j) <= reach[i] and sentences[i] == sentences[j]
    )


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 60])
@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("num_sentences", [1, 4, 60])
def test_skipgrams_are_those_of_the_definition(length, window, num_sentences):
    rng = np.random.default_rng(length + window)
    ids = rng.integers(0, 20, length, dtype=np.int32)
    sentences = np.sort(rng.integers(0, num_sentences, length))
    reach = rng.integers(1, window + 1, length)
    centres, contexts = skipgrams(ids, sentences, reach)
    assert centres.dtype == contexts.dtype == np.int32
    found = Counter(zip(centres.tolist(), contexts.tolist(), strict=True))
    assert found == pairs_by_definition(ids.tolist(), sentences.tolist(), reach.tolist())


def test_keep_probability_is_that_of_gensim():
    counts = {"the": 5000, "of": 900, "often": 300, "seldom": 7, "once": 1}
    model = Word2Vec(min_count=1, sample=1e-2)
    model.build_vocab_from_freq(counts)
    expected = [model.wv.get_vecattr(word, "sample_int") / 2**32 for word in counts]
    found = keep_probability(np.array(list(counts.values())), sample=1e-2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_keep_probability_in_range():
    keep = keep_probability(np.array([10**9, 10**6, 10, 1]), sample=1e-4)
    assert (np.diff(keep) >= 0).all() and keep[0] > 0 and keep[-1] == 1
    assert keep_probability(np.array([3, 2, 1]), sample=0).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="sample is -1; it must be at least 0"):
        keep_probability(np.array([1]), sample=-1)


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
    reach = np.ones(len(corpus.ids), int)
    assert found == pairs_by_definition(corpus.ids.tolist(), corpus.sentences, reach)
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
    keep = keep_probability(corpus.vocabulary.counts, 0.1)
    assert keep[0] < 0.5 < keep[1]
    # Each kept "rare" has one neighbour at most, a kept "the": both ends of the sentence cut.
    alone = (1 - keep[0]) ** 4
    assert abs(kept[1] - 3000 * keep[1] * (1 - alone)) < 5 * np.sqrt(3000 / 4)


def test_same_seed_same_batches():
    corpus = build_corpus([TEXT * 3], min_count=1)
    options = {"window": 5, "sample": 0.01, "batch_size": 16}
    assert all_pairs(corpus, **options) == all_pairs(corpus, **options)
