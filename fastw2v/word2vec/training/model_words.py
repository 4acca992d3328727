"""The words of a model, the text they come from, and the tables that they are the rows of."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from fastw2v._core.arguments import to_integer
from fastw2v._core.tf_internals import PlainVariable
from fastw2v.word2vec.corpus import Vocabulary, growing
from fastw2v.word2vec.corpus.growing import TrimRule
from fastw2v.word2vec.corpus.reading import Report, TokenCorpus, read_corpus
from fastw2v.word2vec.training import settings as options
from fastw2v.word2vec.training import train_op
from fastw2v.word2vec.training.live_vectors import LiveDocuments, LiveVectors, TrainedVectors
from fastw2v.word2vec.training.objectives import (
    Objective,
    Tables,
    objective_of,
    table_device,
    table_shapes,
    tree_table,
)
from fastw2v.word2vec.training.passes import Run
from fastw2v.word2vec.training.settings import Settings
from fastw2v.word2vec.training.tables import first_vectors, own
from fastw2v.word2vec.training.workers import workers_of_scope
from fastw2v.word2vec.vectors import WordVectors

FilePath: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "FilePath | Iterable[Sequence[str]] | TokenCorpus"
Pretrained: TypeAlias = "WordVectors | FilePath"

_DRAWN_TABLES = {"embeddings": 0, "documents": 1}  # at first; others are zeros

logger = logging.getLogger(__name__)


class NoVocabularyError(ValueError, RuntimeError):
    """There are no words to train; gensim raises RuntimeError."""


@dataclass
class State:
    """What changes while a model is trained, beside its tables."""

    losses: list[float] = field(default_factory=list)
    log_likelihoods: list[float] = field(default_factory=list)
    corpus_count: int = 0
    corpus_total_words: int = 0
    train_count: int = 0
    total_train_time: float = 0.0
    run: Run | None = None


@dataclass
class Text:
    """What a model has from its user and does not own. In an object of its own: a tf.Module would
    wrap the lists in it, in place. It is not copied or saved with the model.

    Attributes:
        source: Of `build_vocab`, until training has ended.
        corpus: What was read of it.
        callbacks: Of the constructor.
    """

    source: Source | None = None
    corpus: TokenCorpus | None = None
    callbacks: Sequence[Any] = ()

    def holds(self, source: Source) -> bool:
        if isinstance(source, (str, os.PathLike)):
            return isinstance(self.source, (str, os.PathLike)) and source == self.source
        return source is self.source


class ModelWords(tf.Module):
    """Settings, words and tables of a model, from `build_vocab` on; `fastw2v.Word2Vec` trains them.

    Args:
        settings: The settings.
    """

    # The tables; None before `build_vocab`, and where the objective has no such table.
    embeddings: tf.Variable
    weights: tf.Variable
    biases: tf.Variable
    node_weights: tf.Variable
    documents: tf.Variable

    settings_type: type[Settings] = Settings
    text_argument = "sentences"

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="word2vec")
        self._workers = workers_of_scope()
        strategy = tf.distribute.get_strategy()
        is_one_device = isinstance(strategy, tf.distribute.OneDeviceStrategy)
        if settings.loss is not None and tf.distribute.has_strategy() and not is_one_device:
            raise ValueError(
                f'loss = "{settings.loss}" is trained by one worker, outside of the scope of '
                f"{type(strategy).__name__}: train with negative or hs, or a loss of fastw2v on a "
                "fastw2v.distribute.ShardedTable"
            )
        self.settings = settings
        self.embeddings = self.weights = self.biases = self.node_weights = self.documents = None
        self._state = State()
        self._given = Text()
        self._vocabulary: Vocabulary | None = None
        self._tags: Vocabulary | None = None  # of documents
        self._objective: Objective | None = None  # until settings or tables change
        self._vectors: TrainedVectors | None = None
        self._document_vectors: LiveDocuments | None = None
        self._is_shared = False  # others may change the embeddings

    def __setattr__(self, name: str, value: Any) -> None:
        if name in options.table_of(self.settings_type):
            is_built = self._vocabulary is not None
            self.settings = self.settings.changed(name, value, is_built=is_built)
            self._objective = None
        elif isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelWords:
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        for table in copied._named_tables().values():
            own(table)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        self._adopt()
        mine = {"_given": Text(), "_objective": None, "_vectors": None, "_document_vectors": None}
        return {**self.__dict__, **mine}

    @property
    def vocabulary(self) -> Vocabulary | None:
        return self._vocabulary

    @property
    def is_chief(self) -> bool:
        """Whether this is the first of several workers, who writes files, or the only one."""
        return self._workers.rank == 0

    @property
    def corpus_count(self) -> int:
        return self._state.corpus_count

    @property
    def corpus_total_words(self) -> int:
        return self._state.corpus_total_words

    @property
    def wv(self) -> WordVectors:
        """The words with their vectors as they are, `WordVectors`.

        It shows what training does, and training goes on from what is written into it: into its
        array ``vectors`` (where the table is on the CPU), whole (``model.wv.vectors = matrix``), or
        by its methods. Words that are added to it become words of the model. The array is not
        copied; one that is held while training goes on keeps what it held, costs the memory of a
        table, and can no longer be written to. Whether something else has changed the variable is
        looked up each time: in a loop over words, keep ``wv = model.wv``.

        ``model.wv = vectors`` makes its words those of the model, which begins at its vectors. To
        train on, it needs the counts of its words.

        Raises:
            ValueError: There is no vocabulary yet.
        """
        return self._live_vectors()

    @wv.setter
    def wv(self, vectors: WordVectors) -> None:
        vectors = as_word_vectors(vectors)
        words, matrix = list(vectors.index_to_key), np.array(vectors.vectors, np.float32)
        counts = vectors.counts
        if counts is None:
            counts = np.zeros(len(words), np.int64)
        self.settings = replace(self.settings, vector_size=matrix.shape[1])
        self._begin_with(Vocabulary.from_sorted(words, np.array(counts)), 0, int(counts.sum()))
        self.embeddings.assign(matrix)

    def _live_vectors(self) -> TrainedVectors:
        vocabulary = self._check_built()
        if self._vectors is None:
            self._vectors = self._new_vectors(vocabulary)
        self._vectors.refresh(self._is_shared)
        return self._vectors

    def _new_vectors(self, vocabulary: Vocabulary) -> TrainedVectors:
        return LiveVectors(vocabulary, self.embeddings)

    def _bags(self) -> train_op.WordBags | None:
        """The rows of each word in the embeddings; None: one for each."""
        return None

    def _check_one_worker(self) -> None:
        """Tables of n-grams and of documents are not merged among workers."""
        if self._workers.number > 1 and self.settings_type is not Settings:
            raise ValueError(
                f"{type(self).__name__} is trained by one worker: make it outside of "
                "strategy.scope(), or train fastw2v.Word2Vec"
            )

    def build_vocab(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        update: bool = False,
        progress_per: int | None = None,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        *,
        corpus_iterable: Source | None = None,
        min_count: int | None = None,
        sample: float | None = None,
        pretrained: Pretrained | None = None,
        cache: FilePath | None = None,
        workers: int | None = None,
        report: Report | None = None,
    ) -> None:
        """Counts the words of a text and makes the tables.

        Args:
            sentences, corpus_file: As in the constructor.
            update: Adds the words of another text that occur ``min_count`` times in it, behind
                those that are there, and the counts of all words. The tables become new variables;
                vectors that are there stay. The weights of hierarchical softmax begin at 0 again,
                as its tree is another one.
            trim_rule: A function of a word, its count and ``min_count`` that returns 0 (the word
                stays if it occurs often enough), 1 (it is left out) or 2 (it stays), which are
                gensim's ``RULE_DEFAULT``, ``RULE_DISCARD`` and ``RULE_KEEP``.
            corpus_iterable: Another name for ``sentences``.
            min_count, sample: Settings to change before.
            pretrained: `WordVectors`, those of gensim, or the path of a file of them: the words
                that have a vector there begin at it, and are trained as all others are. With
                ``update``, the new words.
            cache: File for the ids of the text, which is used again for the same text and
                arguments.
            progress_per, keep_raw_vocab: Accepted as in gensim.
            workers: Threads that read the text; None: ``model.workers``, which train, too.
            report: Is called while the text is read, see `fastw2v.word2vec.corpus.read_corpus`.

        Raises:
            OSError: The text cannot be read.
            ValueError: The text is no text, no word occurs ``min_count`` times, or the vectors
                given are of another width.
        """
        if update:
            self._check_built()
        check_trim_rule(trim_rule)
        for name, value in (("min_count", min_count), ("sample", sample)):
            if value is not None:
                setattr(self, name, value)
        given = None if pretrained is None else self._fitting(pretrained)
        text = one_iterable(sentences, corpus_iterable)
        source = one_source(text, corpus_file, self.text_argument)
        settings = self.settings
        counts_all = update or trim_rule is not None
        corpus = self._read(
            source,
            workers,
            cache=cache,
            min_count=1 if counts_all else max(settings.min_count, 1),
            max_vocab_size=settings.max_vocab_size,
            max_final_vocab=None if counts_all else settings.max_final_vocab,
            report=report,
        )
        logger.info(
            "read %s words in %s sentences", f"{corpus.num_words:,}", f"{corpus.num_sentences:,}"
        )
        before = len(self._check_built()) if update else 0
        counted = vocabulary = corpus.vocabulary
        if counts_all:
            vocabulary = self._trimmed(counted, trim_rule)
        if update:
            self._add_words(counted, vocabulary, corpus.num_sentences, corpus.num_words)
        else:
            self._begin_with(vocabulary, corpus.num_sentences, corpus.num_words, corpus.tags)
            if counts_all:
                corpus = self._renumbered(corpus, vocabulary)
            self._given = Text(source, corpus, self._given.callbacks)
        if given is not None:
            number = self._live_vectors().take(given, before)
            logger.info("%s words begin at given vectors", f"{number:,}")

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[str, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Makes the tables for words that are counted already.

        Args:
            word_freq: How often each word occurs.
            keep_raw_vocab: Accepted as in gensim.
            corpus_count: How many sentences there are; None: not known, 0.
            trim_rule, update: As in `build_vocab`.

        Raises:
            ValueError: No word occurs ``min_count`` times.

        Example:
            >>> import fastw2v
            >>> model = fastw2v.Word2Vec(min_count=2)
            >>> model.build_vocab_from_freq({"to": 2, "be": 2, "or": 1})
            >>> model.vocabulary.words
            ['be', 'to']
        """
        if update:
            self._check_built()
        counted = Vocabulary(word_freq)
        vocabulary = self._trimmed(counted, trim_rule)
        num_words = int(counted.counts.sum())
        if update:
            self._add_words(counted, vocabulary, corpus_count or 0, num_words)
        else:
            self._begin_with(vocabulary, corpus_count or 0, num_words)

    def intersect_word2vec_format(
        self,
        fname: FilePath,
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> int:
        """Takes the vectors of the words that are also in a file of word2vec's format.

        The same as ``build_vocab(..., pretrained=path)``, later, for files whose name does not say
        their format.

        Args:
            fname: The file; its vectors are as wide as those of the model.
            lockf: Must be given as 1: the vectors are trained as all others. With 0, gensim's
                default, they would not be.
            binary, encoding, unicode_errors: As in `WordVectors.load_word2vec_format`.

        Returns:
            How many words are in both.

        Raises:
            OSError: The file cannot be read.
            ValueError: ``lockf`` is not 1, the file is damaged, its vectors are of another width,
                or there is no vocabulary yet.
        """
        return self._live_vectors().intersect_word2vec_format(
            fname, lockf, binary, encoding, unicode_errors
        )

    def _begin_with(
        self,
        vocabulary: Vocabulary,
        num_sentences: int,
        num_words: int,
        tags: Vocabulary | None = None,
    ) -> None:
        """Makes the tables for a vocabulary, as they are before training."""
        if not len(vocabulary):
            raise NoVocabularyError(
                f"no word occurs at least min_count = {self.settings.min_count} times: the text "
                f"has {num_words:,} words"
            )
        logger.info("the vocabulary has %s words", f"{len(vocabulary):,}")
        self._vocabulary, self._tags = vocabulary, tags
        self._state = State(corpus_count=num_sentences, corpus_total_words=num_words)
        self._given = Text(callbacks=self._given.callbacks)
        tables = {}
        num_documents = 0 if tags is None else len(tags)
        for name, shape in table_shapes(self.settings, len(vocabulary), num_documents).items():
            drawn = _DRAWN_TABLES.get(name)
            if drawn is None:
                tables[name] = tf.zeros(shape)
            else:
                rows, width = shape
                tables[name] = first_vectors(rows, width, self.settings.seed, drawn)
        self._use(tables)

    def _add_words(
        self, counted: Vocabulary, kept: Vocabulary, num_sentences: int, num_words: int
    ) -> None:
        """Takes the words of another text in: counts of all, and those kept as new ones."""
        self._settle()
        known = self._check_built()
        merged = growing.merged(known, counted, kept)
        if merged.counts.sum() == known.counts.sum():
            warnings.warn(
                "build_vocab(update=True) changed nothing: no word of the text is known or occurs "
                f"at least min_count = {self.settings.min_count} times",
                RuntimeWarning,
                stacklevel=3,
            )
        self._state.corpus_count, self._state.corpus_total_words = num_sentences, num_words
        self._grow(merged)

    def _grow(self, vocabulary: Vocabulary, added_vectors: np.ndarray | None = None) -> None:
        """Makes the tables longer: behind the words that are there, the vocabulary has others."""
        before, rows = len(self._check_built()), len(vocabulary)
        logger.info("the vocabulary has %s new words", f"{rows - before:,}")
        self._vocabulary = vocabulary
        self._given = Text(callbacks=self._given.callbacks)  # its ids are those of its own words
        if added_vectors is None:
            width = self.settings.vector_size
            added_vectors = first_vectors(rows, width, self.settings.seed)[before:]
        added = {
            name: tf.zeros(shape)
            for name, shape in table_shapes(self.settings, rows - before).items()
            if name != "embeddings"
        }
        added["embeddings"] = added_vectors
        grown = {  # rows of n-grams stay at the end
            name: tf.concat([table[:before], added[name], table[before:]], axis=0)
            if name in added
            else table
            for name, table in self._named_tables().items()
        }
        name = tree_table(self.settings)
        if name is not None:  # the nodes are those of another tree
            grown[name] = tf.zeros_like(grown[name])
        self._use(grown)

    def _trimmed(self, vocabulary: Vocabulary, trim_rule: TrimRule | None) -> Vocabulary:
        settings = self.settings
        return growing.trimmed(vocabulary, settings.min_count, settings.max_final_vocab, trim_rule)

    def _use(self, values: dict[str, Any]) -> None:
        """Makes these the values of the tables, of the vocabulary as it is. Takes them out of the
        dictionary, so that each is freed when it has become a variable."""
        with table_device(self.settings):
            variables = {  # of this process, also in the scope of a strategy
                name: PlainVariable(values.pop(name), name=name) for name in list(values)
            }
        tables = Tables(**variables)
        for each in fields(Tables):
            setattr(self, each.name, getattr(tables, each.name))
        self._objective = self._vectors = self._document_vectors = None
        self._is_shared = False

    def _settle(self) -> None:
        """Takes over what was done to `wv`, and lets go of the tables, so that they are changed in
        place."""
        self._adopt()
        self._release()

    def _adopt(self) -> None:
        """Makes words that were added to `wv` words of the model."""
        vectors = self._vectors
        if vectors is not None and vectors.has_added_words:
            vocabulary = self._check_built()
            known = len(vocabulary)
            counts = np.ones(len(vectors), np.int64)  # of words that nobody has counted
            if vectors.counts is not None:
                counts = np.maximum(vectors.counts, 1)
            counts[:known] = vocabulary.counts
            added = vectors.vectors
            self._grow(Vocabulary.from_sorted(list(vectors.words), counts), added[known:])
            self.embeddings[:known].assign(added[:known])

    def _release(self) -> None:
        if self._document_vectors is not None:
            self._document_vectors.release()
        if self._vectors is None:
            return
        if self._vectors.has_added_words:
            raise RuntimeError("words cannot be added to model.wv while the model is trained")
        self._vectors.release()

    def _tables(self) -> Tables:
        return Tables(**self._named_tables())

    def _named_tables(self) -> dict[str, tf.Variable]:
        tables = {each.name: getattr(self, each.name) for each in fields(Tables)}
        return {name: table for name, table in tables.items() if table is not None}

    def _trainer(self) -> Objective:
        """What trains the tables, by the settings as they are."""
        vocabulary = self._check_counted()
        if self._objective is None:
            settings = self.settings
            if settings.loss == options.SAMPLED_SOFTMAX:
                to_integer("num_sampled", settings.num_sampled, 1, len(vocabulary) - 1)
            self._objective = objective_of(
                self._tables(), vocabulary.counts, settings, self._bags()
            )
        return self._objective

    def _check_counted(self) -> Vocabulary:
        """Returns the vocabulary.

        Raises:
            ValueError: There is none yet, or the counts of its words are not known.
        """
        vocabulary = self._check_built()
        if not vocabulary.counts.any():
            raise ValueError(
                "it is not known how often the words of the model occur, by which training draws: "
                "call build_vocab with a text and pretrained = these vectors, or save model.wv"
            )
        return vocabulary

    def _fitting(self, pretrained: Pretrained) -> WordVectors:
        """Vectors to begin at, of the width of the model."""
        vectors = as_word_vectors(pretrained)
        width = vectors.vectors.shape[1]
        if width != self.settings.vector_size:
            raise ValueError(
                f"pretrained has vectors of width {width}; give vector_size = {width}, not "
                f"{self.settings.vector_size}"
            )
        return vectors

    def _check_built(self) -> Vocabulary:
        """Returns the vocabulary.

        Raises:
            NoVocabularyError: There is none yet.
        """
        if self._vocabulary is None:
            raise NoVocabularyError("the model has no vocabulary yet: call build_vocab first")
        return self._vocabulary

    def _text(
        self,
        sentences: Source | None,
        corpus_file: FilePath | None,
        cache: FilePath | None,
        workers: int | None,
    ) -> TokenCorpus:
        """The text to train on, by the ids of the vocabulary."""
        if sentences is None and corpus_file is None:
            if self._given.corpus is None:
                raise ValueError(f"no text is given: give {self.text_argument} or corpus_file")
            return self._given.corpus
        source = one_source(sentences, corpus_file, self.text_argument)
        if self._given.corpus is not None and self._given.holds(source):
            return self._given.corpus
        return self._encoded(source, cache, workers)

    def _text_to_evaluate(self, source: Source, workers: int | None) -> TokenCorpus:
        text = self._encoded(source, None, workers)
        if text.num_tokens == text.num_sentences:
            raise ValueError(
                f"{named(source)}: the text has no two words of the vocabulary within one sentence"
            )
        return text

    def _read(self, source: Source, workers: int | None, **how: Any) -> TokenCorpus:
        """A text as `read_corpus` reads it; one that is read already as it is."""
        if isinstance(source, TokenCorpus):
            if source.tags is not None:
                raise TypeError("the corpus is of documents: train fastw2v.Doc2Vec with it")
            return source
        return read_corpus(
            source,
            tokenizer=self.settings.tokenizer,
            workers=options.TABLE["workers"].checked(workers) or self.settings.workers,
            **how,
        )

    def _renumbered(self, corpus: TokenCorpus, vocabulary: Vocabulary) -> TokenCorpus:
        return growing.renumbered(corpus, vocabulary)

    def _encoded(self, source: Source, cache: FilePath | None, workers: int | None) -> TokenCorpus:
        if not isinstance(source, TokenCorpus):
            return self._read(source, workers, cache=cache, vocabulary=self._vocabulary)
        if source.vocabulary.words != self._check_built().words:
            raise ValueError(
                "the corpus is numbered by another vocabulary: read it with vocabulary = "
                "model.vocabulary"
            )
        return source


def check_trim_rule(trim_rule: TrimRule | None) -> None:
    if trim_rule is not None and not callable(trim_rule):
        raise TypeError(f"trim_rule = {trim_rule!r} is no function")


def one_iterable(
    sentences: Source | None, corpus_iterable: Source | None, name: str = "sentences"
) -> Source | None:
    """An argument that has two names."""
    if sentences is not None and corpus_iterable is not None:
        raise ValueError(f"{name} and corpus_iterable are one argument: give one of them")
    return corpus_iterable if sentences is None else sentences


def one_source(
    sentences: Source | None, corpus_file: FilePath | None, name: str = "sentences"
) -> Source:
    if (sentences is None) == (corpus_file is None):
        raise ValueError(f"give either {name} or corpus_file")
    if isinstance(sentences, (str, bytes, os.PathLike)):
        each = "lists of words" if name == "sentences" else name
        raise ValueError(
            f"{name} = {sentences!r} is no iterable of {each}: the path of a text is given as "
            "corpus_file"
        )
    source = corpus_file if sentences is None else sentences
    assert source is not None
    return source


def named(source: Source) -> str:
    """A text to evaluate, for messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "evaluate"


def as_word_vectors(vectors: Pretrained) -> WordVectors:
    """Vectors, read from a file or taken from gensim where they lie there."""
    if isinstance(vectors, WordVectors):
        return vectors
    if isinstance(vectors, (str, os.PathLike)):
        return WordVectors.load(vectors)
    return WordVectors.from_gensim(vectors)
