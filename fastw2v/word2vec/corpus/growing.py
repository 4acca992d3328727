"""Which words a model has: rules that choose them, and words that come later."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TypeAlias

import numpy as np

from fastw2v.word2vec.corpus.reading import TokenCorpus, read_corpus
from fastw2v.word2vec.corpus.vocabulary import Vocabulary

TrimRule: TypeAlias = Callable[[Hashable, int, int], int]

RULE_DEFAULT, RULE_DISCARD, RULE_KEEP = 0, 1, 2  # as gensim.utils has them


def trimmed(
    vocabulary: Vocabulary,
    min_count: int,
    max_final_vocab: int | None = None,
    rule: TrimRule | None = None,
) -> Vocabulary:
    """The words of a vocabulary that stay.

    Args:
        vocabulary: The words in order, the most frequent first.
        min_count, max_final_vocab: As in `Vocabulary`.
        rule: Is called with a word, its count and the count from which on words stay; it returns 0
            for a word that is treated as any other, 1 for one that goes and 2 for one that stays.

    Raises:
        ValueError: The rule returns something else.

    Example:
        >>> vocabulary = Vocabulary({"often": 9, "a": 2, "rare": 1})
        >>> trimmed(vocabulary, 2).words
        ['often', 'a']
        >>> trimmed(vocabulary, 2, rule=lambda word, count, least: 1 if word == "a" else 0).words
        ['often']
    """
    counts = vocabulary.counts
    least = max(min_count, 1)
    if max_final_vocab is not None and max_final_vocab < len(counts):
        least = max(least, int(counts[max_final_vocab]) + 1)
    stays = counts >= least
    if rule is not None:
        for row, (word, count) in enumerate(zip(vocabulary.words, counts.tolist(), strict=True)):
            verdict = rule(word, count, least)
            if verdict not in (RULE_DEFAULT, RULE_DISCARD, RULE_KEEP):
                raise ValueError(
                    f"trim_rule returned {verdict!r} for the word {word!r}; it must return 0 (as "
                    "min_count says), 1 (leave it out) or 2 (keep it)"
                )
            if verdict != RULE_DEFAULT:
                stays[row] = verdict == RULE_KEEP
    words = [vocabulary.words[row] for row in np.flatnonzero(stays)]
    return Vocabulary.from_sorted(words, counts[stays])


def merged(known: Vocabulary, counted: Vocabulary, kept: Vocabulary) -> Vocabulary:
    """A vocabulary with the words of another text behind its own, and the counts of both.

    Args:
        known: The words that are there.
        counted: All words of the other text.
        kept: Those of them that come in if they are new.
    """
    pairs = [
        (known.index[word], count)
        for word, count in zip(counted.words, counted.counts.tolist(), strict=True)
        if word in known.index
    ]
    counts = known.counts.copy()
    if pairs:
        rows, more = np.array(pairs).T
        counts[rows] += more
    new = [row for row, word in enumerate(kept.words) if word not in known.index]
    words = [*known.words, *(kept.words[row] for row in new)]
    return Vocabulary.from_sorted(words, np.concatenate([counts, kept.counts[new]]))


def renumbered(corpus: TokenCorpus, vocabulary: Vocabulary) -> TokenCorpus:
    """A text by the ids of a vocabulary that has only some of its words."""
    return read_corpus(_sentences(corpus), vocabulary=vocabulary)


def _sentences(corpus: TokenCorpus) -> Iterator[list[Hashable]]:
    words = corpus.vocabulary.words
    for block in corpus.blocks(1 << 16):
        for ids in np.split(block, np.flatnonzero(block < 0) + 1):
            if len(ids):
                yield [words[word] for word in ids if word >= 0]
