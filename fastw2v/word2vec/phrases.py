"""Phrases: words that stand together more often than by chance, joined to one."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from fastw2v.word2vec.files import replacing

_FORMAT = "fastw2v phrases 1"


class Phrases:
    r"""Pairs of words that are phrases, learned from a text.

    A pair of neighbours *a b* is a phrase if its score is above the threshold. With n(.) the
    occurrences, N the words of the text and T the different words and pairs:

    * ``"default"``: (n(ab) - min_count) T / (n(a) n(b)), of Mikolov et al., "Distributed
      Representations of Words and Phrases and their Compositionality", equation 6;
    * ``"npmi"``: ln(p(ab) / (p(a) p(b))) / -ln p(ab), p = n / N, of Bouma, "Normalized (Pointwise)
      Mutual Information in Collocation Extraction"; in [-1, 1]; pairs that occur less than
      ``min_count`` times are no phrases.

    Scores and results are those of gensim's ``Phrases``. What is learned is fixed then; longer
    phrases are learned from a text that was transformed once.

    Args:
        sentences: The text, lists of str, gone through once; `read_sentences` gives those of files.
        min_count: See the scores; above 0.
        threshold: Pairs with a higher score are phrases; above 0 for ``"default"``, in [-1, 1] for
            ``"npmi"``.
        max_vocab_size: How many different words and pairs are counted at a time: when a sentence
            brings more, the rarest are forgotten as gensim does. At least 1. It bounds memory, at
            some 150 bytes each.
        delimiter: Stands between the words of a phrase.
        scoring: ``"default"`` or ``"npmi"``.
        connector_words: Words that may stand inside a phrase, as in *king_of_hearts*, and do not
            matter for its score.

    Attributes:
        scores: The score of each phrase, a dict by tuples of words.
        delimiter: As given.
        connector_words: As given, a frozenset.

    Raises:
        TypeError: A sentence is a str.
        ValueError: An argument is out of its range.

    Example:
        >>> text = [["new", "york", "is", "new"], ["in", "new", "york"], ["it", "is", "york"]]
        >>> phrases = Phrases(text, min_count=1, threshold=1)
        >>> phrases.scores
        {('new', 'york'): 1.222222222222222}
        >>> phrases[["to", "new", "york", "city"]]
        ['to', 'new_york', 'city']
    """

    def __init__(
        self,
        sentences: Iterable[Sequence[str]],
        *,
        min_count: float = 5,
        threshold: float = 10.0,
        max_vocab_size: int = 40_000_000,
        delimiter: str = "_",
        scoring: str = "default",
        connector_words: Iterable[str] = (),
    ) -> None:
        if not min_count > 0:
            raise ValueError(f"min_count is {min_count}; it must be above 0")
        if scoring == "default":
            if not threshold > 0:
                raise ValueError(f"threshold is {threshold}; it must be above 0")
        elif scoring == "npmi":
            if not -1 <= threshold <= 1:
                raise ValueError(f"threshold is {threshold}; it must be in [-1, 1] for npmi")
        else:
            raise ValueError(f'scoring is {scoring!r}; it must be "default" or "npmi"')
        if max_vocab_size < 1:
            raise ValueError(f"max_vocab_size is {max_vocab_size}; it must be at least 1")
        self.delimiter = delimiter
        self.connector_words = frozenset(connector_words)
        words, pairs, num_words = self._count(sentences, max_vocab_size)
        score: Callable[[int, int, int], float]
        if scoring == "default":
            size = len(words) + len(pairs)

            def score(first: int, second: int, both: int) -> float:
                return (both - min_count) / (first * second) * size
        else:

            def score(first: int, second: int, both: int) -> float:
                if both < min_count:
                    return -math.inf
                chance = (first / num_words) * (second / num_words)
                return math.log(both / num_words / chance) / -math.log(both / num_words)

        self.scores: dict[tuple[str, ...], float] = {}
        for pair, both in pairs.items():
            first, second = words[pair[0]], words[pair[-1]]  # 0 where it was forgotten
            if first and second and (value := score(first, second, both)) > threshold:
                self.scores[pair] = value

    def _count(
        self, sentences: Iterable[Sequence[str]], max_vocab_size: int
    ) -> tuple[Counter[str], Counter[tuple[str, ...]], int]:
        words: Counter[str] = Counter()
        pairs: Counter[tuple[str, ...]] = Counter()
        num_words = 0
        min_reduce = 1
        for sentence in sentences:
            if isinstance(sentence, str):
                raise TypeError(f"the sentence {sentence!r:.60} is a str, not a list of words")
            num_words += len(sentence)
            if self.connector_words.isdisjoint(sentence):
                words.update(sentence)
                pairs.update(pairwise(sentence))
            else:
                runs = list(self._runs(sentence))
                words.update(run[0] for run in runs)
                pairs.update((*run, after[0]) for run, after in pairwise(runs))
            if len(words) + len(pairs) > max_vocab_size:
                for counts in (words, pairs):
                    rare = [key for key, count in counts.items() if count < min_reduce]
                    for key in rare:
                        del counts[key]
                min_reduce += 1
        return words, pairs, num_words

    def _runs(self, sentence: Sequence[str]) -> Iterator[list[str]]:
        """Yields each word that is no connector, with the connectors behind it."""
        run: list[str] = []
        for word in sentence:
            if word not in self.connector_words:
                if run:
                    yield run
                run = [word]
            elif run:
                run.append(word)
        if run:
            yield run

    def __getitem__(self, sentence: Sequence[str]) -> list[str]:
        """Returns a sentence with its phrases joined, from left to right.

        Raises:
            TypeError: The sentence is a str.
        """
        if isinstance(sentence, str):
            raise TypeError(f"the sentence {sentence!r:.60} is a str, not a list of words")
        joined: list[str] = []
        run: list[str] = []  # what a phrase may begin with: a word and connectors
        for word in sentence:
            if word in self.connector_words:
                (run or joined).append(word)
            elif run and (*run, word) in self.scores:
                joined.append(self.delimiter.join([*run, word]))
                run = []
            else:
                joined += run
                run = [word]
        return joined + run

    def transform(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[str]]:
        """Yields sentences with their phrases joined.

        Example:
            >>> phrases = Phrases([["a", "b"], ["c", "a", "b"]], min_count=1, threshold=0.5)
            >>> list(phrases.transform([["a", "b"], ["b", "a"]]))
            [['a_b'], ['b', 'a']]
        """
        return map(self.__getitem__, sentences)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file; one that is there already stays whole until the new one is complete.

        Raises:
            OSError: The file cannot be written.
        """
        content = {
            "format": _FORMAT,
            "delimiter": self.delimiter,
            "connector_words": sorted(self.connector_words),
            "phrases": [[list(phrase), score] for phrase, score in self.scores.items()],
        }
        with replacing(path) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=0).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Phrases:
        """Reads what `save` wrote.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is another file, or damaged.

        Example:
            >>> import tempfile
            >>> phrases = Phrases([["a", "b"], ["c", "a", "b"]], min_count=1, threshold=0.5)
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     phrases.save(f"{directory}/phrases.json")
            ...     print(Phrases.load(f"{directory}/phrases.json")[["a", "b"]])
            ['a_b']
        """
        phrases = cls.__new__(cls)
        try:
            content = json.loads(Path(path).read_bytes())
            if content["format"] != _FORMAT:
                raise ValueError
            phrases.delimiter = content["delimiter"]
            phrases.connector_words = frozenset(content["connector_words"])
            phrases.scores = {tuple(phrase): score for phrase, score in content["phrases"]}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{Path(path)} holds no phrases that fastw2v saved") from None
        return phrases
