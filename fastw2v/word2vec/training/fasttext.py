"""Word vectors that are made of n-grams of characters, with gensim's interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from fastw2v.word2vec.corpus import Vocabulary
from fastw2v.word2vec.corpus.growing import TrimRule
from fastw2v.word2vec.corpus.subwords import Subwords
from fastw2v.word2vec.training import settings as options
from fastw2v.word2vec.training import train_op
from fastw2v.word2vec.training.gensim_names import OfTheClass
from fastw2v.word2vec.training.live_vectors import LiveFastTextVectors
from fastw2v.word2vec.training.model import Word2Vec
from fastw2v.word2vec.training.model_words import FilePath, ModelWords, Source
from fastw2v.word2vec.training.settings import Settings, SubwordSettings
from fastw2v.word2vec.training.tables import values
from fastw2v.word2vec.vectors import FastTextVectors, WordVectors
from fastw2v.word2vec.vectors.formats import fasttext_format
from fastw2v.word2vec.vectors.formats.contents import Contents, SubwordTable, damage_named


class FastText(Word2Vec):
    """Trains word vectors that are made of n-grams of characters: for words never seen, too.

    The vector of a word is the mean of a row of its own and of a row for each of its n-grams:
    ``<un``, ``unh``, ..., ``happy>`` of ``unhappy``. So words that share parts share what is
    learned, which helps where they have many forms, and a word that was never seen has the mean of
    the rows of its n-grams. The arguments are gensim's, in its order and with its meaning. ::

        model = fastw2v.FastText(corpus_file="corpus.txt", sg=1)
        model.wv["unhappyish"]
        model.save_facebook_model("model.bin")

    All that is said of `Word2Vec` holds here, too: groups of words, steps, determinism, log,
    interruption. What differs:

    - ``wv`` is `FastTextVectors`: its ``vectors`` are made of rows, and cannot be written to.
    - Training is on the CPU, by one worker; there are no softmax losses.
    - ``pretrained`` vectors become the words' own rows, as with fastText's ``-pretrainedVectors``.

    **Memory.** ``4 * vector_size * (2 * V + bucket)`` bytes: 800 MB for the default ``bucket`` and
    width. A smaller ``bucket`` takes less; more n-grams then share rows.

    Args:
        sentences, corpus_file: As in `Word2Vec`.
        sg: 0: CBOW; 1: skip-gram.
        word_ngrams: Must be 1, as in gensim: fastText's classifiers alone have n-grams of words.
        min_n, max_n: How many characters n-grams have, ``max_n`` at most 100; there are none where
            ``max_n < min_n``.
        bucket: How many rows n-grams have; each gets one by a hash. 0: there are no n-grams.
        hs, vector_size, alpha, window, min_count, max_vocab_size, sample, seed, workers, min_alpha,
            negative, ns_exponent, cbow_mean, hashfxn, epochs, null_word, sorted_vocab, trim_rule,
            batch_words, callbacks, max_final_vocab, shrink_windows, comment, deterministic,
            tokenizer, schedule: As in `Word2Vec`.
        **text_options: What else `build_vocab` and `train` take by name, for the text given.

    Attributes:
        embeddings: ``tf.Variable`` float32 ``[V + bucket, D]``: the rows of ``vocabulary.words``,
            gensim's ``wv.vectors_vocab``, and those of n-grams, ``wv.vectors_ngrams``.

    Raises:
        OSError: The text cannot be read.
        TypeError: An argument is not known, or is of no use without a text.
        ValueError: As for `Word2Vec`; or the model is made in the scope of a strategy of several
            workers.

    Example:
        >>> import fastw2v
        >>> text = [["singing", "sang", "songs"], ["walking", "walked", "ways"]] * 200
        >>> model = fastw2v.FastText(text, vector_size=8, bucket=1000, sample=0, workers=1)
        >>> print(model)
        FastText<vocab=6, vector_size=8, alpha=0.025>
        >>> model.wv["singer"].shape, model.wv.has_index_for("singer")
        ((8,), False)

    Source: Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword
    Information", TACL 2017; the arguments are those of gensim 4.
    """

    settings: SubwordSettings
    settings_type = SubwordSettings
    word_ngrams = 1

    def __init__(
        self,
        sentences: Source | None = None,
        corpus_file: FilePath | None = None,
        sg: int = Settings.sg,
        hs: int = Settings.hs,
        vector_size: int = Settings.vector_size,
        alpha: float = Settings.alpha,
        window: int = Settings.window,
        min_count: int = Settings.min_count,
        max_vocab_size: int | None = Settings.max_vocab_size,
        word_ngrams: int = 1,
        sample: float = Settings.sample,
        seed: int = Settings.seed,
        workers: int | None = Settings.workers,
        min_alpha: float = Settings.min_alpha,
        negative: int = Settings.negative,
        ns_exponent: float = Settings.ns_exponent,
        cbow_mean: int = Settings.cbow_mean,
        hashfxn: Callable[[str], int] | None = None,
        epochs: int = Settings.epochs,
        null_word: int = 0,
        min_n: int = SubwordSettings.min_n,
        max_n: int = SubwordSettings.max_n,
        sorted_vocab: int = 1,
        bucket: int = SubwordSettings.bucket,
        trim_rule: TrimRule | None = None,
        batch_words: int | None = None,
        callbacks: Sequence[Any] = (),
        max_final_vocab: int | None = Settings.max_final_vocab,
        shrink_windows: bool = Settings.shrink_windows,
        *,
        comment: str | None = Settings.comment,
        deterministic: bool = Settings.deterministic,
        tokenizer: str = Settings.tokenizer,
        schedule: str = Settings.schedule,
        **text_options: Any,
    ) -> None:
        given = locals()
        if word_ngrams != 1:
            raise ValueError(
                f"word_ngrams = {word_ngrams!r}: n-grams of words belong to classifiers; leave it "
                "out"
            )
        known = {name: given[name] for name in options.table_of(SubwordSettings) if name in given}
        ModelWords.__init__(self, SubwordSettings(**known))
        self._check_one_worker()
        self._begin(FastText, given)

    @property
    def _subwords(self) -> Subwords:
        return Subwords(self.settings.min_n, self.settings.max_n, self.settings.bucket)

    def _new_vectors(self, vocabulary: Vocabulary) -> LiveFastTextVectors:
        return LiveFastTextVectors(vocabulary, self.embeddings, self._subwords)

    def _bags(self) -> train_op.WordBags:
        return train_op.word_bags(self._check_built().words, self._subwords)

    @property
    def wv(self) -> FastTextVectors:
        """The words with their vectors as they are, `FastTextVectors`.

        It shows what training does. Its arrays ``vectors_vocab`` and ``vectors_ngrams`` are the
        table of the model: training goes on from what is written into them. One that is held while
        training goes on keeps what it held, costs the memory of the table, and can no longer be
        written to.

        ``model.wv = vectors`` makes the words of `FastTextVectors` those of the model, which begins
        at their rows, with their n-grams. To train on, it needs the counts of its words.

        Raises:
            TypeError: The vectors given are not made of n-grams.
            ValueError: There is no vocabulary yet.
        """
        vectors = self._live_vectors()
        assert isinstance(vectors, FastTextVectors)
        return vectors

    @wv.setter
    def wv(self, vectors: WordVectors) -> None:
        if not isinstance(vectors, FastTextVectors):
            raise TypeError(
                f"{type(vectors).__name__} has no rows of n-grams: give FastTextVectors, or the "
                "vectors of words as pretrained to build_vocab"
            )
        counts = vectors.counts
        if counts is None:
            counts = np.zeros(len(vectors), np.int64)
        rows = vectors.rows
        self.settings = replace(
            self.settings,
            vector_size=rows.shape[1],
            **{name: getattr(vectors, name) for name in ("min_n", "max_n", "bucket")},
        )
        vocabulary = Vocabulary.from_sorted(list(vectors.words), np.array(counts))
        self._begin_with(vocabulary, 0, int(counts.sum()))
        self.embeddings.assign(rows)

    def save_facebook_model(self, path: FilePath) -> None:
        """Writes a model of fastText, ``.bin``, which fastText and gensim read: words, counts, rows
        and the weights of negative sampling.

        Raises:
            OSError: The file cannot be written.
            ValueError: There is no vocabulary yet, hierarchical softmax is trained, or a word is
                empty or holds white space.

        Example:
            >>> import tempfile, fastw2v
            >>> model = fastw2v.FastText([["to", "be"]] * 20, vector_size=8, bucket=100, sample=0)
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     model.save_facebook_model(f"{directory}/model.bin")
            ...     same = fastw2v.FastText.load_facebook_model(f"{directory}/model.bin")
            >>> bool((same.wv["toe"] == model.wv["toe"]).all())
            True
        """
        settings = self.settings
        vocabulary = self._check_counted()
        if settings.objective != options.NEGATIVE_SAMPLING:
            raise ValueError(
                f"the model is trained by {settings.objective}, and its weights belong to another "
                "tree than fastText's: model.wv.save(path, 'fasttext') writes the vectors alone"
            )
        table = SubwordTable(values(self.embeddings), settings.min_n, settings.max_n)
        contents = Contents(vocabulary.words, self.wv.vectors, vocabulary.counts, subwords=table)
        arguments = fasttext_format.Arguments(
            dim=settings.vector_size,
            ws=settings.window,
            epoch=settings.epochs,
            minCount=settings.min_count,
            neg=settings.negative,
            model=fasttext_format.SKIP_GRAM if settings.sg else fasttext_format.CBOW,
            t=settings.sample,
        )
        fasttext_format.write_fasttext(path, contents, values(self.weights), arguments)

    @OfTheClass
    def load_facebook_model(cls, path: FilePath) -> FastText:
        """Reads a model of fastText, ``.bin``, to train on from it.

        What the file does not say (the learning rate, the power of the noise) has its default. A
        model of hierarchical softmax is set up for negative sampling, with weights of 0, as its
        tree is another one.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no such file, is damaged or quantized, or holds a classifier.
        """
        contents, output, arguments = fasttext_format.read_fasttext(path)
        if arguments.model not in (fasttext_format.CBOW, fasttext_format.SKIP_GRAM):
            raise ValueError(
                f"{os.fspath(path)} holds a classifier: FastTextVectors.load reads its vectors"
            )
        with damage_named(path, "a model of fastText to train on from"):
            model = cls(
                sg=int(arguments.model == fasttext_format.SKIP_GRAM),
                window=max(arguments.ws, 1),
                epochs=max(arguments.epoch, 1),
                min_count=max(arguments.minCount, 0),
                negative=arguments.neg if arguments.neg > 0 else Settings.negative,
                sample=0.0 if arguments.t >= 1 else arguments.t,  # -t 1 keeps all words
            )
        model.wv = FastTextVectors.of_contents(contents)
        if arguments.loss == fasttext_format.NEGATIVE_SAMPLING:
            if output.shape != tuple(model.weights.shape):
                raise ValueError(
                    f"{os.fspath(path)} is damaged: weights of shape {output.shape} are not those "
                    f"of {len(contents.words):,} words"
                )
            model.weights.assign(output)
        return model

    def embedding_layer(self, **kwargs: Any) -> NoReturn:
        """Raises TypeError: the vectors of words are made of rows, and are no variable.

        ``keras.layers.Embedding(*wv.vectors.shape, weights=[wv.vectors])`` is a layer with a copy.
        """
        raise TypeError(
            "the vectors of words are made of those of n-grams: keras.layers.Embedding("
            "*wv.vectors.shape, weights=[wv.vectors]) is a layer with a copy of them"
        )
