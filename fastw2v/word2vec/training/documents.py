"""Vectors of documents with gensim's interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from fastw2v.word2vec.corpus import TaggedLineDocument, TokenCorpus, Vocabulary, read_documents
from fastw2v.word2vec.corpus.documents import DocumentCorpus, Documents, renumbered_documents
from fastw2v.word2vec.corpus.growing import TrimRule
from fastw2v.word2vec.corpus.reading import Report
from fastw2v.word2vec.corpus.sentences import words_of
from fastw2v.word2vec.training import settings as options
from fastw2v.word2vec.training.live_vectors import LiveDocuments
from fastw2v.word2vec.training.model import Word2Vec
from fastw2v.word2vec.training.model_words import (
    FilePath,
    ModelWords,
    Pretrained,
    Source,
    one_iterable,
)
from fastw2v.word2vec.training.passes import Progress
from fastw2v.word2vec.training.settings import DocumentSettings
from fastw2v.word2vec.vectors import WordVectors
from fastw2v.word2vec.vectors.word_table import normalized

_INFERRED_TOKENS = 1 << 18  # in a call of the op


class Doc2Vec(Word2Vec):
    """Trains vectors of documents beside those of words: PV-DM, as in gensim, or PV-DBOW, with
    ``dm=0``.

    The arguments are gensim's, with its meaning, and the vectors are about as good. With documents
    the model is trained at once; without, call `build_vocab` and `train`. ::

        documents = [fastw2v.TaggedDocument(text.split(), [k]) for k, text in enumerate(texts)]
        model = fastw2v.Doc2Vec(documents, vector_size=100, dm=0, epochs=20)
        model.dv.most_similar(7)
        vector = model.infer_vector("a new document".split())

    PV-DBOW: the vector of a document predicts each of its words. PV-DM: the vector of a document,
    together with the words around a word, predicts this word. For most uses PV-DBOW is both better
    and faster.

    **What differs from gensim.** What `Word2Vec` says: shared negatives, and steps that are
    shortened where they would overshoot. The documents are read once, so that they may come from a
    generator: their ids are kept in a file. Words beyond the 10,000th of a document count, too. A
    tag that is an integer is a name like any other: there are as many vectors as there are
    different tags. `infer_vector` gives the same vector each time, and `infer_vectors` many at
    once. There is no concatenation of vectors (``dm_concat``), and no documents are added to a
    model (``build_vocab(update=True)``).

    **Determinism, log, settings, words that are there before.** As in `Word2Vec`. Training is on
    the CPU, by one worker.

    **Memory.** The tables of words and documents, ``8 * V * vector_size + 4 * N * vector_size``
    bytes for N tags, the tags, and a few blocks of text.

    Args:
        documents: An iterable of documents that can be gone through once, each with ``words`` and
            ``tags``: `TaggedDocument`, here or gensim's. Or a `DocumentCorpus` of
            `fastw2v.word2vec.corpus.read_documents`.
        corpus_file: In its place the path of a UTF-8 text, a document per line, plain or
            compressed, or a directory of such files; the tag of a document is the number of its
            line, from 0 on.
        vector_size: Width D of the vectors, at least 1.
        dm_mean: PV-DM: 0 takes the sum of the vectors of context and document, 1 or None their
            mean.
        dm: 1: PV-DM; 0: PV-DBOW.
        dbow_words: PV-DBOW: 1 trains vectors of words, too, by skip-gram. With 0 they keep their
            first values.
        dm_concat, dm_tag_count: Must be 0 and 1.
        epochs: Passes over the documents, at least 1.
        alpha, min_alpha, window, min_count, max_vocab_size, max_final_vocab, sample, seed, workers,
            hs, negative, ns_exponent, shrink_windows, deterministic, tokenizer, schedule, comment,
            trim_rule, callbacks, compute_loss, hashfxn, null_word, sorted_vocab, batch_words: As in
            `Word2Vec`. With ``hs=1`` beside ``negative``, vectors are inferred by ``negative``.
        **text_options: What else `build_vocab` and `train` take by name, for the documents given.

    Attributes:
        documents: ``tf.Variable`` float32 ``[N, D]``, the vectors of ``dv.index_to_key``; None
            before `build_vocab`.
        settings, vocabulary, embeddings, weights, node_weights, losses: As in `Word2Vec`.

    Raises:
        OSError: The text cannot be read.
        TypeError: An argument is not known, or is of no use without documents; or something is no
            document.
        ValueError: An argument is out of its range, or no word occurs ``min_count`` times; or a
            document has no tag.

    Example:
        >>> import fastw2v
        >>> colors, numbers = ["red", "green", "blue"] * 5, ["one", "two", "three"] * 5
        >>> documents = [
        ...     fastw2v.TaggedDocument(colors if k % 2 else numbers, [k]) for k in range(40)]
        >>> model = fastw2v.Doc2Vec(
        ...     documents, vector_size=8, dm=0, sample=0, alpha=0.1, deterministic=True)
        >>> print(model)
        Doc2Vec<dbow,d8,n5,mc5>
        >>> [tag % 2 for tag, _ in model.dv.most_similar(7, topn=3)]
        [1, 1, 1]

    Source: Le and Mikolov, "Distributed Representations of Sentences and Documents", ICML 2014; the
    arguments are those of gensim 4.
    """

    settings: DocumentSettings
    settings_type = DocumentSettings
    text_argument = "documents"

    def __init__(
        self,
        documents: Documents | None = None,
        corpus_file: FilePath | None = None,
        vector_size: int = DocumentSettings.vector_size,
        dm_mean: int | None = None,
        dm: int = 1,
        dbow_words: int = DocumentSettings.dbow_words,
        dm_concat: int = 0,
        dm_tag_count: int = 1,
        *,
        alpha: float = DocumentSettings.alpha,
        min_alpha: float = DocumentSettings.min_alpha,
        window: int = DocumentSettings.window,
        min_count: int = DocumentSettings.min_count,
        max_vocab_size: int | None = DocumentSettings.max_vocab_size,
        max_final_vocab: int | None = DocumentSettings.max_final_vocab,
        sample: float = DocumentSettings.sample,
        seed: int = DocumentSettings.seed,
        workers: int | None = DocumentSettings.workers,
        hs: int = DocumentSettings.hs,
        negative: int = DocumentSettings.negative,
        ns_exponent: float = DocumentSettings.ns_exponent,
        epochs: int = DocumentSettings.epochs,
        shrink_windows: bool = DocumentSettings.shrink_windows,
        deterministic: bool = DocumentSettings.deterministic,
        tokenizer: str = DocumentSettings.tokenizer,
        schedule: str = DocumentSettings.schedule,
        comment: str | None = DocumentSettings.comment,
        trim_rule: TrimRule | None = None,
        callbacks: Sequence[Any] = (),
        compute_loss: bool = True,
        hashfxn: Callable[[str], int] | None = None,
        null_word: int = 0,
        sorted_vocab: int = 1,
        batch_words: int | None = None,
        **text_options: Any,
    ) -> None:
        given = locals()
        if dm_concat or dm_tag_count != 1:
            raise ValueError(
                f"dm_concat = {dm_concat!r} and dm_tag_count = {dm_tag_count!r}: vectors are not "
                "concatenated here; leave both out, and choose their mean or sum by dm_mean"
            )
        names = options.table_of(DocumentSettings).keys() & given.keys()
        ModelWords.__init__(
            self,
            DocumentSettings(
                **{name: given[name] for name in names},
                sg=1 - options.TABLE["sg"].checked(dm, "dm"),
                cbow_mean=1
                if dm_mean is None
                else options.TABLE["cbow_mean"].checked(dm_mean, "dm_mean"),
            ),
        )
        self._begin(Doc2Vec, given)

    def __str__(self) -> str:
        settings = self.settings
        parts = [settings.comment] if settings.comment is not None else []
        if settings.sg:
            parts.append("dbow+w" if settings.dbow_words else "dbow")
        else:
            parts.append("dm/m" if settings.cbow_mean else "dm/s")
        parts.append(f"d{settings.vector_size}")
        if settings.negative:
            parts.append(f"n{settings.negative}")
        if settings.hs:
            parts.append("hs")
        if not settings.sg or settings.dbow_words:
            parts.append(f"w{settings.window}")
        if settings.min_count > 1:
            parts.append(f"mc{settings.min_count}")
        if settings.sample > 0:
            parts.append(f"s{settings.sample:g}")
        return f"{type(self).__name__}<{','.join(map(str, parts))}>"

    __repr__ = __str__

    @property
    def dm(self) -> bool:
        """Whether this is PV-DM."""
        return not self.settings.sg

    @property
    def dbow(self) -> bool:
        """Whether this is PV-DBOW."""
        return bool(self.settings.sg)

    @property
    def wv(self) -> WordVectors:
        """The words with their vectors as they are, as `Word2Vec.wv`; not to be replaced."""
        return super().wv

    @wv.setter
    def wv(self, vectors: WordVectors) -> None:
        raise TypeError(
            "the words of a model of documents stay: give vectors to begin at to build_vocab, as "
            "pretrained"
        )

    @property
    def dv(self) -> WordVectors:
        """The tags with the vectors of their documents as they are, `WordVectors`.

        What `Word2Vec.wv` says of words holds for them; but no documents are added.

        Raises:
            ValueError: There is no vocabulary yet.
        """
        self._check_built()
        if self._document_vectors is None:
            assert self._tags is not None
            self._document_vectors = LiveDocuments(self._tags, self.documents)
        self._document_vectors.refresh(self._is_shared)
        return self._document_vectors

    @property
    def docvecs(self) -> WordVectors:
        """gensim 3's name of ``dv``."""
        return self.dv

    def build_vocab(  # type: ignore[override]
        self,
        documents: Documents | None = None,
        corpus_file: FilePath | None = None,
        update: bool = False,
        progress_per: int | None = None,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        *,
        corpus_iterable: Documents | None = None,
        min_count: int | None = None,
        sample: float | None = None,
        pretrained: Pretrained | None = None,
        workers: int | None = None,
        report: Report | None = None,
    ) -> None:
        """Counts the words of documents and makes the tables.

        Args:
            documents, corpus_file: As in the constructor.
            update: Must be False.
            corpus_iterable: Another name for ``documents``.
            trim_rule, min_count, sample, pretrained, workers, report, progress_per, keep_raw_vocab:
                As in `Word2Vec.build_vocab`.

        Raises:
            OSError: The text cannot be read.
            TypeError: Something is no document.
            ValueError: No word occurs ``min_count`` times, a document has no tag, or ``update`` is
                asked for.
        """
        if update:
            raise ValueError(
                "update = True: a model gets no new documents; infer_vector gives them a vector, "
                "or train a new model on all"
            )
        super().build_vocab(
            one_iterable(documents, corpus_iterable, self.text_argument),
            corpus_file,
            trim_rule=trim_rule,
            min_count=min_count,
            sample=sample,
            pretrained=pretrained,
            workers=workers,
            report=report,
        )

    def train(  # type: ignore[override]
        self,
        documents: Documents | None = None,
        corpus_file: FilePath | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        word_count: int = 0,
        queue_factor: int = 2,
        report_delay: float = 1.0,
        callbacks: Sequence[Any] = (),
        *,
        corpus_iterable: Documents | None = None,
        compute_loss: bool = True,
        resume: bool = False,
        report: Callable[[Progress], None] | None = None,
        progress: bool = False,
        tensorboard: FilePath | None = None,
        checkpoint: FilePath | None = None,
        checkpoint_every: float = 600.0,
        max_seconds: float | None = None,
        workers: int | None = None,
    ) -> tuple[int, int]:
        """Trains on documents, from the vectors as they are. All is as in `Word2Vec.train`.

        Args:
            documents, corpus_file: The documents, whose tags the model has. None: those of
                `build_vocab`.
            corpus_iterable: Another name for ``documents``.
            total_examples, total_words, epochs, start_alpha, end_alpha, word_count, queue_factor,
                report_delay, callbacks, compute_loss, resume, report, progress, tensorboard,
                checkpoint, checkpoint_every, max_seconds, workers: As there.

        Returns:
            Words of the vocabulary, and words of the documents, in all passes of this call.

        Raises:
            ValueError: As there; or a document has a tag that the model has not.
        """
        return super().train(
            one_iterable(documents, corpus_iterable, self.text_argument),
            corpus_file,
            epochs=epochs,
            start_alpha=start_alpha,
            end_alpha=end_alpha,
            callbacks=callbacks,
            resume=resume,
            report=report,
            progress=progress,
            tensorboard=tensorboard,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            max_seconds=max_seconds,
            workers=workers,
        )

    def infer_vector(
        self,
        doc_words: Sequence[Hashable],
        alpha: float | None = None,
        min_alpha: float | None = None,
        epochs: int | None = None,
    ) -> np.ndarray:
        """The vector of a document that need not be one of those of training, float32 ``[D]``.

        It is trained from zeros, while all else stays; the same words give the same vector.

        Args:
            doc_words: The words, in order; unknown words are left out. A document without known
                words has a vector of zeros.
            alpha, min_alpha: Learning rate at the beginning and at the end; None: those of the
                model.
            epochs: Passes over the document, at least 1; None: ``model.epochs``. For short
                documents more are better.

        Raises:
            TypeError: ``doc_words`` is a str, or no iterable.
            ValueError: An argument is out of its range, or there is no vocabulary yet.

        Example:
            >>> import fastw2v
            >>> documents = [fastw2v.TaggedDocument(["to", "be", "or"], [k]) for k in range(9)]
            >>> model = fastw2v.Doc2Vec(documents, vector_size=8, sample=0)
            >>> model.infer_vector(["to", "be"]).shape
            (8,)
        """
        return self.infer_vectors([doc_words], alpha, min_alpha, epochs)[0]

    def infer_vectors(
        self,
        documents: Iterable[Sequence[Hashable]],
        alpha: float | None = None,
        min_alpha: float | None = None,
        epochs: int | None = None,
    ) -> np.ndarray:
        """The vectors of many documents, float32 ``[n, D]``: each is what `infer_vector` gives.

        All threads take part; a million documents of 100 words take minutes.

        Args:
            documents: Lists of words.
            alpha, min_alpha, epochs: As in `infer_vector`.

        Raises:
            TypeError, ValueError: As `infer_vector`.

        Example:
            >>> import fastw2v
            >>> documents = [fastw2v.TaggedDocument(["to", "be", "or"], [k]) for k in range(9)]
            >>> model = fastw2v.Doc2Vec(documents, vector_size=8, sample=0)
            >>> model.infer_vectors([["to", "be"], ["or"], []]).shape
            (3, 8)
        """
        self._settle()  # words that were added to wv are known, too
        index = self._check_counted().index
        given = {"epochs": epochs, "alpha": alpha, "min_alpha": min_alpha}
        passes, *rates = (
            getattr(self.settings, name) if value is None else options.TABLE[name].checked(value)
            for name, value in given.items()
        )
        width = self.settings.vector_size
        vectors = [np.zeros((0, width), np.float32)]
        ids: list[int] = []
        waiting = 0

        def infer() -> None:
            nonlocal ids, waiting
            # Zeros, and not drawn: what is drawn hides much of what a few words teach.
            inferred = self._trainer().infer(
                np.array(ids, np.int32),
                np.zeros((waiting, width), np.float32),
                (self.settings.seed, -1),
                passes,
                *rates,
            )
            vectors.append(inferred)
            ids, waiting = [], 0

        for number, document in enumerate(documents, start=1):
            ids += [index[word] for word in words_of(document, number) if word in index]
            ids.append(-1)
            waiting += 1
            if len(ids) >= _INFERRED_TOKENS:
                infer()
        if waiting:
            infer()
        return np.concatenate(vectors)

    def similarity_unseen_docs(
        self,
        doc_words1: Sequence[Hashable],
        doc_words2: Sequence[Hashable],
        alpha: float | None = None,
        min_alpha: float | None = None,
        epochs: int | None = None,
    ) -> float:
        """The cosine of the vectors that `infer_vector` gives two documents; 0 where one of them
        has no known words.

        Args:
            doc_words1, doc_words2: The words of each.
            alpha, min_alpha, epochs: As in `infer_vector`.

        Raises:
            TypeError, ValueError: As `infer_vector`.
        """
        pair = self.infer_vectors([doc_words1, doc_words2], alpha, min_alpha, epochs)
        first, second = normalized(pair)
        return float(first @ second)

    def build_vocab_from_freq(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises TypeError: counts of words name no documents."""
        raise TypeError("counts of words name no documents: call build_vocab with documents")

    def evaluate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises TypeError: documents are judged by what their vectors are used for."""
        raise TypeError("evaluate is for Word2Vec: judge documents by the task they are used for")

    def score(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises TypeError, as `evaluate`."""
        raise TypeError("score is for Word2Vec: judge documents by the task they are used for")

    def _read(self, source: Source, workers: int | None, **how: Any) -> TokenCorpus:
        if isinstance(source, TokenCorpus):
            if source.tags is None:
                raise TypeError("the corpus has no documents: read it by read_documents")
            return source
        documents: Documents = source  # type: ignore[assignment]
        if isinstance(source, (str, os.PathLike)):
            documents = TaggedLineDocument(source, self.settings.tokenizer)
        how.pop("cache")
        tags = None if how.get("vocabulary") is None else self._tags
        return read_documents(documents, tags=tags, **how)

    def _encoded(self, source: Source, cache: FilePath | None, workers: int | None) -> TokenCorpus:
        corpus = super()._encoded(source, cache, workers)
        assert self._tags is not None
        if corpus.tags is None:
            raise TypeError("the corpus has no documents: read it by read_documents")
        if corpus.tags.words != self._tags.words:
            raise ValueError(
                "the corpus is numbered by other tags: read the documents by model.train itself"
            )
        return corpus

    def _renumbered(self, corpus: TokenCorpus, vocabulary: Vocabulary) -> TokenCorpus:
        assert isinstance(corpus, DocumentCorpus)
        return renumbered_documents(corpus, vocabulary)
