"""Word vectors with gensim's interface, in TensorFlow variables."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from fastw2v._core.arguments import to_number
from fastw2v.word2vec.corpus import TokenCorpus, Vocabulary
from fastw2v.word2vec.corpus.growing import TrimRule
from fastw2v.word2vec.files import check_outputs
from fastw2v.word2vec.training import passes, saved_model
from fastw2v.word2vec.training import settings as options
from fastw2v.word2vec.training.gensim_names import (
    GensimNames,
    OfTheClass,
    split_options,
    unexpected,
)
from fastw2v.word2vec.training.model_words import (
    FilePath,
    ModelWords,
    Source,
    State,
    check_trim_rule,
    named,
    one_iterable,
    one_source,
)
from fastw2v.word2vec.training.objectives import tree_table
from fastw2v.word2vec.training.passes import Interrupts, Progress, Run
from fastw2v.word2vec.training.settings import Settings
from fastw2v.word2vec.training.telling import Telling, call
from fastw2v.word2vec.training.workers import Requests

if TYPE_CHECKING:
    import keras

_EVALUATED_TOKENS = 1 << 14

logger = logging.getLogger(__name__)


class Word2Vec(GensimNames, ModelWords, tf.Module):
    """Trains word vectors: CBOW, as in gensim, or skip-gram, with ``sg=1``.

    The arguments are gensim's, in its order and with its meaning, and the vectors are as good. With
    a text the model is trained at once; without, call `build_vocab` and `train`. ::

        model = fastw2v.Word2Vec(corpus_file="corpus.txt", sg=1, epochs=5)
        model.wv.most_similar("king")
        model.save("king.model")

    **What differs from gensim.** Negatives are shared by a group of up to 32 words of the text,
    which makes matrix products of what gensim computes pair by pair; in expectation the loss is the
    same. Where the updates of a word in a group would add up to a step past its minimum, the step
    is shortened: in sessions of few items, with wide windows, many negatives or a high rate.
    ``hs=1`` beside ``negative`` trains both losses, in turns on each block of text. The text is
    read once, so that it may be a generator: its ids are kept in a file. Vectors of single words
    cannot be kept from training (``vectors_lockf``).

    **Determinism.** Threads update the tables without locks, so that two runs differ slightly as
    they do in gensim; with ``workers=1`` they do not. With ``deterministic=True``, or after
    ``tf.config.experimental.enable_op_determinism()``, the same text and arguments give the same
    bits, whatever the number of threads; the two softmax losses always do.

    **Devices.** Negative sampling and hierarchical softmax are trained on the CPU, and their tables
    are variables there, whatever GPUs TensorFlow sees and whatever ``tf.device`` the model is made
    in. With the two softmax losses the tables are where TensorFlow places variables, on a GPU that
    it sees, and trained there.

    **Several workers.** A model that is made or loaded in the scope of a
    `tf.distribute.MultiWorkerMirroredStrategy` is trained by all its workers, which make the same
    calls with the same text and arguments. Each has tables of its own and takes its share of the
    blocks of text; ``merge_every`` says how often the tables are merged. N workers train with
    ``sqrt(N)`` times the learning rate that ``alpha`` and ``min_alpha`` say, N at most 8. After
    `train` all have the same vectors; the first worker writes checkpoints. Not for the two softmax
    losses.

    **Settings** can be assigned, as ``model.alpha = 0.01``: the next call of `train` follows them,
    and they are saved. Those that decide what the tables hold (``vector_size``, ``sg``, ``hs``,
    ``loss``) cannot be changed after `build_vocab`.

    **Words that come later, vectors that are there before.** ``build_vocab(more, update=True)``
    adds words. With ``pretrained=vectors`` the words that `WordVectors`, or a file of them, has
    begin at its vectors.

    **Log.** The logger ``fastw2v`` reports the progress of training:
    ``logging.basicConfig(level="INFO")`` shows it.

    **Memory.** The two tables, ``8 * V * vector_size`` bytes, and a few blocks of text. Its ids lie
    in a file.

    Args:
        sentences: An iterable of sentences, lists of words, that can be gone through once; or a
            `TokenCorpus` of `fastw2v.word2vec.corpus.read_corpus`.
        corpus_file: In its place the path of a UTF-8 text, a sentence per line, plain or compressed
            by gzip, bzip2, xz or zstd; or a directory of such files.
        vector_size: Width D of the vectors, at least 1.
        alpha, min_alpha: Learning rate at the beginning and at the end, at least 0; see
            ``schedule`` for what is between them.
        window: The largest distance between a word and one that it predicts, at least 1.
        min_count: Words that occur less often are left out.
        max_vocab_size: While words are counted, above so many the rarest are forgotten.
        sample: Words of a relative frequency above about 2.6 times this are thinned out, in [0, 1);
            0 keeps all.
        seed: Decides all draws, at least 0.
        workers: Threads that count words and train, at least 1, as in gensim and in ``fastw2v train
            --workers``; None, 0 or -1: as many as there are processors. Of the threads that
            TensorFlow has (``tf.config.threading``), training takes at most so many; the two
            softmax losses take all.
        sg: 0: CBOW, the words near another together predict it; 1: skip-gram, each of them does.
        hs: 1: hierarchical softmax, over the turns in a Huffman tree of the words.
        negative: How many words of the noise each example is set against, at most 4096. Beside
            ``hs=1`` both losses are trained, as in gensim; ``hs=1, negative=0`` trains that of the
            tree alone.
        ns_exponent: The noise is ``counts ** ns_exponent``.
        cbow_mean: CBOW: 1 takes the mean of the vectors of the context, 0 their sum.
        epochs: Passes over the text, at least 1.
        trim_rule: Decides which words stay, see `build_vocab`.
        callbacks: As in `train`. Without a text they are those of later calls of `train`.
        max_final_vocab: How many of the most frequent words to keep at most.
        shrink_windows: Whether the window of each word is drawn from ``1, ..., window``.
        comment: Is kept and saved with the model.
        hashfxn, batch_words, compute_loss: Accepted as in gensim; the seed decides all draws, and
            the loss is always computed.
        null_word, sorted_vocab: The same; they must be 0 and 1.
        loss: None: what ``hs`` and ``negative`` say. "softmax": the exact softmax over all words;
            "sampled_softmax": over ``num_sampled`` drawn ones and the true one (drawn as the noise
            is, with their expected counts corrected for). Both have biases, go through batches of
            pairs, and are slower: use them for their probabilities, not for speed.
        num_sampled: Of the sampled softmax, below V.
        batch_size: Examples in a step of the two softmax losses, at most: fewer where words are so
            few, or one so frequent, that the updates of a word would add up to too long a step.
        deterministic: See above; takes longer.
        tokenizer: How lines of ``corpus_file`` become words: "whitespace", or "words": runs of
            letters, with their marks, in lower case.
        schedule: How the learning rate falls with the share ``done`` of the work. "linear", as in
            gensim: ``alpha + (min_alpha - alpha) * done``. "late": ``min_alpha + (alpha -
            min_alpha) * (1 - done) ** (epochs / (epochs + 2))``, which is nearly a line for many
            passes and stays higher for longer where they are few, as gensim's rate does in effect
            with several threads and a ``corpus_file``.
        merge_every: Several workers: the share of the text that all of them train on between two
            merges of their tables, in [0, 1); each at least 10,000 tokens.
        **text_options: What else `build_vocab` and `train` take by name, for the text given.

    Attributes:
        settings: The arguments, by name; also as attributes of the model, which can be assigned.
        vocabulary: The words, a `Vocabulary`; None before `build_vocab`.
        embeddings: ``tf.Variable`` float32 ``[V, D]``, the vectors of ``vocabulary.words``.
        weights: ``tf.Variable`` float32 ``[V, D]``: gensim's ``syn1neg``, or ``syn1`` with
            hierarchical softmax alone.
        node_weights: ``tf.Variable`` float32 ``[V, D]``: gensim's ``syn1`` where negative sampling
            is trained beside hierarchical softmax, else None.
        biases: ``tf.Variable`` float32 ``[V]`` of the two softmax losses, else None.
        losses: Mean loss of each pass over the text so far, in nats per example (pair or bag),
            each before the update that it leads to; NaN for a pass of which subsampling left no
            example.
        log_likelihoods: What `evaluate` gave after each pass for which `train` was asked to.
        corpus_count, corpus_total_words: Sentences and words of the text of `build_vocab`.
        train_count, total_train_time: Calls of `train`, and the seconds they took.

    Raises:
        OSError: The text cannot be read.
        TypeError: An argument is not known, or is of no use without a text.
        ValueError: An argument is out of its range, the text is no text, or it has no word that
            occurs ``min_count`` times; or the model is made in the scope of a strategy of another
            kind.

    Example:
        >>> import fastw2v
        >>> text = [["red", "green", "blue"], ["one", "two", "three"]] * 200
        >>> model = fastw2v.Word2Vec(text, vector_size=8, sample=0, deterministic=True)
        >>> print(model)
        Word2Vec<vocab=6, vector_size=8, alpha=0.025>
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
        vector_size: int = Settings.vector_size,
        alpha: float = Settings.alpha,
        window: int = Settings.window,
        min_count: int = Settings.min_count,
        max_vocab_size: int | None = Settings.max_vocab_size,
        sample: float = Settings.sample,
        seed: int = Settings.seed,
        workers: int | None = Settings.workers,
        min_alpha: float = Settings.min_alpha,
        sg: int = Settings.sg,
        hs: int = Settings.hs,
        negative: int = Settings.negative,
        ns_exponent: float = Settings.ns_exponent,
        cbow_mean: int = Settings.cbow_mean,
        hashfxn: Callable[[str], int] | None = None,
        epochs: int = Settings.epochs,
        null_word: int = 0,
        trim_rule: TrimRule | None = None,
        sorted_vocab: int = 1,
        batch_words: int | None = None,
        compute_loss: bool = True,
        callbacks: Sequence[Any] = (),
        comment: str | None = Settings.comment,
        max_final_vocab: int | None = Settings.max_final_vocab,
        shrink_windows: bool = Settings.shrink_windows,
        *,
        loss: str | None = Settings.loss,
        num_sampled: int = Settings.num_sampled,
        batch_size: int = Settings.batch_size,
        deterministic: bool = Settings.deterministic,
        tokenizer: str = Settings.tokenizer,
        schedule: str = Settings.schedule,
        merge_every: float = Settings.merge_every,
        **text_options: Any,
    ) -> None:
        given = locals()
        super().__init__(Settings(**{name: given[name] for name in options.TABLE}))
        self._begin(Word2Vec, given)

    def _begin(self, documented: type[Word2Vec], given: Mapping[str, Any]) -> None:
        """What a constructor does with what it is given, beside the settings.

        Args:
            documented: The class whose constructor it is.
            given: Its arguments, by name.
        """
        sentences, corpus_file = given[self.text_argument], given["corpus_file"]
        trim_rule, callbacks = given["trim_rule"], given["callbacks"]
        null_word, sorted_vocab = given["null_word"], given["sorted_vocab"]
        text_options = dict(given["text_options"])
        if self.settings.objective == options.TREE_AND_NOISE:
            logger.warning(
                "hs = 1 and negative = %d: both losses are trained; with negative = 0 it would be "
                "hierarchical softmax alone",
                self.settings.negative,
            )
        if null_word or not sorted_vocab:
            raise ValueError(
                f"null_word = {null_word!r} and sorted_vocab = {sorted_vocab!r}: there is no word "
                "for padding, and words are always sorted; leave both out"
            )
        reading, learning = split_options(text_options, documented)
        if sentences is not None or corpus_file is not None:
            one_source(sentences, corpus_file, self.text_argument)
            check_trim_rule(trim_rule)
            _check_call(corpus_file, callbacks=callbacks, **learning, **reading)
            if learning.get("resume"):
                raise _nothing_to_resume()
            self.build_vocab(sentences, corpus_file, trim_rule=trim_rule, **reading)
            self.train(callbacks=callbacks, **learning)
            return
        if trim_rule is not None:
            text_options["trim_rule"] = trim_rule
        for name in text_options:
            method = "train" if name in learning else "build_vocab"
            raise TypeError(f"{name} is given, but no text to train on: give it to {method}")
        self._given.callbacks = tuple(callbacks or ())

    @property
    def losses(self) -> list[float]:
        return list(self._state.losses)

    @property
    def log_likelihoods(self) -> list[float]:
        return list(self._state.log_likelihoods)

    @property
    def train_count(self) -> int:
        return self._state.train_count

    @property
    def total_train_time(self) -> float:
        return self._state.total_train_time

    def train(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        word_count: int = 0,
        queue_factor: int = 2,
        report_delay: float = 1.0,
        compute_loss: bool = True,
        callbacks: Sequence[Any] = (),
        *,
        corpus_iterable: Source | None = None,
        resume: bool = False,
        report: Callable[[Progress], None] | None = None,
        progress: bool = False,
        evaluate: Source | None = None,
        tensorboard: FilePath | None = None,
        checkpoint: FilePath | None = None,
        checkpoint_every: float = 600.0,
        max_seconds: float | None = None,
        cache: FilePath | None = None,
        workers: int | None = None,
    ) -> tuple[int, int]:
        """Trains on a text, from the vectors as they are.

        After Ctrl-C, or any other exception out of a callback, the model holds what was trained so
        far, and ``train(..., resume=True)`` goes on. With ``checkpoint`` a process that comes later
        can do that: ``Word2Vec.load(checkpoint).train(..., resume=True)``. Where training is
        deterministic, the result has the same bits as without the interruption.

        Args:
            sentences, corpus_file, cache, workers: As in `build_vocab`. None: the text of
                `build_vocab`, which is not read again where it is the same object either. Words
                outside the vocabulary are left out.
            total_examples, total_words, word_count, queue_factor, report_delay, compute_loss: Taken
                as in gensim. The text itself has a length, and the loss is always computed.
            epochs: Passes over the text; None: ``model.epochs``.
            start_alpha, end_alpha: In place of ``model.alpha`` and ``model.min_alpha``.
            callbacks: Objects with some of the methods of gensim's `CallbackAny2Vec`,
                ``on_train_begin``, ``on_epoch_begin``, ``on_epoch_end``, ``on_train_end``, which
                are called with the model. None given: those of a constructor without a text.
            corpus_iterable: Another name for ``sentences``.
            resume: Goes on with a training that was interrupted, with its epochs and rates; one
                that came to its end is left as it is. The text must be the same.
            report: Is called with a `fastw2v.word2vec.training.Progress` after each block of some
                100,000 words, and after each pass.
            progress: Shows a bar on the standard error stream (without a terminal, a line every
                five seconds) and a line after each pass.
            evaluate: Another text, as ``sentences`` or a path, for `evaluate` after each pass; the
                results are in ``log_likelihoods``.
            tensorboard: Directory for scalars: loss, learning rate and words per second against
                words; the loss, and the log-likelihood where ``evaluate`` is given, of each pass.
            checkpoint: File that `save` writes after ``checkpoint_every`` seconds again and again,
                when training is interrupted, and at the end. Where that fails, as on a full disk,
                there is a warning, and training goes on.
            checkpoint_every: Seconds, above 0.
            max_seconds: Ends training earlier: the learning rate then falls with the time, and the
                result is no longer decided by the seed.

        Returns:
            Words of the vocabulary, and words of the text, in all passes of this call.

        Warns:
            RuntimeWarning: The text has no two known words near each other, or subsampling left
                none: nothing was learned. Or a checkpoint could not be written.

        Raises:
            OSError: The text cannot be read, or the checkpoint cannot be written.
            ConnectionError: Another worker has ended, or cannot be reached.
            ValueError: An argument is out of its range, the loss is no longer finite, the text to
                evaluate has no two known words near each other, there is nothing to resume, or
                workers are not given the same text and arguments.
            KeyboardInterrupt: Ctrl-C, between two blocks; the second one comes at once.
        """
        self._check_built()
        self._check_one_worker()
        _check_call(
            corpus_file,
            cache=cache,
            callbacks=callbacks,
            report=report,
            evaluate=evaluate,
            tensorboard=tensorboard,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            max_seconds=max_seconds,
        )
        run = self._state.run
        if resume and run is None:
            raise _nothing_to_resume()
        begun = self._begun(epochs, start_alpha, end_alpha)
        self._settle()
        held_out = None if evaluate is None else self._text_to_evaluate(evaluate, workers)
        text = self._text(one_iterable(sentences, corpus_iterable), corpus_file, cache, workers)
        num_words = max(text.num_tokens, 1)
        if resume and run is not None:
            _check_resumed(run, num_words)
        else:
            block_tokens = self._workers.block_tokens(
                self._trainer().block_tokens, len(text.ids), self.settings.merge_every
            )
            run = Run(**begun, num_words=num_words, block_tokens=block_tokens)
            self._state.run = run
        self._begin_workers(text, run)
        if not self.is_chief:  # the first one tells, and writes what all have
            progress, tensorboard, checkpoint = False, None, None
        before, begin = run.all_words, time.monotonic()
        saved = begin
        callbacks = tuple(callbacks or ()) or self._given.callbacks
        logger.info("training %s on %s words, %d passes", self, f"{text.num_tokens:,}", run.epochs)
        call(callbacks, "on_train_begin", self)
        with contextlib.ExitStack() as stack:
            interrupts = stack.enter_context(Interrupts())
            tell = Telling(stack, report, progress, tensorboard)
            if not run.block and not run.finished:
                call(callbacks, "on_epoch_begin", self)
            self._release()
            for now in self._trained(text, run, max_seconds or math.inf):
                log_likelihood = None
                if now.epoch_ended and held_out is not None:
                    log_likelihood = self.evaluate(held_out)
                    self._state.log_likelihoods.append(log_likelihood)
                tell(now, log_likelihood)
                if now.epoch_ended:
                    call(callbacks, "on_epoch_end", self)
                    if not run.finished:
                        call(callbacks, "on_epoch_begin", self)
                is_due = checkpoint is not None and time.monotonic() - saved > checkpoint_every
                agreed = self._workers.agreed(Requests(interrupts.met, is_due))
                if agreed.stop:
                    if checkpoint is not None:
                        self.save(checkpoint)
                    raise KeyboardInterrupt
                if agreed.save:
                    passes.check_vectors(self._trainer(), text, run)
                    if checkpoint is not None:
                        self._save_or_warn(checkpoint)
                    saved = time.monotonic()
                self._release()
        self._state.train_count += 1
        self._state.total_train_time += time.monotonic() - begin
        if not isinstance(self._given.source, (str, os.PathLike)):
            self._given.source = None  # the user may want the memory
        if run.finished and not run.total_examples:
            _warn_of_nothing_learned(text)
        if checkpoint is not None:
            self._save_or_warn(checkpoint)
        num_passes = (run.all_words - before) / run.num_words
        trained = round(num_passes * text.num_tokens)
        logger.info(
            "trained on %s words in %.1f s, loss %.4f per example",
            f"{trained:,}",
            time.monotonic() - begin,
            run.total_loss / max(run.total_examples, 1),
        )
        call(callbacks, "on_train_end", self)
        return trained, round(num_passes * text.num_words)

    def evaluate(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        *,
        corpus_iterable: Source | None = None,
        max_examples: int | None = 100_000,
    ) -> float:
        """How well the model predicts a text, which should not be one that it was trained on.

        The mean, over the examples of the text, of the logarithm of the probability of the word
        that is to be predicted among all V words, in nats: at most 0, and ``-log(V)`` for a model
        that knows nothing. Examples are drawn as in training (subsampling, windows), always the
        same ones; nothing is sampled beyond that.

        The probabilities are those that the model has learned: of the softmax, with the biases; of
        the turns in the tree for hierarchical softmax, alone or not. Negative sampling learns ``h w
        = log p(w|h) - log q(w) + const`` for the noise q, so that its probabilities are ``softmax(h
        w + log q)``
        (Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014, equation
        7). It does not learn that they sum to 1, and a small difference between two settings says
        little about the vectors.

        Args:
            sentences, corpus_file: The text, as in the constructor. Words outside the vocabulary
                are left out.
            corpus_iterable: Another name for ``sentences``.
            max_examples: Ends after so many, from the beginning of the text; None takes all. Each
                costs ``2 * V * vector_size`` operations.

        Raises:
            OSError: The text cannot be read.
            ValueError: The text is no text, or has no two words near each other.

        Example:
            >>> import fastw2v
            >>> text = [["red", "green", "blue"], ["one", "two", "three"]] * 200
            >>> model = fastw2v.Word2Vec(text, vector_size=8, sample=0, sg=1, epochs=20)
            >>> -1.2 < model.evaluate([["red", "green", "blue"]]) < -0.6  # -log(6) is -1.79
            True
        """
        self._check_built()
        self._settle()
        source = one_source(one_iterable(sentences, corpus_iterable), corpus_file)
        corpus = self._text_to_evaluate(source, None)
        objective = self._trainer()
        total, number = 0.0, 0
        for place, ids in enumerate(corpus.blocks(_EVALUATED_TOKENS)):
            added, examples = objective.log_likelihood(
                np.array(ids), (self.settings.seed, -1 - place)
            )
            total += added
            number += examples
            if max_examples is not None and number >= max_examples:
                break
        if not number:
            raise ValueError(
                f"{named(source)}: subsampling leaves no two words near each other: give sample = 0"
            )
        return total / number

    def get_latest_training_loss(self) -> float:
        """The loss of the last call of `train`, summed over its examples, as gensim gives it."""
        return 0.0 if self._state.run is None else self._state.run.total_loss

    @property
    def running_training_loss(self) -> float:
        return self.get_latest_training_loss()

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

        self._settle()
        rows, width = self.embeddings.shape
        layer = Embedding(rows, width, embeddings_initializer="zeros", **kwargs)
        layer.build()
        layer.embeddings._value = self.embeddings
        self._is_shared = True
        return layer

    def save(self, path: FilePath, **gensim_options: Any) -> None:
        """Writes everything to one file: arguments, words, tables, and how far training is.

        A file that is there already stays whole until the new one is complete. gensim does not read
        it: for gensim write the vectors by ``model.wv.save("words.kv")``.

        Args:
            path: The file.
            **gensim_options: ``separately``, ``sep_limit``, ``ignore`` and ``pickle_protocol`` are
                accepted as in gensim.

        Raises:
            OSError: The file cannot be written.
            ValueError: There is no vocabulary yet.
        """
        for name in gensim_options:
            if name not in _OPTIONS_OF_SAVE:
                raise unexpected("save", name, _OPTIONS_OF_SAVE)
        self._check_counted()
        self._adopt()
        vocabulary = self._check_built()  # with the words that `wv` had more
        saved_model.write(
            path,
            {"settings": asdict(self.settings), "state": asdict(self._state)},
            vocabulary.words,
            vocabulary.counts,
            self._named_tables(),
            self._tags,
        )
        logger.info("saved %s as %s", self, path)

    def _save_or_warn(self, path: FilePath) -> None:
        """Saves on the way: a full disk is no reason to end a training of hours."""
        try:
            self.save(path)
        except OSError as error:
            warnings.warn(
                f"no checkpoint was written: {error}; what is trained is in memory, save it "
                "elsewhere",
                RuntimeWarning,
                stacklevel=3,
            )

    @OfTheClass
    def load(cls, path: FilePath, mmap: str | None = None, rethrow: bool = False) -> Word2Vec:
        """Reads a file of `save`, or of gensim's ``Word2Vec.save`` where ``hs`` is 0.

        A file is data: loading it runs and writes nothing, whoever wrote it.

        Args:
            path: The file.
            mmap, rethrow: Accepted as in gensim.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no such file, it is damaged, or it contradicts itself.

        Example:
            >>> import tempfile, fastw2v
            >>> model = fastw2v.Word2Vec([["to", "be"]] * 20, vector_size=8, sample=0)
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     model.save(f"{directory}/model")
            ...     same = fastw2v.Word2Vec.load(f"{directory}/model")
            >>> bool((same.wv["be"] == model.wv["be"]).all())
            True
        """
        saved = saved_model.read(path, State, cls.settings_type)
        model = cls.__new__(cls)  # a subclass may have other arguments
        ModelWords.__init__(model, saved.settings)
        model._state = saved.state
        model._vocabulary = Vocabulary.from_sorted(saved.words, saved.counts)
        model._tags = saved.tags
        model._use(saved.tables)
        return model

    def _begun(
        self, epochs: int | None, start_alpha: float | None, end_alpha: float | None
    ) -> dict[str, Any]:
        """A training that begins, but for the length of its text."""
        begun = {
            name: getattr(self.settings, name)
            for name in ("epochs", "alpha", "min_alpha", "schedule")
        }
        for name, argument, value in (
            ("epochs", "epochs", epochs),
            ("alpha", "start_alpha", start_alpha),
            ("min_alpha", "end_alpha", end_alpha),
        ):
            if value is not None:
                begun[name] = options.TABLE[name].checked(value, argument)
        return {**begun, "first_epoch": len(self._state.losses)}

    def _begin_workers(self, text: TokenCorpus, run: Run) -> None:
        vocabulary = self._check_counted()
        facts = {
            "the argument " + name: value
            for name, value in asdict(self.settings).items()
            if name not in ("workers", "comment")
        } | {
            "the vocabulary": (vocabulary.words, vocabulary.counts.tobytes()),
            "the text": (len(text.ids), text.num_tokens),
            "the progress": run,
        }
        block_tokens = run.block_tokens or self._trainer().block_tokens
        self._workers.begin(
            {f"the table {name}": table for name, table in self._named_tables().items()},
            f"the table {tree_table(self.settings)}",
            facts,
            merged_blocks=self.settings.merge_every * len(text.ids) / block_tokens,
        )

    def _trained(self, text: TokenCorpus, run: Run, max_seconds: float) -> Iterator[Progress]:
        return passes.train(
            self._trainer(),
            text,
            run,
            seed=self.settings.seed,
            losses=self._state.losses,
            max_seconds=max_seconds,
            workers=self._workers,
        )


_OPTIONS_OF_SAVE = ("separately", "sep_limit", "ignore", "pickle_protocol")


def _check_call(
    corpus_file: FilePath | None,
    *,
    cache: FilePath | None = None,
    callbacks: Iterable[Any] | None = (),
    report: Callable[[Progress], None] | None = None,
    evaluate: Source | None = None,
    tensorboard: FilePath | None = None,
    checkpoint: FilePath | None = None,
    checkpoint_every: float = 600.0,
    max_seconds: float | None = None,
    **others: Any,
) -> None:
    """Checks arguments of `build_vocab` and `train` before a text is read, which may be long, or
    there only once.

    Raises:
        OSError: A file cannot be written.
        TypeError, ValueError: An argument is impossible, or a file is one that is read.
    """
    if report is not None and not callable(report):
        raise TypeError(f"report = {report!r} is no function")
    iter(callbacks or ())
    if evaluate is not None and not isinstance(evaluate, (os.PathLike, TokenCorpus)):
        iter(evaluate)
    to_number("checkpoint_every", checkpoint_every, 0.0, math.inf)
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds = {max_seconds} is not above 0")
    check_outputs(
        {"cache": cache, "checkpoint": checkpoint},
        {"corpus_file": corpus_file, "evaluate": evaluate},
        {"tensorboard": tensorboard},
    )


def _check_resumed(run: Run, num_words: int) -> None:
    if num_words != run.num_words:
        raise ValueError(
            f"the text has {num_words:,} words of the vocabulary, that of the training to "
            f"resume had {run.num_words:,}: it is another one"
        )


def _nothing_to_resume() -> ValueError:
    return ValueError("there is no training to resume: the model was never trained")


def _warn_of_nothing_learned(text: TokenCorpus) -> None:
    if text.num_tokens == text.num_sentences:
        reason = "the text has no two words of the vocabulary within one sentence"
    else:
        reason = (
            "subsampling left no two words near each other: for so small a text give sample = 0"
        )
    warnings.warn(f"nothing was learned: {reason}", RuntimeWarning, stacklevel=3)
