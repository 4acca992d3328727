"""Phrases: words that stand together more often than by chance, joined to one.

Names and results are those of gensim's module of the same name.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import logging
import math
import os
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

from fastw2v.word2vec.corpus.sentences import words_of
from fastw2v.word2vec.files import replacing

_FORMAT = "fastw2v phrases 2"
_LOG = logging.getLogger(__name__)

Scorer = Callable[..., float]

ENGLISH_CONNECTOR_WORDS = frozenset(
    "a an and at by for from in of on or the to with without".split()
)


def original_scorer(
    worda_count: float,
    wordb_count: float,
    bigram_count: float,
    len_vocab: float,
    min_count: float,
    corpus_word_count: float,
) -> float:
    """The score of Mikolov et al., "Distributed Representations of Words and Phrases and their
    Compositionality", equation 6, times the different words and pairs.

    Example:
        >>> original_scorer(2, 3, 2, 60, 1, 100)
        10.0
    """
    chance = worda_count * wordb_count
    return (bigram_count - min_count) / chance * len_vocab if chance else -math.inf


def npmi_scorer(
    worda_count: float,
    wordb_count: float,
    bigram_count: float,
    len_vocab: float,
    min_count: float,
    corpus_word_count: float,
) -> float:
    """The score of Bouma, "Normalized (Pointwise) Mutual Information in Collocation Extraction", in
    [-1, 1]; below all others for pairs that occur less than ``min_count`` times.

    Example:
        >>> npmi_scorer(2, 2, 2, 60, 1, 100)
        1.0
    """
    if bigram_count < min_count or not 0 < bigram_count < corpus_word_count:
        return -math.inf
    chance = (worda_count / corpus_word_count) * (wordb_count / corpus_word_count)
    share = bigram_count / corpus_word_count
    return math.log(share / chance) / -math.log(share)


_SCORERS: dict[str, Scorer] = {"default": original_scorer, "npmi": npmi_scorer}


class _Finder(ABC):
    """What finds phrases in sentences, however it knows which pairs are phrases."""

    _FIELDS: ClassVar[dict[str, Any]]  # of a file, with their types
    scoring: Scorer | None

    def __init__(self, connector_words: Iterable[str] = ()) -> None:
        if isinstance(connector_words, (str, bytes)):
            raise TypeError(f"connector_words is {connector_words!r}, not a collection of words")
        self.connector_words = frozenset(connector_words)

    @abstractmethod
    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        """Returns the phrase of two words and its score, ``(None, None)`` if they are none.

        Args:
            word_a, word_b: The first and the last word.
            in_between: The connector words between them.
        """

    def analyze_sentence(self, sentence: Iterable[str]) -> Iterator[tuple[str, float | None]]:
        """Yields the words of a sentence with its phrases joined, from left to right, and the
        score of each; None for what is no phrase."""
        run: list[str] = []  # what a phrase may begin with: a word and connectors
        for word in sentence:
            if word in self.connector_words:
                if run:
                    run.append(word)
                else:
                    yield word, None
            elif run:
                phrase, score = self.score_candidate(run[0], word, run[1:])
                if score is None or phrase is None:
                    for single in run:
                        yield single, None
                    run = [word]
                else:
                    yield phrase, score
                    run = []
            else:
                run = [word]
        for single in run:
            yield single, None

    def __getitem__(self, sentence: Iterable[Any]) -> Any:
        """Returns a sentence with its phrases joined; of many sentences an iterable of them.

        Args:
            sentence: A sentence, an iterable of str; or an iterable of sentences, which is gone
                through whenever the result is.

        Raises:
            TypeError: It is a str, or not iterable.
        """
        if isinstance(sentence, (str, bytes)):
            words_of(sentence, 1)
        words = iter(sentence)
        try:
            first = next(words)
        except StopIteration:
            return []
        every = itertools.chain([first], words)
        if isinstance(first, str):
            return [token for token, _ in self.analyze_sentence(every)]
        return _Joined(self, every if words is sentence else sentence)

    def find_phrases(self, sentences: Iterable[Iterable[str]]) -> dict[str, float]:
        """Returns the phrases that stand in a text, with their scores."""
        return {
            phrase: score
            for number, sentence in enumerate(sentences, start=1)
            for phrase, score in self.analyze_sentence(words_of(sentence, number))
            if score is not None
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file; one that is there already stays whole until the new one is complete.

        Raises:
            OSError: The file cannot be written.
        """
        kind = Phrases if isinstance(self, Phrases) else FrozenPhrases
        found = {name: getattr(self, name) for name in kind._FIELDS}
        found["scoring"] = _name_of(self.scoring)
        found["connector_words"] = sorted(self.connector_words)
        content = {"format": _FORMAT, "class": kind.__name__, "content": found}
        with replacing(path) as file:
            text = json.dumps(content, ensure_ascii=False, indent=0, default=float)
            file.write(text.encode("utf-8", "surrogatepass"))

    @classmethod
    def load(cls, path: str | os.PathLike[str], scoring: Scorer | None = None) -> Any:
        """Reads what `save` wrote: `Phrases` or `FrozenPhrases`, as they were saved.

        Args:
            path: The file.
            scoring: The function that the phrases were scored by, where it was one of your own; by
                default it is looked for under its name in the modules that are imported.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is another file, or damaged; or the function of `Phrases` is not found.

        Example:
            >>> import tempfile
            >>> phrases = Phrases([["a", "b"], ["c", "a", "b"]], min_count=1, threshold=0.5)
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     phrases.save(f"{directory}/phrases.json")
            ...     print(Phrases.load(f"{directory}/phrases.json")[["a", "b"]])
            ['a_b']
        """
        file = Path(path).read_bytes()
        if file.startswith(b"\x80"):
            raise ValueError(
                f"{Path(path)} is a pickle, as gensim writes it, and could run any program: load "
                "it with gensim, and give what it holds to fastw2v.FrozenPhrases"
            )
        try:
            content = json.loads(file.decode("utf-8", "surrogatepass"))
            if content["format"] != _FORMAT:
                raise ValueError
            kind = {kind.__name__: kind for kind in (Phrases, FrozenPhrases)}[content["class"]]
            found = content["content"]
            if found.keys() != kind._FIELDS.keys():
                raise ValueError
            for name, types in kind._FIELDS.items():
                if not isinstance(found[name], types):
                    raise ValueError
                if types is dict and not set(map(type, found[name].values())) <= {int, float}:
                    raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{Path(path)} holds no phrases that fastw2v saved") from None
        place = found["scoring"]
        scoring = scoring or _SCORERS.get(place) or _scorer_at(place)
        if scoring is None and kind is Phrases:
            raise ValueError(
                f"the phrases were scored by the function {place!r}, which is not found in the "
                "modules that are imported: give it as load(path, scoring=function)"
            )
        kind = cls if issubclass(cls, kind) else kind
        phrases: Any = kind.__new__(kind)
        vars(phrases).update(found)
        phrases.connector_words = frozenset(found["connector_words"])
        phrases.scoring = scoring
        return phrases


class Phrases(_Finder):
    r"""Pairs of words that are phrases, learned from a text, as gensim's ``Phrases``.

    A pair of neighbors *a b* is a phrase if its score is above the threshold. With n(.) the
    occurrences, N the words of the text and T the different words and pairs:

    * ``"default"``: (n(ab) - min_count) T / (n(a) n(b)), see `original_scorer`;
    * ``"npmi"``: ln(p(ab) / (p(a) p(b))) / -ln p(ab), p = n / N, see `npmi_scorer`.

    Longer phrases are learned from a text that was transformed once: ``Phrases(phrases[text])``.
    `freeze` gives what is smaller and faster, and learns no more.

    Args:
        sentences: The text, an iterable of lists of str, gone through once; `LineSentence` gives
            those of files. None begins without.
        min_count: See the scores; above 0.
        threshold: Pairs with a higher score are phrases; above 0 for ``"default"``, in [-1, 1] for
            ``"npmi"``.
        max_vocab_size: How many different words and pairs are counted at a time: when a sentence
            brings more, the rarest are forgotten as gensim does. At least 1. It bounds memory, at
            some 150 bytes each.
        delimiter: Stands between the words of a phrase.
        progress_per: How many sentences are counted between two messages to ``logging``.
        scoring: ``"default"``, ``"npmi"``, or a function of the six arguments of
            `original_scorer`, which are given by name.
        connector_words: Words that may stand inside a phrase, as in *king_of_hearts*, and do not
            matter for its score; those of English are
            `fastw2v.word2vec.corpus.ENGLISH_CONNECTOR_WORDS`.

    Attributes:
        vocab: How often each word and each pair (joined) occurs, a dict.
        corpus_word_count: The words of the text, N.
        min_count, threshold, max_vocab_size, delimiter, progress_per: As given.
        scoring: The function.
        connector_words: A frozenset.

    Raises:
        TypeError: A sentence is a str or no iterable, or a word is no str.
        ValueError: An argument is out of its range.

    Example:
        >>> text = [["new", "york", "is", "new"], ["in", "new", "york"], ["it", "is", "york"]]
        >>> phrases = Phrases(text, min_count=1, threshold=1)
        >>> phrases.export_phrases()
        {'new_york': 1.222222222222222}
        >>> phrases[["to", "new", "york", "city"]]
        ['to', 'new_york', 'city']
        >>> list(phrases[[["new", "york"], ["york", "new"]]])
        [['new_york'], ['york', 'new']]
    """

    _FIELDS = {
        "connector_words": list,
        "min_count": (int, float),
        "threshold": (int, float),
        "max_vocab_size": int,
        "delimiter": str,
        "progress_per": int,
        "scoring": str,
        "vocab": dict,
        "corpus_word_count": int,
        "min_reduce": int,
    }
    scoring: Scorer

    def __init__(
        self,
        sentences: Iterable[Iterable[str]] | None = None,
        min_count: float = 5,
        threshold: float = 10.0,
        max_vocab_size: int = 40_000_000,
        delimiter: str = "_",
        progress_per: int = 10_000,
        scoring: str | Scorer = "default",
        connector_words: Iterable[str] = frozenset(),
    ) -> None:
        super().__init__(connector_words)
        if not min_count > 0:
            raise ValueError(f"min_count is {min_count}; it must be above 0")
        self.scoring = _checked_scorer(scoring)
        if self.scoring is original_scorer and not threshold > 0:
            raise ValueError(f"threshold is {threshold}; it must be above 0")
        if self.scoring is npmi_scorer and not -1 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; it must be in [-1, 1] for npmi")
        if max_vocab_size < 1:
            raise ValueError(f"max_vocab_size is {max_vocab_size}; it must be at least 1")
        if not isinstance(delimiter, str):
            raise TypeError(f"delimiter is {delimiter!r}; it must be a str")
        self.min_count, self.threshold = min_count, threshold
        self.max_vocab_size, self.delimiter = max_vocab_size, delimiter
        self.progress_per = progress_per
        self.vocab: dict[str, int] = {}
        self.corpus_word_count = 0
        self.min_reduce = 1  # words with a lower count are forgotten when there are too many
        if sentences is not None:
            self.add_vocab(sentences)

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}<{len(self.vocab)} vocab, min_count={self.min_count}, "
            f"threshold={self.threshold}, max_vocab_size={self.max_vocab_size}>"
        )

    def add_vocab(self, sentences: Iterable[Iterable[str]]) -> None:
        """Counts the words and pairs of another text in.

        Example:
            >>> phrases = Phrases([["new", "york"]], min_count=1, threshold=0.1)
            >>> phrases.add_vocab([["new", "york"], ["new", "words"]])
            >>> phrases.vocab["new_york"], phrases.vocab["new"], phrases.corpus_word_count
            (2, 3, 6)
        """
        counts: Counter[str] = Counter()
        min_reduce = 1
        for number, sentence in enumerate(sentences, start=1):
            words = words_of(sentence, number)
            try:
                self._count(words, counts)
            except TypeError:
                odd = next((word for word in words if not isinstance(word, str)), None)
                raise TypeError(
                    f"the word {odd!r:.60} in sentence {number:,} of the text is no str, and "
                    "phrases join str: give map(str, sentence)"
                ) from None
            self.corpus_word_count += len(words)
            if len(counts) > self.max_vocab_size:
                _forget(counts, min_reduce)
                min_reduce += 1
            if number % self.progress_per == 0:
                _LOG.info("counted %d sentences, %d words and pairs", number, len(counts))
        if self.vocab:
            self.min_reduce = max(self.min_reduce, min_reduce)
            for token, count in counts.items():
                self.vocab[token] = self.vocab.get(token, 0) + count
            if len(self.vocab) > self.max_vocab_size:
                _forget(self.vocab, self.min_reduce)
                self.min_reduce += 1
        else:
            self.vocab = dict(counts)
        _LOG.info("phrases are learned: %s", self)

    def _count(self, words: Sequence[str], counts: Counter[str]) -> None:
        join = self.delimiter.join
        if self.connector_words.isdisjoint(words):
            counts.update(words)
            counts.update(map(join, pairwise(words)))
        else:
            runs = list(self._runs(words))
            counts.update(run[0] for run in runs)
            counts.update(join([*run, after[0]]) for run, after in pairwise(runs))

    def _runs(self, words: Sequence[str]) -> Iterator[list[str]]:
        """Yields each word that is no connector, with the connectors behind it."""
        run: list[str] = []
        for word in words:
            if word not in self.connector_words:
                if run:
                    yield run
                run = [word]
            elif run:
                run.append(word)
        if run:
            yield run

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        phrase = self.delimiter.join([word_a, *in_between, word_b])
        counts = [self.vocab.get(token, 0) for token in (word_a, word_b, phrase)]
        if not all(counts):
            return None, None
        score = self.scoring(
            worda_count=counts[0],
            wordb_count=counts[1],
            bigram_count=counts[2],
            len_vocab=len(self.vocab),
            min_count=self.min_count,
            corpus_word_count=self.corpus_word_count,
        )
        return (phrase, score) if score > self.threshold else (None, None)

    def export_phrases(self) -> dict[str, float]:
        """Returns all phrases with their scores."""
        found = {}
        for token in self.vocab:
            first, *middle = token.split(self.delimiter)
            if middle:
                phrase, score = self.score_candidate(first, middle[-1], middle[:-1])
                if score is not None and phrase is not None:
                    found[phrase] = score
        return found

    def freeze(self) -> FrozenPhrases:
        """Returns the phrases without the counts."""
        return FrozenPhrases(self)


class FrozenPhrases(_Finder):
    """Phrases that learn no more: smaller and faster than `Phrases`, with the same results.

    Args:
        phrases_model: The `Phrases`; gensim's too.

    Attributes:
        phrasegrams: The score of each phrase, a dict.
        threshold, min_count, delimiter, scoring, connector_words: Of the `Phrases`; the function
            is None where `load` did not find it, which changes no result.

    Example:
        >>> text = [["new", "york"], ["in", "new", "york"], ["it", "is", "york"]]
        >>> frozen = Phrases(text, min_count=1, threshold=1).freeze()
        >>> frozen[["new", "york", "is", "new"]]
        ['new_york', 'is', 'new']
    """

    _FIELDS = {
        "connector_words": list,
        "threshold": (int, float),
        "min_count": (int, float),
        "delimiter": str,
        "scoring": str,
        "phrasegrams": dict,
    }

    def __init__(self, phrases_model: Phrases) -> None:
        super().__init__(phrases_model.connector_words)
        self.threshold = phrases_model.threshold
        self.min_count = phrases_model.min_count
        self.delimiter = phrases_model.delimiter
        self.scoring = phrases_model.scoring
        self.phrasegrams: dict[str, float] = phrases_model.export_phrases()

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}<{len(self.phrasegrams)} phrases, min_count={self.min_count}, "
            f"threshold={self.threshold}>"
        )

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        phrase = self.delimiter.join([word_a, *in_between, word_b])
        score = self.phrasegrams.get(phrase, -math.inf)
        return (phrase, score) if score > self.threshold else (None, None)


Phraser = FrozenPhrases


class _Joined:
    """A text with its phrases joined, as often as the text can be gone through."""

    def __init__(self, phrases: _Finder, sentences: Any) -> None:
        self._phrases, self._sentences = phrases, sentences

    def __iter__(self) -> Iterator[list[str]]:
        for number, sentence in enumerate(self._sentences, start=1):
            yield self._phrases[words_of(sentence, number)]

    def __len__(self) -> int:
        return len(self._sentences)

    def __getitem__(self, place: Any) -> Any:
        return self._phrases[self._sentences[place]]


def _forget(counts: dict[str, int], min_reduce: int) -> None:
    for token in [token for token, count in counts.items() if count < min_reduce]:
        del counts[token]


def _is_scorer(scoring: Any) -> TypeGuard[Scorer]:
    if not callable(scoring):
        return False
    try:
        return inspect.signature(scoring).parameters.keys() >= _scorer_parameters()
    except (TypeError, ValueError):  # a function that does not show its parameters
        return False


@functools.cache
def _scorer_parameters() -> frozenset[str]:
    return frozenset(inspect.signature(original_scorer).parameters)


def _checked_scorer(scoring: str | Scorer) -> Scorer:
    if isinstance(scoring, str) and scoring in _SCORERS:
        return _SCORERS[scoring]
    if not _is_scorer(scoring):
        raise ValueError(
            f'scoring is {scoring!r}; it must be "default", "npmi" or a function of '
            + ", ".join(inspect.signature(original_scorer).parameters)
        )
    return scoring


def _name_of(scorer: Scorer | None) -> str:
    for name, known in _SCORERS.items():
        if scorer is known:
            return name
    return "" if scorer is None else f"{scorer.__module__}:{getattr(scorer, '__qualname__', '')}"


def _scorer_at(place: str) -> Scorer | None:
    """Finds a function again. No module is imported for it: the place is from a file."""
    module, _, name = place.partition(":")
    scorer: Any = sys.modules.get(module)
    for part in name.split("."):
        scorer = getattr(scorer, part, None)
    return scorer if _is_scorer(scorer) else None
