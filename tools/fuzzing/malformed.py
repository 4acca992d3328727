"""Calls with arguments that make no sense: an error of a documented type, or a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fastw2v.word2vec.corpus import read_corpus
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 30.0, 1024.0
_DOCUMENTED = (
    ValueError,
    TypeError,
    OSError,
    tf.errors.InvalidArgumentError,
    tf.errors.ResourceExhaustedError,  # a sampler that would have to draw for ever
)
_OPTIMIZERS = [name for name in fastw2v.optimizers.__all__ if name != "LossScaleOptimizer"]
_WORD_QUERIES = (KeyError,)  # of words that are not there
_ROWS, _CLASSES, _WIDTH = 7, 11, 5
_TEXT = [["a", "b", "c", "d"], ["b", "a", "d", "c"]] * 10

Arguments = dict[str, Any]


def case(case: Case) -> None:
    name = case.one_of(*CALLS)
    function, make, errors = CALLS[name]
    arguments = make(case)
    changed = {}
    for _ in range(case.size(2)):
        argument = case.one_of(*arguments)
        arguments[argument] = changed[argument] = _junk(case, arguments[argument])
    try:
        result = function(case, **arguments)
        for part in tf.nest.flatten(result):
            if tf.is_tensor(part):
                tf.convert_to_tensor(part).numpy()
    except (*_DOCUMENTED, *errors):
        return
    except BaseException as error:
        shown = {argument: str(value)[:80] for argument, value in changed.items()}
        kind = f"{type(error).__module__}.{type(error).__name__}"
        raise Fault(f"{name} with {shown} raises {kind}: {str(error)[:300]}") from error


def _junk(case: Case, value: Any) -> Any:
    """Something in the place of a value, often something like it."""
    if isinstance(value, (np.ndarray, tf.Tensor, tf.Variable)) and case.chance(0.6):
        return _damaged(case, np.array(value))
    number = case.one_of(0, -1, 1, 2, 3, 17, 2**31 - 1, 2**31, -(2**63), 2**63, 2**70)
    if isinstance(value, int) and number > 100:  # a number of things to make
        number = -number
    return case.one_of(
        None,
        True,
        "",
        "mean",
        "no such name",
        b"bytes",
        number,
        float(case.rng.normal()),
        float("nan"),
        float("inf"),
        -1e300,
        1j,
        [],
        [[]],
        [1, [2]],
        {},
        (),
        object(),
        len,
        np.zeros((0, _WIDTH), np.float32),
        np.zeros((2, 3, 4, 5)),
        np.array(["text"]),
        np.array([None], object),
        np.datetime64("2020-01-01"),
        tf.constant(["text"]),
        tf.constant([1 + 2j]),
        tf.sparse.from_dense([[1, 0]]),
        tf.ragged.constant([[1], [], [2, 3]]),
        tf.ragged.constant([[[1.0]], []]),
        tf.TensorSpec([1]),
        tf.float16,
    )


def _damaged(case: Case, array: np.ndarray) -> Any:
    how = case.size(9)
    if how == 1:
        return array.astype(case.one_of("float16", "float64", "complex64", "uint8", "bool"))
    if how == 2:
        return array[..., np.newaxis]
    if how == 3:
        return array.ravel()[: case.size(array.size) - 1] if array.size else array
    if how == 4:
        return array[:0]
    if how == 5:
        return array.tolist()
    if how == 6 and array.size:
        damaged = array.copy()
        bad = case.one_of(-1, 10**6, 2**31 - 1)
        if damaged.dtype.kind == "f":
            bad = case.one_of(np.nan, np.inf, -np.inf, 0)
        damaged.flat[case.rng.integers(damaged.size)] = bad
        return damaged
    if how == 7:
        return np.concatenate([array, array], axis=-1) if array.ndim else array
    if how == 8:
        return tf.Variable(array)
    return [array, array]


# ---- Calls that make sense -----------------------------------------------------------------------


def _floats(case: Case, *shape: int) -> np.ndarray:
    return case.rng.normal(size=shape).astype(np.float32)


def _integers(case: Case, high: int, *shape: int) -> np.ndarray:
    return case.rng.integers(0, high, shape)


def _tables(case: Case) -> Arguments:
    return {
        "embeddings": _floats(case, _ROWS, _WIDTH),
        "weights": _floats(case, _CLASSES, _WIDTH),
        "biases": _floats(case, _CLASSES),
        "inputs": _integers(case, _ROWS, 3, 2),
        "labels": _integers(case, _CLASSES, 3),
    }


def _options(case: Case) -> Arguments:
    options: Arguments = {
        "sample_weight": np.ones(3, np.float32),
        "ignore_label": -1,
        "logit_scale": 0.5,
        "logit_softcap": 3.0,
        "reduction": case.one_of("none", "sum", "mean"),
        "compute_dtype": "bfloat16",
        "name": "loss",
    }
    kept = [name for name in options if case.chance(0.5)]
    return {name: options[name] for name in kept}


def _sampling(case: Case) -> Arguments:
    if case.chance(0.5):
        sampled = _integers(case, _CLASSES, 4)
        counts = np.ones((3, 1), np.float32), np.ones(4, np.float32)
        return {"sampled_values": (sampled, *counts)}
    return {"num_sampled": 4, "sampler": "log_uniform", "seed": (1, 2)}


def _softmax_loss(case: Case) -> Arguments:
    arguments = {**_tables(case), **_options(case), "combiner": "mean"}
    if case.chance(0.5):
        return {**arguments, **_sampling(case), "remove_accidental_hits": True}
    return {**arguments, "label_smoothing": 0.1, "margin": 0.1, "z_loss": 0.1}


def _linear_cross_entropy(case: Case) -> Arguments:
    arguments = {**_tables(case), **_options(case), "inputs": _floats(case, 3, _WIDTH)}
    del arguments["embeddings"]
    return {**arguments, "label_smoothing": 0.1, "margin": 0.1, "z_loss": 0.1}


def _tf_nn(case: Case) -> Arguments:
    arguments = {**_tables(case), **_options(case), "inputs": _floats(case, 3, _WIDTH)}
    del arguments["embeddings"]
    arguments["labels"] = arguments["labels"][:, np.newaxis]
    arguments.update(num_sampled=4, num_classes=_CLASSES, num_true=1, remove_accidental_hits=True)
    return {**arguments, **_sampling(case), "num_sampled": 4}


def _negative_sampling_loss(case: Case) -> Arguments:
    arguments = {**_tables(case), **_options(case), "combiner": "sum", "num_sampled": 4}
    del arguments["biases"]
    return {**arguments, "sampler": "uniform", "per_example": False, "seed": 3}


def _top_k(case: Case) -> Arguments:
    arguments = {**_tables(case), "inputs": _floats(case, 3, _WIDTH)}
    del arguments["embeddings"], arguments["labels"]
    return {**arguments, "k": 4, "logit_scale": 2.0, "logit_softcap": 3.0}


def _train(case: Case, optimizer: Any, loss: Any, **arguments: Any) -> Any:
    for name in ("embeddings", "weights", "biases"):
        if isinstance(arguments.get(name), np.ndarray):
            arguments[name] = tf.Variable(arguments[name])
    return fastw2v.train_step(optimizer, loss, **arguments)


def _train_step(case: Case) -> Arguments:
    optimizer = case.one_of(*_OPTIMIZERS)
    return {
        "optimizer": getattr(fastw2v.optimizers, optimizer)(0.1),
        "loss": fastw2v.softmax_loss,
        **_tables(case),
    }


def _sampler(case: Case) -> Arguments:
    return {
        "num_classes": 20,
        "unique": True,
        "true_classes": _integers(case, 20, 3, 2),
        "num_sampled": 5,
        "seed": (1, 2),
        "per_example": True,
    }


def _sample(case: Case, num_classes: Any, unique: Any, **arguments: Any) -> Any:
    kind = case.one_of(fastw2v.samplers.Uniform, fastw2v.samplers.LogUniform)
    return kind(num_classes, unique=unique).sample(**arguments)


def _unigram(case: Case) -> Arguments:
    return {"counts": _integers(case, 9, 12) + 1, "power": 0.75, "unique": False}


def _optimizer(case: Case) -> Arguments:
    ids = _integers(case, _ROWS, 4)
    return {"values": _floats(case, 4, _WIDTH), "ids": ids, "rate": 0.1, "shape": (_ROWS, _WIDTH)}


def _optimize(case: Case, values: Any, ids: Any, rate: Any, shape: Any) -> Any:
    kind = case.one_of(*_OPTIMIZERS)
    table = tf.Variable(tf.ones([_ROWS, _WIDTH]))
    slices = tf.IndexedSlices(tf.convert_to_tensor(values), tf.convert_to_tensor(ids), shape)
    getattr(fastw2v.optimizers, kind)(rate).apply_gradients([(slices, table)])
    return table.value()


def _skipgrams(case: Case) -> Arguments:
    return {
        "ids": _integers(case, 9, 30),
        "window": 3,
        "counts": _integers(case, 9, 9) + 1,
        "sample": 0.1,
        "shrink_windows": True,
        "shuffle": True,
        "seed": (1, 2),
    }


def _embedding(case: Case) -> Arguments:
    arguments = {"input_dim": _ROWS, "output_dim": _WIDTH, "ids": _integers(case, _ROWS, 3, 2)}
    return {**arguments, "combiner": "mean", "mask_zero": False}


def _embed(case: Case, ids: Any, **arguments: Any) -> Any:
    return fastw2v.keras.Embedding(**arguments)(ids)


def _growing(case: Case) -> Arguments:
    rules = {"min_count": case.size(3), "max_rows": case.size(9), "expire_after": case.size(3)}
    start = {"embeddings_initializer": "uniform", "empty_bags": "zeros", "training": True}
    return {**_embedding(case), **rules, **start, "combiner": case.one_of(None, "sum")}


def _grow(case: Case, ids: Any, training: Any, input_dim: Any, **arguments: Any) -> Any:
    layer = fastw2v.keras.GrowingEmbedding(**arguments)
    return [layer(ids, training=training), layer(ids, training=training)]


def _head(case: Case) -> Arguments:
    return {
        "num_classes": _CLASSES,
        "inputs": _floats(case, 3, _WIDTH),
        "labels": _integers(case, _CLASSES, 3),
        "logit_scale": 1.0,
        "ignore_label": -1,
    }


def _apply_head(case: Case, inputs: Any, labels: Any, **arguments: Any) -> Any:
    return fastw2v.keras.LinearCrossEntropy(**arguments)(inputs, labels)


def _word2vec(case: Case) -> Arguments:
    arguments = {
        "sentences": [list(sentence) for sentence in _TEXT],
        "vector_size": 4,
        "window": 2,
        "min_count": 1,
        "sg": 1,
        "negative": 2,
        "sample": 0.0,
        "alpha": 0.01,
        "min_alpha": 0.001,
        "epochs": 1,
        "seed": 1,
        "ns_exponent": 0.75,
        "tokenizer": "whitespace",
        "max_vocab_size": 100,
        "workers": 1,
    }
    return arguments


def _doc2vec(case: Case) -> Arguments:
    return {
        "documents": [fastw2v.TaggedDocument(list(each), [k]) for k, each in enumerate(_TEXT)],
        "new": ["a"],
        "dm": 1,
        "dm_mean": 1,
        "dbow_words": 0,
        **{name: value for name, value in _word2vec(case).items() if name not in _NOT_OF_DOCUMENTS},
    }


_NOT_OF_DOCUMENTS = ("sentences", "sg")


def _infer(case: Case, new: Any, **arguments: Any) -> Any:
    return fastw2v.Doc2Vec(**arguments).infer_vector(new)


def _phrases(case: Case) -> Arguments:
    return {
        "sentences": _TEXT,
        "min_count": 1,
        "threshold": 1.0,
        "max_vocab_size": 100,
        "delimiter": "_",
        "scoring": "default",
        "connector_words": frozenset(["a"]),
    }


def _vectors(case: Case) -> Arguments:
    return {
        "words": ["a", "b", "c"],
        "vectors": _floats(case, 3, 4),
        "counts": np.array([3, 2, 1]),
        "word": "a",
        "other": "b",
        "topn": 2,
    }


def _ask(
    case: Case, words: Any, vectors: Any, counts: Any, word: Any, other: Any, topn: Any
) -> Any:
    made = fastw2v.WordVectors(words, vectors, counts)
    return case.one_of(
        lambda: made.most_similar(word, topn=topn),
        lambda: made.most_similar(positive=[word, other], negative=[word], topn=topn),
        lambda: made.similarity(word, other),
        lambda: made.similar_by_vector(word, topn=topn),
        lambda: made.doesnt_match([word, other]),
        lambda: made.get_mean_vector([word, other]),
        lambda: made.n_similarity([word], [other]),
        lambda: made.rank(word, other),
        lambda: made[word],
    )()


def _corpus(case: Case) -> Arguments:
    return {
        "source": [list(sentence) for sentence in _TEXT],
        "min_count": 1,
        "max_vocab_size": 10,
        "max_final_vocab": 10,
        "tokenizer": "words",
        "workers": 1,
    }


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda case, **arguments: function(**arguments)


# The function, arguments that make sense, and what else it may raise.
CALLS: dict[str, tuple[Callable[..., Any], Callable[[Case], Arguments], tuple]] = {
    "softmax_loss": (_plain(fastw2v.softmax_loss), _softmax_loss, ()),
    "linear_cross_entropy": (_plain(fastw2v.linear_cross_entropy), _linear_cross_entropy, ()),
    "sampled_softmax_loss": (_plain(fastw2v.sampled_softmax_loss), _tf_nn, ()),
    "nce_loss": (_plain(fastw2v.nce_loss), _tf_nn, ()),
    "negative_sampling_loss": (_plain(fastw2v.negative_sampling_loss), _negative_sampling_loss, ()),
    "top_k": (_plain(fastw2v.top_k), _top_k, ()),
    "train_step": (_train, _train_step, ()),
    "a sampler": (_sample, _sampler, ()),
    "Unigram": (_plain(fastw2v.samplers.Unigram), _unigram, ()),
    # Keras' own says it so of texts.
    "an optimizer": (_optimize, _optimizer, (tf.errors.UnimplementedError,)),
    "skipgrams": (_plain(fastw2v.data.skipgrams), _skipgrams, ()),
    "cbow": (_plain(fastw2v.data.cbow), _skipgrams, ()),
    "Embedding": (_embed, _embedding, ()),
    "GrowingEmbedding": (_grow, _growing, ()),
    "LinearCrossEntropy": (_apply_head, _head, ()),
    "Word2Vec": (_plain(fastw2v.Word2Vec), _word2vec, ()),
    "Doc2Vec": (_infer, _doc2vec, ()),
    "Phrases": (_plain(fastw2v.Phrases), _phrases, ()),
    "WordVectors": (_ask, _vectors, _WORD_QUERIES),
    "read_corpus": (_plain(read_corpus), _corpus, ()),
}
