"""Word vectors with gensim's interface, in TensorFlow variables."""

from __future__ import annotations

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf

from fastw2v._arguments import to_integer, to_number
from fastw2v.word2vec import saved_model, training
from fastw2v.word2vec import settings as options
from fastw2v.word2vec.corpus import Report as ReadingReport
from fastw2v.word2vec.corpus import TokenCorpus, read_corpus
from fastw2v.word2vec.objectives import Objective, Tables, objective_of, table_device
from fastw2v.word2vec.progress import ProgressLine
from fastw2v.word2vec.settings import Settings
from fastw2v.word2vec.training import Interrupts, Progress, Run
from fastw2v.word2vec.vectors import WordVectors
from fastw2v.word2vec.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras

FilePath: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "FilePath | Iterable[Sequence[str]] | TokenCorpus"

_EVALUATED_TOKENS = 1 << 14


@dataclass
class _State:
    """What changes while a model is trained, beside its tables."""

    losses: list[float] = field(default_factory=list)
    log_likelihoods: list[float] = field(default_factory=list)
    corpus_count: int = 0
    corpus_total_words: int = 0
    run: Run | None = None

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> _State:
        run = fields["run"]
        return cls(**{**fields, "run": None if run is None else Run(**run)})


class Word2Vec(tf.Module):
    """Trains word vectors: skip-gram or CBOW.

    The arguments are gensim's, with its meaning, and the vectors are as good. With a text the
    model is trained at once; without, call `build_vocab` and `train`. ::

        model = fastw2v.Word2Vec(corpus_file="corpus.txt", epochs=5)
        model.wv.most_similar("king")
        model.save("king.model")

    **What differs from gensim.** ``sg`` is 1. Negatives are shared by the words of a block, which
    makes matrix products of what gensim computes pair by pair; in expectation the loss is the same.
    Where passes are few the learning rate falls later, as in gensim with several threads and a
    ``corpus_file``. One loss is trained at a time, so that ``hs=1`` takes ``negative=0``. The
    vocabulary is kept apart from the vectors, in ``model.vocabulary``. Training uses the threads of
    TensorFlow (``tf.config.threading.set_intra_op_parallelism_threads``); ``workers`` is about
    reading alone.

    **Determinism.** Threads update the tables without locks, so that two runs differ slightly as
    they do in gensim. With ``deterministic=True``, or after
    ``tf.config.experimental.enable_op_determinism()``, the same text and arguments give the same
    bits, whatever the number of threads; the two softmax losses always do.

    **Devices.** Negative sampling and hierarchical softmax are trained on the CPU, and their tables
    are variables there, whatever GPUs TensorFlow sees and whatever ``tf.device`` the model is made
    in. With the two softmax losses the tables are where TensorFlow places variables, on a GPU that
    it sees, and trained there.

    **Memory.** The two tables, ``8 * V * vector_size`` bytes, and a few blocks of text. Its ids lie
    in a file.

    Args:
        sentences: An iterable of sentences, lists of str, that can be gone through once; or a
            `TokenCorpus` of `fastw2v.word2vec.corpus.read_corpus`.
        corpus_file: In its place the path of a UTF-8 text, a sentence per line, plain or compressed
            by gzip, bzip2, xz or zstd; or a directory of such files.
        vector_size: Width D of the vectors, at least 1.
        window: The largest distance between a word and one that it predicts, at least 1.
        min_count: Words that occur less often are left out; at least 1.
        sg: 1: skip-gram, each word near another predicts it; 0: CBOW, all of them together do.
        hs: 1: hierarchical softmax, over the turns in a Huffman tree of the words.
        negative: How many words of the noise each example is set against; 0 where ``hs`` is 1.
        ns_exponent: The noise is ``counts ** ns_exponent``.
        sample: Words of a relative frequency above about 2.6 times this are thinned out, in [0, 1);
            0 keeps all.
        alpha, min_alpha: Learning rate at the beginning and at the end. Between them it is
            ``min_alpha + (alpha - min_alpha) * (1 - done) ** (epochs / (epochs + 2))``: nearly a
            line for many passes, and higher for longer where they are few.
        epochs: Passes over the text, at least 1.
        seed: Decides all draws, at least 0.
        cbow_mean: CBOW: 1 takes the mean of the vectors of the context, 0 their sum.
        max_vocab_size: While words are counted, above so many the rarest are forgotten.
        max_final_vocab: How many of the most frequent words to keep at most.
        shrink_windows: Whether the window of each word is drawn from ``1, ..., window``.
        loss: None: what ``hs`` and ``negative`` say. "softmax": the exact softmax over all words;
            "sampled_softmax": over ``num_sampled`` drawn ones and the true one (drawn as the noise
            is, with their expected counts corrected for). Both have biases, go through batches of
            pairs, and are slower: use them for their probabilities, not for speed.
        num_sampled: Of the sampled softmax, below V.
        batch_size: Examples in a step of the two softmax losses.
        deterministic: See above; takes longer.
        tokenizer: How lines of ``corpus_file`` become words: "whitespace", or "words": runs of
            letters in lower case.
        workers: Threads that count words; None: as many as there are processors.
        cache: File for the ids of the text, which is used again for the same text and arguments.
        **training_options: Arguments of `train` for the training that begins at once.

    Attributes:
        settings: The arguments, by name; also as attributes of the model.
        vocabulary: The words, a `Vocabulary`; None before `build_vocab`.
        embeddings: ``tf.Variable`` float32 ``[V, D]``, the vectors of ``vocabulary.words``.
        weights: ``tf.Variable`` float32 ``[V, D]``: gensim's ``syn1neg``, or ``syn1`` with
            hierarchical softmax.
        biases: ``tf.Variable`` float32 ``[V]`` of the two softmax losses, else None.
        losses: Mean loss of each pass over the text so far, in nats per example (pair or bag),
            each before the update that it leads to; NaN for a pass of which subsampling left no
            example.
        log_likelihoods: What `evaluate` gave after each pass for which `train` was asked to.
        corpus_count, corpus_total_words: Sentences and words of the text of `build_vocab`.

    Raises:
        OSError: The text cannot be read.
        ValueError: An argument is out of its range, the text is no text, or it has no word that
            occurs ``min_count`` times.

    Example:
        >>> import fastw2v
        >>> text = [["red", "green", "blue"], ["one", "two", "three"]] * 200
        >>> model = fastw2v.Word2Vec(text, vector_size=8, sample=0, deterministic=True)
        >>> model.wv["red"].shape, len(model.losses)
        ((8,), 5)
        >>> model.losses[-1] < model.losses[0]
        True

    Source: Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words and
    Phrases and their Compositionality", NIPS 2013; the arguments are those of gensim 4.
    """

    def __init__(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        *,
        vector_size: int = 100,
        window: int = 5,
        min_count: int = 5,
        sg: int = 1,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        sample: float = 1e-3,
        alpha: float = 0.025,
        min_alpha: float = 1e-4,
        epochs: int = 5,
        seed: int = 1,
        cbow_mean: int = 1,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
        loss: str | None = None,
        num_sampled: int = 64,
        batch_size: int = 1024,
        deterministic: bool = False,
        tokenizer: str = "whitespace",
        workers: int | None = None,
        cache: FilePath | None = None,
        **training_options: Any,
    ) -> None:
        super().__init__(name="word2vec")
        given = locals()
        self.settings = Settings(**{name: given[name] for name in Settings.__dataclass_fields__})
        self.embeddings = self.weights = self.biases = None
        self._state = _State()
        self._vocabulary: Vocabulary | None = None
        self._objective: Objective | None = None
        self._corpus: tuple[Source, TokenCorpus] | None = None  # of build_vocab
        self._vectors: WordVectors | None = None
        self._is_shared = False  # others may change the embeddings
        if sentences is not None or corpus_file is not None:
            self.build_vocab(sentences, corpus_file, cache=cache, workers=workers)
            self.train(**training_options)
        elif training_options:
            raise TypeError(f"{next(iter(training_options))} is given, but no text to train on")

    def __getattr__(self, name: str) -> Any:
        if name in Settings.__dataclass_fields__ and name != "settings":
            return getattr(self.settings, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def vocabulary(self) -> Vocabulary | None:
        return self._vocabulary

    @property
    def losses(self) -> list[float]:
        return list(self._state.losses)

    @property
    def log_likelihoods(self) -> list[float]:
        return list(self._state.log_likelihoods)

    @property
    def corpus_count(self) -> int:
        return self._state.corpus_count

    @property
    def corpus_total_words(self) -> int:
        return self._state.corpus_total_words

    @property
    def wv(self) -> WordVectors:
        """The words with their vectors as they are now, `WordVectors`.

        The array is not copied, and cannot be written to. It stays as it is when training goes on,
        and costs the memory of a table then.

        Raises:
            ValueError: There is no vocabulary yet.
        """
        self._check_built()
        if self._vectors is None or self._is_shared:
            self._vectors = WordVectors(
                self._vocabulary.words, _values(self.embeddings), counts=self._vocabulary.counts
            )
        return self._vectors

    def build_vocab(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        update: bool = False,
        *,
        cache: FilePath | None = None,
        workers: int | None = None,
        report: ReadingReport | None = None,
    ) -> None:
        """Counts the words of a text and makes the tables.

        Args:
            sentences, corpus_file, cache, workers: As in the constructor.
            update: Adds the words of another text that occur ``min_count`` times in it, behind
                those that are there, and its counts to theirs. The tables become new variables;
                vectors that are there stay. Not with hierarchical softmax, whose tree would be
                another.
            report: Is called while the text is read, see `fastw2v.word2vec.corpus.read_corpus`.

        Raises:
            OSError: The text cannot be read.
            ValueError: The text is no text, or no word occurs ``min_count`` times.
        """
        source = _one_source(sentences, corpus_file)
        if update:
            self._check_built()
            if self.settings.hs:
                raise ValueError("update = True and hs = 1: another tree would need other weights")
        if isinstance(source, TokenCorpus):
            corpus = source
        else:
            corpus = read_corpus(
                source,
                cache=cache,
                min_count=self.settings.min_count,
                max_vocab_size=self.settings.max_vocab_size,
                max_final_vocab=self.settings.max_final_vocab,
                tokenizer=self.settings.tokenizer,
                workers=workers,
                report=report,
            )
        if not len(corpus.vocabulary):
            raise ValueError(
                f"no word occurs at least min_count = {self.settings.min_count} times: the text "
                f"has {corpus.num_words:,} words"
            )
        self._state.corpus_count = corpus.num_sentences
        self._state.corpus_total_words = corpus.num_words
        if update:
            self._corpus = None  # its ids are those of its own vocabulary
            self._add_words(corpus.vocabulary)
        else:
            self._corpus = source, corpus
            self._vocabulary = corpus.vocabulary
            self._make_tables()

    def train(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        *,
        compute_loss: bool = True,
        resume: bool = False,
        report: Callable[[Progress], None] | None = None,
        progress: bool = False,
        callbacks: Sequence[Any] = (),
        evaluate: Source | None = None,
        tensorboard: FilePath | None = None,
        checkpoint: FilePath | None = None,
        checkpoint_every: float = 600.0,
        max_seconds: float | None = None,
        cache: FilePath | None = None,
        workers: int | None = None,
    ) -> None:
        """Trains on a text, from the vectors as they are.

        After Ctrl-C, or any other exception out of a callback, the model holds what was trained so
        far, and ``train(..., resume=True)`` goes on. With ``checkpoint`` a process that comes later
        can do that: ``Word2Vec.load(checkpoint).train(..., resume=True)``. Where training is
        deterministic, what comes out are the bits of a training that went through.

        Args:
            sentences, corpus_file, cache, workers: As in the constructor. None: the text of
                `build_vocab`. Words outside the vocabulary are left out.
            total_examples, total_words, compute_loss: Taken for gensim's sake. The text says how
                long it is, and the loss is always computed.
            epochs: Passes over the text; None: that of the constructor.
            start_alpha, end_alpha: In place of ``alpha`` and ``min_alpha``.
            resume: Goes on with a training that was interrupted, with its epochs and rates; one
                that came to its end is left as it is. The text must be the same.
            report: Is called with a `fastw2v.word2vec.training.Progress` after each block of some
                100,000 words, and after each pass.
            progress: Shows a bar on the standard error stream (without a terminal, a line every
                five seconds) and a line after each pass.
            callbacks: Objects of gensim's `CallbackAny2Vec`: methods ``on_train_begin``,
                ``on_epoch_begin``, ``on_epoch_end``, ``on_train_end``, called with the model.
            evaluate: Another text, as ``sentences`` or a path, for `evaluate` after each pass; the
                results are in ``log_likelihoods``.
            tensorboard: Directory for scalars: loss, learning rate and words per second against
                words; the loss, and the log-likelihood where ``evaluate`` is given, of each pass.
            checkpoint: File that `save` writes after ``checkpoint_every`` seconds again and again,
                when training is interrupted, and at the end.
            checkpoint_every: Seconds, above 0.
            max_seconds: Ends training earlier: the learning rate then falls with the time, and the
                result is no longer decided by the seed.

        Raises:
            OSError: The text cannot be read, or the checkpoint cannot be written.
            ValueError: An argument is out of its range, the loss is no longer finite, the text has
                no two words near each other, or there is nothing to resume.
            KeyboardInterrupt: Ctrl-C, between two blocks; the second one comes at once.
        """
        self._check_built()
        to_number("checkpoint_every", checkpoint_every, 0.0, math.inf)
        if max_seconds is not None and not max_seconds > 0:
            raise ValueError(f"max_seconds = {max_seconds} is not above 0")
        text = self._text(sentences, corpus_file, cache, workers)
        held_out = None if evaluate is None else self._encoded(evaluate, None, workers)
        run = self._state.run = (
            self._resumed(text) if resume else self._begun(text, epochs, start_alpha, end_alpha)
        )
        saved = time.monotonic()
        _call(callbacks, "on_train_begin", self)
        with contextlib.ExitStack() as stack:
            interrupts = stack.enter_context(Interrupts())
            tell = _Telling(stack, report, progress, tensorboard)
            if not run.block and not run.finished:
                _call(callbacks, "on_epoch_begin", self)
            for now in self._trained(text, run, max_seconds or math.inf):
                log_likelihood = None
                if now.epoch_ended and held_out is not None:
                    log_likelihood = self.evaluate(held_out)
                    self._state.log_likelihoods.append(log_likelihood)
                tell(now, log_likelihood)
                if now.epoch_ended:
                    _call(callbacks, "on_epoch_end", self)
                    if not run.finished:
                        _call(callbacks, "on_epoch_begin", self)
                if interrupts.met:
                    if checkpoint is not None:
                        self.save(checkpoint)
                    raise KeyboardInterrupt
                if checkpoint is not None and time.monotonic() - saved > checkpoint_every:
                    self._save_or_warn(checkpoint)
                    saved = time.monotonic()
        if run.finished and not run.total_examples:
            raise ValueError(
                "subsampling left no two words near each other: for so small a text give sample = 0"
            )
        if checkpoint is not None:
            self.save(checkpoint)
        _call(callbacks, "on_train_end", self)

    def evaluate(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        *,
        max_examples: int | None = 100_000,
    ) -> float:
        """How well the model predicts a text, best one that it was not trained on.

        The mean, over the examples of the text, of the logarithm of the probability of the word
        that is to be predicted among all V words, in nats: at most 0, and ``-log(V)`` for a model
        that knows nothing. Examples are drawn as in training (subsampling, windows), always the
        same ones; nothing is sampled beyond that.

        The probabilities are those that the model has learned: of the softmax, with the biases; of
        the turns in the tree for hierarchical softmax. Negative sampling learns ``h w = log p(w|h)
        - log q(w) + const`` for the noise q, so that its probabilities are ``softmax(h w + log q)``
        (Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014, equation
        7). It does not learn that they sum to 1, and a small difference between two settings says
        little about the vectors.

        Args:
            sentences, corpus_file: The text, as in the constructor. Words outside the vocabulary
                are left out.
            max_examples: Ends after so many, from the beginning of the text; None takes all. Each
                costs ``2 * V * vector_size`` operations.

        Raises:
            OSError: The text cannot be read.
            ValueError: The text is no text, or has no two words near each other.

        Example:
            >>> import fastw2v
            >>> text = [["red", "green", "blue"], ["one", "two", "three"]] * 200
            >>> model = fastw2v.Word2Vec(text, vector_size=8, sample=0, epochs=20)
            >>> -1.2 < model.evaluate([["red", "green", "blue"]]) < -0.6  # -log(6) is -1.79
            True
        """
        self._check_built()
        corpus = self._encoded(_one_source(sentences, corpus_file), None, None)
        total, number = 0.0, 0
        for place, ids in enumerate(corpus.blocks(_EVALUATED_TOKENS)):
            added, examples = self._objective.log_likelihood(
                np.array(ids), (self.settings.seed, -1 - place)
            )
            total += added
            number += examples
            if max_examples is not None and number >= max_examples:
                break
        if not number:
            raise ValueError("the text has no two words of the vocabulary within one sentence")
        return total / number

    def get_latest_training_loss(self) -> float:
        """The loss of the last call of `train`, summed over its examples, as gensim gives it."""
        return 0.0 if self._state.run is None else self._state.run.total_loss

    def embedding_layer(self, **kwargs: Any) -> keras.layers.Layer:
        """A `fastw2v.keras.Embedding` that shares the variable with the model.

        What a Keras model trains there, the word vectors are; ``trainable=False`` leaves them.
        `build_vocab` makes new variables, which the layer does not follow.

        Args:
            **kwargs: Of the layer.

        Example:
            >>> import fastw2v
            >>> model = fastw2v.Word2Vec([["to", "be"]] * 20, vector_size=8, sample=0)
            >>> layer = model.embedding_layer(trainable=False)
            >>> layer(tf.constant([model.vocabulary.index["be"]])).shape
            TensorShape([1, 8])
        """
        self._check_built()
        from fastw2v.keras import Embedding  # brings Keras, which takes a second

        layer = Embedding(*self.embeddings.shape, embeddings_initializer="zeros", **kwargs)
        layer.build()
        layer.embeddings._value = self.embeddings
        self._is_shared = True
        return layer

    def save(self, path: FilePath) -> None:
        """Writes everything to one file: arguments, words, tables, and how far training is.

        A file that is there already stays whole until the new one is complete.

        Raises:
            OSError: The file cannot be written.
            ValueError: There is no vocabulary yet.
        """
        self._check_built()
        saved_model.write(
            path,
            {"settings": asdict(self.settings), "state": asdict(self._state)},
            self._vocabulary.words,
            self._vocabulary.counts,
            self._tables(),
        )

    def _save_or_warn(self, path: FilePath) -> None:
        """Saves on the way: a full disk is no reason to end a training of hours."""
        try:
            self.save(path)
        except OSError as error:
            warnings.warn(f"no checkpoint was written: {error}", RuntimeWarning, stacklevel=3)

    @classmethod
    def load(cls, path: FilePath) -> Word2Vec:
        """Reads a file of `save`.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no such file, or it is damaged.

        Example:
            >>> import tempfile, fastw2v
            >>> model = fastw2v.Word2Vec([["to", "be"]] * 20, vector_size=8, sample=0)
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     model.save(f"{directory}/model")
            ...     same = fastw2v.Word2Vec.load(f"{directory}/model")
            >>> bool((same.wv["be"] == model.wv["be"]).all())
            True
        """
        description, words, counts, tables = saved_model.read(path)
        model = cls(**description["settings"])
        model._state = _State.restored(description["state"])
        model._vocabulary = Vocabulary.from_sorted(words, counts)
        model._use(tables)
        return model

    def _make_tables(self) -> None:
        shape = [len(self._vocabulary), self.settings.vector_size]
        tables = {"embeddings": _first_vectors(shape, self.settings), "weights": tf.zeros(shape)}
        if self.settings.loss is not None:
            tables["biases"] = tf.zeros(shape[:1])
        self._state = _State(
            corpus_count=self._state.corpus_count,
            corpus_total_words=self._state.corpus_total_words,
        )
        self._use(tables)

    def _add_words(self, vocabulary: Vocabulary) -> None:
        """Takes the words of another text in."""
        index, counts = self._vocabulary.index, self._vocabulary.counts
        is_new = np.array([word not in index for word in vocabulary.words], bool)
        known = ~is_new
        counts = np.concatenate([counts, vocabulary.counts[is_new]])
        words = np.array(vocabulary.words, object)
        counts[[index[word] for word in words[known]]] += vocabulary.counts[known]
        self._vocabulary = Vocabulary.from_sorted(
            [*self._vocabulary.words, *words[is_new].tolist()], counts
        )
        shape = [len(self._vocabulary), self.settings.vector_size]
        grown = {}
        for name, table in self._tables().items():
            added = tf.zeros([int(is_new.sum()), *table.shape[1:]])
            if name == "embeddings":
                added = _first_vectors(shape, self.settings)[table.shape[0] :]
            grown[name] = tf.concat([table, added], axis=0)
        self._use(grown)

    def _use(self, values: dict[str, Any]) -> None:
        """Makes these the values of the tables, of the vocabulary as it is. Takes them out of the
        dictionary, so that each is freed when it has become a variable."""
        if self.settings.loss == options.SAMPLED_SOFTMAX:
            to_integer("num_sampled", self.settings.num_sampled, 1, len(self._vocabulary) - 1)
        with table_device(self.settings):
            variables = {name: tf.Variable(values.pop(name), name=name) for name in list(values)}
        tables = Tables(**variables)
        self.embeddings, self.weights = tables.embeddings, tables.weights
        self.biases = tables.biases
        self._objective = objective_of(tables, self._vocabulary.counts, self.settings)
        self._vectors = None
        self._is_shared = False

    def _tables(self) -> dict[str, tf.Variable]:
        tables = {"embeddings": self.embeddings, "weights": self.weights, "biases": self.biases}
        return {name: table for name, table in tables.items() if table is not None}

    def _check_built(self) -> None:
        if self._vocabulary is None:
            raise ValueError("the model has no vocabulary yet: call build_vocab first")

    def _text(
        self,
        sentences: Source | None,
        corpus_file: FilePath | None,
        cache: FilePath | None,
        workers: int | None,
    ) -> TokenCorpus:
        """The text to train on, by the ids of the vocabulary."""
        if sentences is None and corpus_file is None:
            if self._corpus is None:
                raise ValueError("no text is given: give sentences or corpus_file")
            return self._corpus[1]
        source = _one_source(sentences, corpus_file)
        if self._corpus is not None:
            same_path = isinstance(source, (str, os.PathLike)) and source == self._corpus[0]
            if same_path or source is self._corpus[0]:
                return self._corpus[1]
        return self._encoded(source, cache, workers)

    def _encoded(self, source: Source, cache: FilePath | None, workers: int | None) -> TokenCorpus:
        if not isinstance(source, TokenCorpus):
            return read_corpus(
                source,
                cache=cache,
                vocabulary=self._vocabulary,
                tokenizer=self.settings.tokenizer,
                workers=workers,
            )
        if source.vocabulary.words != self._vocabulary.words:
            raise ValueError(
                "the corpus is numbered by another vocabulary: read it with vocabulary = "
                "model.vocabulary"
            )
        return source

    def _begun(
        self,
        text: TokenCorpus,
        epochs: int | None,
        start_alpha: float | None,
        end_alpha: float | None,
    ) -> Run:
        if text.num_tokens == text.num_sentences:
            raise ValueError("the text has no two words within one sentence to learn from")
        settings = self.settings
        for name, rate in (("start_alpha", start_alpha), ("end_alpha", end_alpha)):
            if rate is not None:
                to_number(name, rate, 0.0, math.inf)
        return Run(
            epochs=settings.epochs if epochs is None else to_integer("epochs", epochs, 1),
            alpha=settings.alpha if start_alpha is None else float(start_alpha),
            min_alpha=settings.min_alpha if end_alpha is None else float(end_alpha),
            num_words=text.num_tokens,
            first_epoch=len(self._state.losses),
        )

    def _resumed(self, text: TokenCorpus) -> Run:
        run = self._state.run
        if run is None:
            raise ValueError("there is no training to resume: the model was never trained")
        if text.num_tokens != run.num_words:
            raise ValueError(
                f"the text has {text.num_tokens:,} words of the vocabulary, that of the training "
                f"to resume had {run.num_words:,}: it is another one"
            )
        return run

    def _trained(self, text: TokenCorpus, run: Run, max_seconds: float) -> Iterator[Progress]:
        self._vectors = None
        return training.train(
            self._objective,
            text,
            run,
            seed=self.settings.seed,
            losses=self._state.losses,
            max_seconds=max_seconds,
        )


class _Telling:
    """Tells how training goes to all who want to know."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        report: Callable[[Progress], None] | None,
        progress: bool,
        tensorboard: FilePath | None,
    ) -> None:
        self._report = report
        self._line = stack.enter_context(ProgressLine("training")) if progress else None
        self._writer = None
        if tensorboard is not None:
            self._writer = tf.summary.create_file_writer(os.fspath(tensorboard))
            stack.callback(self._writer.close)

    def __call__(self, now: Progress, log_likelihood: float | None) -> None:
        """Tells it.

        Args:
            now: How far training is.
            log_likelihood: Of the pass that has ended; None if it is not known.
        """
        if self._line is not None:
            self._line.update(now.done, str(now))
            if now.epoch_ended:
                held_out = "" if log_likelihood is None else f", held out {log_likelihood:.4f}"
                self._line.print(f"{now}{held_out}")
        if self._writer is not None:
            self._write(now, log_likelihood)
        if self._report is not None:
            self._report(now)

    def _write(self, now: Progress, log_likelihood: float | None) -> None:
        scalars = {
            "loss": now.loss,
            "learning_rate": now.learning_rate,
            "words_per_second": now.words_per_second,
        }
        if now.epoch_ended:
            scalars = {"epoch_loss": now.loss}
            if log_likelihood is not None:
                scalars["log_likelihood"] = log_likelihood
        # tf.summary.scalar would need the package tensorboard to write, not only to look.
        values = [
            tf.compat.v1.Summary.Value(tag=name, simple_value=value)
            for name, value in scalars.items()
        ]
        summary = tf.compat.v1.Summary(value=values).SerializeToString()
        with self._writer.as_default(step=now.words):
            tf.summary.experimental.write_raw_pb(summary)


def _call(callbacks: Sequence[Any], method: str, model: Word2Vec) -> None:
    for callback in callbacks:
        getattr(callback, method)(model)


def _one_source(sentences: Source | None, corpus_file: FilePath | None) -> Source:
    if (sentences is None) == (corpus_file is None):
        raise ValueError("give either sentences or corpus_file")
    if isinstance(sentences, (str, bytes, os.PathLike)):
        raise ValueError(
            f"sentences = {sentences!r} is no iterable of lists of words: the path of a text is "
            "given as corpus_file"
        )
    return corpus_file if sentences is None else sentences


def _first_vectors(shape: list[int], settings: Settings) -> tf.Tensor:
    """As gensim has them: uniform in [-1 / D, 1 / D)."""
    bound = 1 / settings.vector_size
    return tf.random.stateless_uniform(shape, [settings.seed, 0], -bound, bound, alg="philox")


def _values(variable: tf.Variable) -> np.ndarray:
    """The values of a variable; of one on the CPU not copied."""
    with tf.device("CPU:0"):
        # After updates in place, reading would copy.
        tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
        values = np.from_dlpack(tf.identity(variable.read_value()))  # from a GPU: a copy
    values.flags.writeable = False
    return values
