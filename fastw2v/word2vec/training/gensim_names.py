"""What gensim's `Word2Vec` has beside building, training and saving, under its names."""

from __future__ import annotations

import difflib
import inspect
import logging
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from fastw2v.word2vec.training import settings as options
from fastw2v.word2vec.training import tables
from fastw2v.word2vec.training.model_words import ModelWords
from fastw2v.word2vec.training.objectives import objective_of, tree_table

if TYPE_CHECKING:
    import tensorflow as tf

    from fastw2v.word2vec.training.model import Word2Vec

logger = logging.getLogger(__name__)

_BYTES_OF_A_WORD = 200  # a str in a list and in a dict, and its count

# Arguments that had, or have elsewhere, another name.
_RENAMED = {
    "size": "vector_size",
    "iter": "epochs",
    "corpus_iterable": "sentences",
    "corpus": "sentences",
    "learning_rate": "alpha",
    "lr": "alpha",
    "n_epochs": "epochs",
    "threads": "workers",
}

# Names of gensim's class that this one has not, and what to write.
_IN_WV = "is gensim 3's; as in gensim 4, write model.wv.{}"
_ABSENT = {
    **dict.fromkeys(
        ("scan_vocab", "prepare_vocab", "prepare_weights", "init_weights", "update_weights"),
        "is a step of build_vocab; call model.build_vocab(sentences), or "
        "model.build_vocab_from_freq(counts) where the words are counted already",
    ),
    **dict.fromkeys(
        ("raw_vocab", "effective_min_count"),
        "is not kept; the words that stay and their counts are model.vocabulary.words and "
        "model.vocabulary.counts",
    ),
    "make_cum_table": "is not needed; model.cum_table is made of the counts of the words",
    "create_binary_tree": "is not needed; training with hs = 1 builds the tree",
    "add_null_word": "is not supported: no window is padded",
    "seeded_vector": "is not supported; the first vectors are drawn by the argument seed",
    "random": "is not needed; the argument seed decides all draws",
    "hashfxn": "is not needed; the argument seed decides all draws",
    "batch_words": "is not needed; the length of a block of text is chosen by the loss",
    "min_alpha_yet_reached": "is not kept; model.min_alpha is the rate at which training ends",
    "callbacks": "is not kept; give callbacks to train",
    "lifecycle_events": "is not kept; the logger fastw2v reports what happens",
    "save_word2vec_format": _IN_WV.format("save_word2vec_format(path)"),
    "load_word2vec_format": "is no method of a model; write "
    "fastw2v.WordVectors.load_word2vec_format(path)",
    **{
        name: _IN_WV.format(name)
        for name in (
            *(
                "most_similar",
                "most_similar_cosmul",
                "similarity",
                "n_similarity",
                "similar_by_word",
            ),
            *("similar_by_vector", "doesnt_match", "wmdistance", "index_to_key", "key_to_index"),
            *("evaluate_word_pairs", "evaluate_word_analogies", "vectors_lockf"),
        )
    },
    "index2word": _IN_WV.format("index_to_key"),
    "vocab": _IN_WV.format("key_to_index"),
    "accuracy": _IN_WV.format("evaluate_word_analogies(path)"),
    "syn0": _IN_WV.format("vectors"),
    "syn0norm": _IN_WV.format("normalized()"),
    "iter": "is gensim 3's; as in gensim 4, write model.epochs",
    "size": "is gensim 3's; as in gensim 4, write model.vector_size",
    "delete_temporary_training_data": "is not needed; keep model.wv and delete the model",
}


def unexpected(function: str, name: str, known: Collection[str]) -> TypeError:
    """The error for an argument that a function does not have; it suggests the right one."""
    similar = [_RENAMED[name]] if _RENAMED.get(name) in known else []
    similar += difflib.get_close_matches(name.replace("_", ""), known, 1, 0.6)
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def split_options(
    given: dict[str, Any], model: type[Word2Vec]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of the arguments of the constructor that `build_vocab` takes, and those of `train`.

    Raises:
        TypeError: Neither has an argument.
    """
    own = set(inspect.signature(model).parameters)
    reading = _named_only(model.build_vocab) - own - {"report"}
    learning = _named_only(model.train) - own - reading
    for name in given:
        if name not in reading | learning:
            raise unexpected(model.__name__, name, own | reading | learning)
    return (
        {name: value for name, value in given.items() if name in reading},
        {name: value for name, value in given.items() if name in learning},
    )


def _named_only(method: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(method).parameters.values()
    names = {each.name for each in parameters if each.kind == each.KEYWORD_ONLY}
    return names - {"corpus_iterable"}


if TYPE_CHECKING:
    OfTheClass = classmethod  # which is what it is to a type checker
else:

    class OfTheClass(classmethod):
        """A class method that an instance does not have: it would not change the instance."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is not None:
                name = self.__func__.__name__
                raise AttributeError(
                    f"{name} makes a new model and leaves this one as it is: write "
                    f"model = {type(instance).__name__}.{name}(path)"
                )
            return super().__get__(instance, owner)


class GensimNames(ModelWords):
    """Methods and attributes of gensim's class that are made of those of `fastw2v.Word2Vec`."""

    sorted_vocab = 1
    null_word = 0
    compute_loss = True

    def __getattr__(self, name: str) -> Any:
        if name in options.table_of(self.settings_type) and "settings" in self.__dict__:
            return getattr(self.settings, name)
        if hasattr(type(self), name):
            return object.__getattribute__(self, name)  # its own error
        if name in _ABSENT:
            raise AttributeError(f"{name} {_ABSENT[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getitem__(self, word: Hashable) -> Any:
        raise TypeError(f"the vectors of a model are in model.wv: write model.wv[{word!r}]")

    def __contains__(self, word: Hashable) -> bool:
        raise TypeError(f"the words of a model are in model.wv: write {word!r} in model.wv")

    def __str__(self) -> str:
        size = 0 if self.vocabulary is None else len(self.vocabulary)
        return (
            f"{type(self).__name__}<vocab={size}, vector_size={self.vector_size}, "
            f"alpha={self.alpha}>"
        )

    __repr__ = __str__

    @property
    def layer1_size(self) -> int:
        return self.settings.vector_size

    @property
    def syn1neg(self) -> np.ndarray:
        """The weights of negative sampling, float32 ``[V, D]``; on the CPU not a copy."""
        return tables.values(self._weights_of(options.NEGATIVE_SAMPLING, "syn1neg"))

    @syn1neg.setter
    def syn1neg(self, values: np.ndarray) -> None:
        self._weights_of(options.NEGATIVE_SAMPLING, "syn1neg").assign(values)

    @property
    def syn1(self) -> np.ndarray:
        """The weights of hierarchical softmax, float32 ``[V, D]``: the last row is not used."""
        return tables.values(self._weights_of(options.HIERARCHICAL_SOFTMAX, "syn1"))

    @syn1.setter
    def syn1(self, values: np.ndarray) -> None:
        self._weights_of(options.HIERARCHICAL_SOFTMAX, "syn1").assign(values)

    def _weights_of(self, objective: str, name: str) -> tf.Variable:
        trained = self.settings.objective
        if trained not in (objective, options.TREE_AND_NOISE):
            raise AttributeError(
                f"{name} are the weights of {objective}, and this model is trained by {trained}: "
                "its weights are model.weights"
            )
        if self.weights is None:
            raise AttributeError(f"there is no {name} before build_vocab")
        is_tree = objective == options.HIERARCHICAL_SOFTMAX
        table = tree_table(self.settings) if is_tree else None
        return self.weights if table is None else getattr(self, table)

    @property
    def cum_table(self) -> np.ndarray:
        """The distribution of the noise, uint32 ``[V]``: its sums, the last one 2^31 - 1.

        Words are not drawn by it; it shows how often each is.
        """
        noise = self._check_built().counts.astype(np.float64) ** self.settings.ns_exponent
        return np.round(np.cumsum(noise) / noise.sum() * (2**31 - 1)).astype(np.uint32)

    def init_sims(self, replace: bool = False) -> None:
        """Does nothing: lengths are known when they are needed. gensim 4 has deprecated it, too.

        Args:
            replace: Scales the vectors of the model to length 1.
        """
        warnings.warn(
            "init_sims is not needed; model.wv.normalized() gives vectors of length 1",
            DeprecationWarning,
            stacklevel=2,
        )
        if replace:
            self.wv.vectors = self.wv.normalized()

    def add_lifecycle_event(
        self, event_name: str, log_level: int = logging.INFO, **event: Any
    ) -> None:
        """Writes a line to the log; the model does not keep it."""
        logger.log(log_level, "%s: %s", event_name, event)

    def reset_from(self, other_model: Word2Vec) -> None:
        """Takes the vocabulary of another model, with tables as they are before training.

        Raises:
            TypeError: One of the two models has documents, and the other has none.
            ValueError: The other model has no vocabulary.
        """
        vocabulary = other_model._check_built()
        has_documents = issubclass(self.settings_type, options.DocumentSettings)
        if has_documents != (other_model._tags is not None):
            raise TypeError(
                f"other_model is a {type(other_model).__name__}: the words of a "
                f"{type(self).__name__} are not those of documents, or the other way round"
            )
        state = other_model._state
        self._begin_with(
            vocabulary, state.corpus_count, state.corpus_total_words, other_model._tags
        )

    def estimate_memory(
        self, vocab_size: int | None = None, report: dict[str, int] | None = None
    ) -> dict[str, int]:
        """What a model takes, in bytes: its words, its tables, all together.

        Args:
            vocab_size: How many words; None: those of the model.
            report: Other parts, which are counted too.
        """
        if vocab_size is None:
            vocab_size = len(self._check_built())
        row = 4 * self.settings.vector_size
        table = vocab_size * row
        parts = {
            **(report or {}),
            "vocab": _BYTES_OF_A_WORD * vocab_size,
            "vectors": self.settings.input_rows(vocab_size) * row,
        }
        if self._tags is not None:
            parts["doctag_lookup"] = _BYTES_OF_A_WORD * len(self._tags)
            parts["doctag_syn0"] = 4 * len(self._tags) * self.settings.vector_size
        if self.settings.hs:
            parts["syn1"] = table
        if self.settings.negative or not self.settings.hs:
            parts["syn1neg"] = table
        return {**parts, "total": sum(parts.values())}

    def predict_output_word(
        self, context_words_list: Sequence[Hashable], topn: int = 10
    ) -> list[tuple[Hashable, float]] | None:
        """The words that are the most likely among others, with what the model gives them.

        As in gensim the numbers are ``softmax(h w)`` for the mean h (with ``cbow_mean = 0``, the
        sum) of the vectors of the context. With negative sampling these are not probabilities of
        the text, in which frequent words would have more: see `evaluate`.

        Args:
            context_words_list: Words or rows; unknown words are left out.
            topn: How many words to return.

        Returns:
            Pairs of a word and a number, the largest first; None where no word is known.

        Raises:
            RuntimeError: The model was never trained, or is trained by hierarchical softmax.

        Example:
            >>> import fastw2v
            >>> text = [["red", "green", "blue"], ["one", "two", "three"]] * 200
            >>> model = fastw2v.Word2Vec(text, vector_size=8, sample=0, epochs=40, alpha=0.1)
            >>> [word for word, _ in model.predict_output_word(["one", "two"], topn=1)]
            ['three']
        """
        if self.settings.objective == options.HIERARCHICAL_SOFTMAX:
            raise RuntimeError(
                "predict_output_word needs a weight for each word, which hierarchical softmax has "
                "not: train with negative of at least 1, or a loss"
            )
        self._check_built()
        weights = tables.values(self.weights)
        if not weights.any():
            raise RuntimeError("the model was never trained: it predicts nothing")
        wv = self.wv
        rows = [wv.get_index(word) for word in context_words_list if wv.get_index(word, -1) >= 0]
        if not rows:
            logger.warning("none of the words %s is known", context_words_list)
            return None
        hidden = wv.vectors[rows].mean(axis=0) if self.cbow_mean else wv.vectors[rows].sum(axis=0)
        logits = weights @ hidden
        if self.biases is not None:
            logits += self.biases.numpy()
        likely = np.exp(logits - logits.max())
        likely /= likely.sum()
        best = np.argsort(-likely, kind="stable")[:topn]
        return [(wv.index_to_key[row], float(likely[row])) for row in best]

    def score(
        self,
        sentences: Iterable[Sequence[Hashable]],
        total_sentences: int = 1_000_000,
        chunksize: int = 100,
        queue_factor: int = 2,
        report_delay: float = 1,
    ) -> np.ndarray:
        """The log-likelihood of each of many sentences, float32 ``[n]``, in nats.

        The sum over all pairs of a word and another one in its whole window (CBOW: over all words),
        as `evaluate` takes the mean; 0 for a sentence without two known words.

        Args:
            sentences: Lists of words.
            total_sentences: How many to take at most.
            chunksize, queue_factor, report_delay: Accepted as in gensim.

        Raises:
            ValueError: There is no vocabulary yet.
        """
        self._check_built()
        self._settle()
        vocabulary = self._check_built()  # with the words that `wv` had more
        whole = replace(self.settings, sample=0.0, shrink_windows=False)
        objective = objective_of(self._tables(), vocabulary.counts, whole, self._bags())
        index = vocabulary.index
        scores = []
        for sentence in islice(sentences, total_sentences):
            ids = [index[word] for word in sentence if word in index]
            score = 0.0
            if len(ids) > 1:
                score, _ = objective.log_likelihood(np.array([*ids, -1], np.int32), (0, 0))
            scores.append(score)
        return np.array(scores, np.float32)
