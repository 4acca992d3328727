"""The settings of `fastw2v.Word2Vec`, under gensim's names: the one table of them; and what
`fastw2v.Doc2Vec` has beside them.

Names, defaults and what is allowed stand here alone. Of them are made the checks of the arguments,
the defaults in signatures and, by `fastw2v.commands._settings`, the options of the commands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from fastw2v.word2vec.corpus.reading import MAX_WORKERS
from fastw2v.word2vec.corpus.subwords import MOST_CHARACTERS
from fastw2v.word2vec.corpus.tokenizer import TOKENIZERS, WHITESPACE

NEGATIVE_SAMPLING = "negative sampling"
HIERARCHICAL_SOFTMAX = "hierarchical softmax"
TREE_AND_NOISE = "hierarchical softmax and negative sampling"
SAMPLED_SOFTMAX = "sampled_softmax"
SOFTMAX = "softmax"

MOST_DRAWN = 4096  # words of the noise, for a group of words or an example
LINEAR, LATE = "linear", "late"
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Setting:
    """What is true of one setting.

    Attributes:
        name: Its name.
        default: Its default. Where that is None, None is always allowed.
        help: What it is, in a line.
        kind: int, float, bool or str; None: anything is allowed.
        low, high: What is allowed: integers in [low, high], finite numbers in [low, high).
        choices: The strings that are allowed.
        means: Values that stand for others.
    """

    name: str
    default: Any
    help: str
    kind: type | None = None
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    means: Mapping[Any, Any] = field(default_factory=dict)

    def checked(self, value: Any, name: str | None = None) -> Any:
        """Returns a value as the model has it.

        Args:
            value: What is given.
            name: What to call it in messages; None: the name of the setting.

        Raises:
            ValueError: It is not allowed.
        """
        name = name or self.name
        # Here, as it brings TensorFlow, and the help of the commands is made of this table.
        from fastw2v._core.arguments import check_one_of, to_integer, to_number

        try:
            value = self.means.get(value, value)
        except TypeError:  # not hashable
            pass
        if value is None and self.default is None:
            return None
        if self.kind is bool:
            return bool(value)
        if self.kind is int:
            if isinstance(value, float) and value.is_integer():
                value = int(value)  # as gensim takes 100.0
            return to_integer(name, value, int(self.low), int(self.high))
        if self.kind is float:
            to_number(name, value, self.low, self.high)
            return float(value)
        if self.choices:
            check_one_of(name, value, self.choices)
        return value


def _row(default: Any, help: str, kind: type | None, **allowed: Any) -> Any:
    return field(default=default, metadata={"help": help, "kind": kind, **allowed})


def _whole(default: int | None, low: int, help: str, high: int = _MOST, **others: Any) -> Any:
    return _row(default, help, int, low=low, high=high, **others)


def _number(default: float, low: float, help: str, high: float = math.inf, **others: Any) -> Any:
    return _row(default, help, float, low=low, high=high, **others)


def _switch(default: int, help: str) -> Any:
    """0 or 1, as gensim has it."""
    return _whole(default, 0, help, 1, means={False: 0, True: 1})


def _truth(default: bool, help: str) -> Any:
    return _row(default, help, bool)


def _choice(default: str | None, choices: tuple[str, ...], help: str) -> Any:
    return _row(default, help, str, choices=choices)


@dataclass(frozen=True)
class Settings:
    """The arguments of `fastw2v.Word2Vec`, checked; the class documents them.

    Raises:
        ValueError: An argument is out of its range, or two contradict each other.
    """

    vector_size: int = _whole(100, 1, "width of the vectors")
    window: int = _whole(5, 1, "largest distance between a word and one it predicts")
    min_count: int = _whole(5, 0, "leave out words that occur less often")
    sg: int = _switch(0, "1: skip-gram; 0: CBOW, which is faster")
    hs: int = _switch(0, "1: hierarchical softmax; alone where negative is 0")
    negative: int = _whole(5, 0, "words of the noise for each example", MOST_DRAWN)
    ns_exponent: float = _number(0.75, -math.inf, "power of the counts that the noise is drawn by")
    sample: float = _number(
        1e-3, 0.0, "thin out words more frequent than this; 0: none", 1.0, means={None: 0.0}
    )
    alpha: float = _number(0.025, 0.0, "learning rate at the beginning")
    min_alpha: float = _number(1e-4, 0.0, "learning rate at the end")
    schedule: str = _choice(
        LINEAR,
        (LINEAR, LATE),
        "how the learning rate falls; late: it stays high for longer where passes are few",
    )
    epochs: int = _whole(5, 1, "passes over the text")
    seed: int = _whole(1, 0, "decides all that is drawn", 2**63 - 1)
    cbow_mean: int = _switch(1, "CBOW: 1: mean of the vectors around a word; 0: their sum")
    max_vocab_size: int | None = _whole(
        None,
        1,
        "forget the rarest words while more than N are counted: bounds memory",
        2**63 - 1,
    )
    max_final_vocab: int | None = _whole(
        None, 1, "keep at most N of the most frequent words", 2**63 - 1
    )
    shrink_windows: bool = _truth(
        True, "1: draw the window of each word, so that near ones count more"
    )
    loss: str | None = _choice(
        None,
        (SAMPLED_SOFTMAX, SOFTMAX),
        "in place of hs and negative, and slower: a sampled or the exact softmax",
    )
    num_sampled: int = _whole(64, 1, "words that the sampled softmax draws")
    batch_size: int = _whole(1024, 1, "examples in a step of the two softmax losses")
    deterministic: bool = _truth(False, "the same vectors at every run, in a longer time")
    tokenizer: str = _choice(
        WHITESPACE,
        TOKENIZERS,
        "how a line becomes words: whitespace cuts at white space alone, so that a comma stays at "
        "its word; words takes runs of letters, in lower case, and leaves out digits, punctuation "
        "and all other signs",
    )
    workers: int | None = _whole(
        None,
        1,
        "threads that count words and train (default: one for each processor)",
        MAX_WORKERS,
        means={0: None, -1: None},
    )
    merge_every: float = _number(
        0.01, 0.0, "several workers: the share of the text between two merges of their tables", 1.0
    )
    comment: str | None = _row(None, "is kept and saved with the model", None)

    def __post_init__(self) -> None:
        for name, setting in table_of(type(self)).items():
            object.__setattr__(self, name, setting.checked(getattr(self, name)))
        if self.loss is not None:
            if self.hs:
                raise ValueError(f'hs = 1 and loss = "{self.loss}": one loss is trained at a time')
        elif not self.hs and not self.negative:
            raise ValueError(
                "negative = 0 leaves nothing to train with: give negative of at least 1, hs = 1 or "
                "a loss"
            )

    def changed(self, name: str, value: Any, *, is_built: bool) -> Settings:
        """The same with another value for one of them.

        Args:
            name, value: The setting.
            is_built: Whether there are tables already.

        Raises:
            AttributeError: The tables were made for another value.
            ValueError: The value is out of its range.
        """
        settings = replace(self, **{name: value})
        if is_built and settings._of_the_tables != self._of_the_tables:
            raise AttributeError(
                f"{name} is {getattr(self, name)!r} and decides what the tables of the model hold: "
                f"it cannot be changed after build_vocab; make a model with {name} = {value!r}"
            )
        return settings

    def input_rows(self, words: int) -> int:
        """How many rows the embeddings of so many words have."""
        return words

    @property
    def objective(self) -> str:
        """What is trained: one of the names at the top of this file."""
        if self.loss is not None:
            return self.loss
        if self.hs:
            return TREE_AND_NOISE if self.negative else HIERARCHICAL_SOFTMAX
        return NEGATIVE_SAMPLING

    @property
    def _of_the_tables(self) -> tuple[object, ...]:
        """What decides what the tables hold."""
        return self.vector_size, self.sg, self.objective


@dataclass(frozen=True)
class SubwordSettings(Settings):
    """The arguments of `fastw2v.FastText`, checked; the class documents them.

    Raises:
        ValueError: An argument is out of its range, or two contradict each other.
    """

    min_n: int = _whole(3, 0, "shortest n-grams of characters of a word")
    max_n: int = _whole(6, 0, "longest n-grams; none below min_n", MOST_CHARACTERS)
    bucket: int = _whole(2_000_000, 0, "rows of n-grams, which each get one by a hash")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss is not None:
            raise ValueError(
                f'loss = "{self.loss}" is trained on whole words by fastw2v.Word2Vec: n-grams are '
                "trained with negative or hs"
            )

    def input_rows(self, words: int) -> int:
        return words + self.bucket

    @property
    def _of_the_tables(self) -> tuple[object, ...]:
        return *super()._of_the_tables, self.min_n, self.max_n, self.bucket


@dataclass(frozen=True)
class DocumentSettings(Settings):
    """The arguments of `fastw2v.Doc2Vec`, checked: ``sg`` is 1 for PV-DBOW and 0 for PV-DM, and
    ``cbow_mean`` is ``dm_mean``.

    Raises:
        ValueError: As `Settings`, or a loss is given.
    """

    epochs: int = _whole(10, 1, "passes over the documents")
    dbow_words: int = _switch(0, "1: PV-DBOW trains vectors of words, too, by skip-gram")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss is not None:
            raise ValueError(
                f'loss = "{self.loss}": vectors of documents are trained with negative or hs'
            )


def table_of(kind: type[Settings]) -> Mapping[str, Setting]:
    """The settings of a kind of model, by name."""
    return _TABLES[kind]


_TABLES: dict[type[Settings], Mapping[str, Setting]] = {
    kind: MappingProxyType(
        {each.name: Setting(each.name, each.default, **each.metadata) for each in fields(kind)}
    )
    for kind in (Settings, SubwordSettings, DocumentSettings)
}
TABLE = table_of(Settings)
