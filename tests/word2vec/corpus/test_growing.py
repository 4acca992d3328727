"""Which words a model has."""

from __future__ import annotations

import pytest
from gensim import utils

import fastw2v
from fastw2v.word2vec.corpus import Vocabulary, read_corpus
from fastw2v.word2vec.corpus.growing import merged, renumbered, trimmed

TEXT = [["a", "b", "a"], ["c"], ["b", "a", "c"], ["d"]] * 3


def rule(word, count, min_count):
    verdicts = {"a": utils.RULE_DISCARD, "d": utils.RULE_KEEP}
    return verdicts.get(word, utils.RULE_DEFAULT)


@pytest.mark.parametrize("max_final_vocab", [None, 1, 3])
def test_trimmed_as_gensim_does(max_final_vocab):
    from gensim.models import Word2Vec

    limits = {"min_count": 6, "max_final_vocab": max_final_vocab}
    theirs = Word2Vec(**limits)
    theirs.build_vocab(TEXT, trim_rule=rule)
    ours = fastw2v.Word2Vec(vector_size=2, **limits)
    ours.build_vocab(TEXT, trim_rule=rule)
    counts = dict(zip(ours.vocabulary.words, ours.vocabulary.counts.tolist(), strict=True))
    assert counts == {word: theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key}
    assert "a" not in counts and counts["d"] == 3


def test_a_rule_decides_what_is_trained():
    model = fastw2v.Word2Vec(TEXT, vector_size=2, min_count=1, sample=0, trim_rule=rule)
    assert model.vocabulary.words == ["b", "c", "d"]
    assert model.corpus_total_words == 24
    # The text that was read is by the ids of the words that stay.
    assert model.train(epochs=1) == (15, 24)
    assert model.train(TEXT, epochs=1) == (15, 24)
    with pytest.raises(ValueError, match="trim_rule returned None for the word 'a'"):
        model.build_vocab(TEXT, trim_rule=lambda word, count, min_count: None)


def test_merged():
    known = Vocabulary({"x": 3, "y": 2})
    counted = Vocabulary({"y": 5, "new": 4, "rare": 1})
    both = merged(known, counted, trimmed(counted, 2))
    assert both.words == ["x", "y", "new"] and both.counts.tolist() == [3, 7, 4]
    assert known.counts.tolist() == [3, 2]


def test_renumbered():
    corpus = read_corpus(TEXT, min_count=1)
    words = ["c", "b"]
    text = renumbered(corpus, Vocabulary.from_sorted(words, corpus.vocabulary.counts[1:3]))
    assert text.ids.tolist() == [1, -1, 0, -1, 1, 0, -1] * 3
