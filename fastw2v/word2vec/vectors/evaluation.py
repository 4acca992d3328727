"""How good word vectors are: similarities as people judge them, and analogies.

The files, the treatment of unknown words and the results are those of gensim's
``evaluate_word_pairs`` and ``evaluate_word_analogies``.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from fastw2v.word2vec.vectors.word_vectors import WordVectors

_logger = logging.getLogger(__name__)

_NUM_PREDICTIONS = 5  # that gensim looks at, the words of the question left out
_BLOCK_QUESTIONS = 4096


class Correlation(NamedTuple):
    """A correlation, and the probability of one so far from 0 if there were none (two-tailed)."""

    statistic: float
    pvalue: float


class WordPairs(NamedTuple):
    """What `evaluate_word_pairs` finds, in the order of gensim.

    Attributes:
        pearson: Linear correlation of cosines and judgments.
        spearman: Correlation of their ranks: the figure that is quoted.
        oov_ratio: Percentage of pairs with a word that has no vector.
    """

    pearson: Correlation
    spearman: Correlation
    oov_ratio: float


def evaluate_word_pairs(
    vectors: WordVectors,
    pairs: str | os.PathLike[str],
    delimiter: str = "\t",
    encoding: str = "utf8",
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
) -> WordPairs:
    """Correlates cosines with the similarities that people gave to pairs of words.

    Args:
        vectors: The word vectors.
        pairs: A file with two words and a number on each line, as WordSim-353 and SimLex-999;
            lines that begin with ``#`` and lines of another form are left out.
        delimiter: Between the fields of a line.
        encoding: Of the file.
        restrict_vocab: Words beyond so many of the most frequent ones count as unknown.
        case_insensitive: Compare words in upper case; of several that agree, the first one counts.
        dummy4unknown: Pairs with an unknown word count as of cosine 0, rather than not at all.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no text, or fewer than two pairs of it have vectors.
    """
    rows = _rows_by_name(vectors, restrict_vocab, case_insensitive)
    found: list[tuple[int, int]] = []
    judgments: list[float] = []
    dummies: list[float] = []
    num_unknown = 0
    for _, line in _lines(pairs, encoding):
        if line.startswith("#"):
            continue
        fields = (line.upper() if case_insensitive else line).split(delimiter)
        try:
            word, other, judgment = fields[0], fields[1], float(fields[2])
        except (ValueError, IndexError):
            continue
        if len(fields) != 3:
            continue
        if word in rows and other in rows:
            found.append((rows[word], rows[other]))
            judgments.append(judgment)
        else:
            num_unknown += 1
            dummies.append(judgment)
    num_pairs = len(found) + num_unknown
    cosines = np.zeros(0)
    if found:
        first, second = (vectors.normalized(np.array(side)) for side in zip(*found, strict=True))
        cosines = (first * second).sum(axis=1)
    if dummy4unknown:
        cosines = np.concatenate([cosines, np.zeros(num_unknown)])
        judgments += dummies
    if len(judgments) < 2:
        raise ValueError(
            f"{pairs}: {len(judgments)} of {num_pairs} pairs have vectors; at least 2 are needed. "
            "A line holds two words and a number, separated by " + repr(delimiter)
        )
    found_all = WordPairs(
        _pearson(np.array(judgments), cosines),
        _pearson(_ranks(np.array(judgments)), _ranks(cosines)),
        100 * num_unknown / num_pairs,
    )
    log_word_pairs(*found_all, pairs)
    return found_all


def log_word_pairs(
    pearson: tuple[float, float],
    spearman: tuple[float, float],
    oov_ratio: float,
    pairs: str | os.PathLike[str],
) -> None:
    """Logs what `evaluate_word_pairs` finds."""
    _logger.info("linear correlation with %s: %.4f", pairs, pearson[0])
    _logger.info("correlation of ranks with %s: %.4f", pairs, spearman[0])
    _logger.info("pairs with an unknown word: %.1f%%", oov_ratio)


def evaluate_word_analogies(
    vectors: WordVectors,
    analogies: str | os.PathLike[str],
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
    similarity_function: str = "most_similar",
) -> tuple[float, list[dict[str, Any]]]:
    """Answers "a is to b as c is to what" by the word nearest to b - a + c.

    Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space", section
    4.1. Blocks of questions go through the fused kernel at once.

    Args:
        vectors: The word vectors.
        analogies: A file with four words on each line and a line ``: name`` before each section, as
            questions-words.txt; lines of another form are left out.
        restrict_vocab: Words beyond so many of the most frequent ones count as unknown, and are
            not looked at as answers.
        case_insensitive: Compare words in upper case; of several that agree, the first one counts.
        dummy4unknown: Questions with an unknown word count as not answered, rather than not at all.
        similarity_function: ``"most_similar"``, the only one.

    Returns:
        The share of questions answered right, and a dict for each section and for the total: the
        name under ``"section"``, and lists of questions under ``"correct"`` and ``"incorrect"``.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no text, has no section or no question, or ``similarity_function`` is
            another one.
    """
    if similarity_function != "most_similar":
        raise ValueError(
            f'similarity_function = {similarity_function!r} is not "most_similar", the only one'
        )
    rows = _rows_by_name(vectors, restrict_vocab, case_insensitive)
    sections: list[dict[str, Any]] = []
    questions: list[tuple[int, tuple[str, ...]]] = []  # with the number of its section
    for number, line in _lines(analogies, "utf8"):
        if line.startswith(": "):
            sections.append({"section": line.lstrip(": ").strip(), "correct": [], "incorrect": []})
            continue
        words = tuple((line.upper() if case_insensitive else line).split())
        if not sections:
            raise ValueError(
                f"{analogies}, line {number}: expected the name of a section, ': name', before the "
                "first question"
            )
        if len(words) == 4:
            questions.append((len(sections) - 1, words))
    if not questions:
        raise ValueError(f"{analogies} holds no questions, lines of four words")
    known = [
        position
        for position, (_, words) in enumerate(questions)
        if all(word in rows for word in words)
    ]
    asked = np.array([[rows[word] for word in questions[i][1]] for i in known], np.int64)
    is_right = np.zeros(len(questions), dtype=bool)
    is_right[known] = _answers(
        vectors, asked.reshape(-1, 4), rows, restrict_vocab, case_insensitive
    )
    is_known = np.zeros(len(questions), dtype=bool)
    is_known[known] = True
    for (place, words), right, counts in zip(
        questions, is_right, is_known | dummy4unknown, strict=True
    ):
        if counts:
            sections[place]["correct" if right else "incorrect"].append(words)
    total: dict[str, Any] = {"section": "Total accuracy"}
    for kind in ("correct", "incorrect"):
        total[kind] = [words for section in sections for words in section[kind]]
    num_asked = len(total["correct"]) + len(total["incorrect"])
    sections.append(total)
    for section in sections:
        log_analogies(section)
    return len(total["correct"]) / num_asked if num_asked else 0.0, sections


def log_analogies(section: dict[str, Any]) -> None:
    """Logs the share of right answers in a section of what `evaluate_word_analogies` returns."""
    num_right = len(section["correct"])
    num_asked = num_right + len(section["incorrect"])
    if num_asked:
        share = 100 * num_right / num_asked
        _logger.info("%s: %.1f%% (%d/%d)", section["section"], share, num_right, num_asked)


def _answers(
    vectors: WordVectors,
    asked: np.ndarray,
    rows: dict[str, int],
    restrict_vocab: int | None,
    case_insensitive: bool,
) -> np.ndarray:
    """Returns which questions, rows of a, b, c and the answer [N, 4], are answered right."""
    # Words that agree in upper case are the same answer: that of the first.
    names = _names(vectors, restrict_vocab, case_insensitive)
    same = np.array([rows[name] for name in names], np.int64)
    is_right = np.zeros(len(asked), dtype=bool)
    for begin in range(0, len(asked), _BLOCK_QUESTIONS):
        block = asked[begin : begin + _BLOCK_QUESTIONS]
        a, b, c = (vectors.normalized(column) for column in block[:, :3].T)
        _, found = vectors.nearest(b + c - a, _NUM_PREDICTIONS + 3, restrict_vocab)
        given = block[:, None, :3]
        is_candidate = (found[:, :, None] != given).all(axis=2)
        is_candidate &= is_candidate.cumsum(axis=1) <= _NUM_PREDICTIONS
        # gensim takes the first that is no other spelling of a word in the question.
        is_answer = is_candidate & (same[found][:, :, None] != given).all(axis=2)
        last = found.shape[1] - 1 - is_candidate[:, ::-1].argmax(axis=1)
        choice = np.where(is_answer.any(axis=1), is_answer.argmax(axis=1), last)
        answers = same[found[np.arange(len(block)), choice]]
        is_right[begin : begin + len(block)] = (answers == block[:, 3]) & is_candidate.any(axis=1)
    return is_right


def _rows_by_name(
    vectors: WordVectors, restrict_vocab: int | None, case_insensitive: bool
) -> dict[str, int]:
    """Returns the row of each of the most frequent words; of equal names, the first."""
    names = _names(vectors, restrict_vocab, case_insensitive)
    return dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))


def _names(vectors: WordVectors, restrict_vocab: int | None, case_insensitive: bool) -> list[str]:
    """Returns the most frequent words as a file would spell them."""
    names = [str(word) for word in vectors.words[:restrict_vocab]]
    return [name.upper() for name in names] if case_insensitive else names


def _lines(path: str | os.PathLike[str], encoding: str) -> Iterator[tuple[int, str]]:
    with open(path, encoding=encoding) as file:
        try:
            yield from enumerate(file, 1)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not {encoding} text: {error.reason}") from error


def _pearson(x: np.ndarray, y: np.ndarray) -> Correlation:
    x, y = x - x.mean(), y - y.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))
    return Correlation(correlation, _pvalue(correlation, len(x)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the rank of each value from 1 on; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _pvalue(correlation: float, n: int) -> float:
    """Returns the probability of a correlation at least as far from 0 by chance.

    With r = sin(t), independent normal variables give t the density cos(t)^(n - 3) (Fisher 1915).
    """
    if math.isnan(correlation):
        return math.nan
    if n == 2:
        return 1.0
    begin = math.asin(abs(correlation))
    return min(_cosine_tail(begin, n - 3) / _cosine_tail(0.0, n - 3), 1.0)


def _cosine_tail(begin: float, power: int) -> float:
    """Returns the integral of cos(t)^power from `begin` to pi / 2."""
    end = math.pi / 2
    if power:  # beyond, the integrand is below 1e-20 of its first value
        end = math.acos(math.cos(begin) * math.exp(-46 / power))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    t = begin + (end - begin) * (nodes + 1) / 2
    return float((end - begin) / 2 * (weights @ np.cos(t) ** power))
