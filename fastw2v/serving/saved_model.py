"""SavedModels that hold TensorFlow's own ops only."""

from __future__ import annotations

import inspect
import os
import reprlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fastw2v._core import tf_internals
from fastw2v._core.keras_at_hand import check_keras, check_not_keras_2
from fastw2v._core.tensorflow_ops import tensorflow_ops

# Ops that TensorFlow's own do not replace, and what makes them.
_OF = {
    "Fastw2v>KeepProbabilities": "fastw2v.data",
    "Fastw2v>SkipGrams": "fastw2v.data.skipgrams",
    "Fastw2v>CbowBags": "fastw2v.data.cbow",
    "Fastw2v>UnigramTable": "a fastw2v.samplers.Unigram that is made in the function",
    "Fastw2v>SparseUpdate": "a step of an optimizer of fastw2v.optimizers",
    "Fastw2v>ApplyPending": "a step of an optimizer of fastw2v.optimizers",
    "Fastw2v>SumRows": "a step of an optimizer of fastw2v.optimizers",
    "Fastw2v>SoftmaxStep": "fastw2v.train_step",
    "Fastw2v>SampledStep": "fastw2v.train_step",
    "Fastw2v>NoiseTable": "the training of a fastw2v.Word2Vec",
    "Fastw2v>HuffmanTree": "the training of a fastw2v.Word2Vec",
    "Fastw2v>Word2VecTrain": "the training of a fastw2v.Word2Vec",
    "Fastw2v>InferDocuments": "fastw2v.Doc2Vec.infer_vectors",
    "Fastw2v>GiveRows": "a fastw2v.keras.GrowingEmbedding",
    "Fastw2v>FindRows": "a fastw2v.keras.GrowingEmbedding",
    "Fastw2v>RenewRows": "a fastw2v.keras.GrowingEmbedding",
}


def export(
    model: Any,
    path: str | os.PathLike[str],
    functions: Mapping[str, Any] | None = None,
) -> None:
    """Writes a SavedModel that is served without this package.

    It holds TensorFlow's own ops only, as `tensorflow_ops` composes them, so that it loads by
    ``tf.saved_model.load`` where fastw2v is not installed, in TensorFlow Serving, and in the
    converter of TFLite. Tables stay variables. Nothing that training needs is in it: no optimizer,
    and the pending updates of tables are applied first.

    All functions are traced anew, with those that they call, whatever was traced before; their
    traces in this program stay as they are.

    Args:
        model: What the functions belong to: a Keras model or layer, a ``tf.Module``, or word
            vectors, a `fastw2v.KeyedVectors` or a `fastw2v.Word2Vec`. Of `fastw2v.FastText` and
            `fastw2v.Doc2Vec` the words of the vocabulary are served.
        path: The directory of the SavedModel. One that is there is written over.
        functions: What is served, a ``tf.function`` with an ``input_signature`` by name. Each is a
            signature of the SavedModel, the first also ``serving_default``. None: of a functional
            or sequential Keras model its call, as ``serve``; of a ``tf.Module`` all its
            ``tf.function`` that have an ``input_signature``, ``__call__`` first; of word vectors
            ``lookup`` and ``most_similar``, see below.

    Of word vectors ``lookup(words)`` gives a row for each of the words [n], NaN for one that has
    none; ``most_similar(words, topn)`` gives for each the ``words`` [n, topn] of the largest
    cosines, itself left out, and their ``similarities``. The words have to be strings without line
    breaks.

    Raises:
        ValueError: The model has no function to export, a function has no ``input_signature``, or
            an op of this library is left, such as that of `fastw2v.data.skipgrams`; the message
            names it, and nothing is written.

    Example:
        >>> import tempfile
        >>> import keras
        >>> import tensorflow as tf
        >>> import fastw2v
        >>> ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        >>> hidden = fastw2v.keras.Embedding(100, 8)(ids)
        >>> head = fastw2v.keras.SampledSoftmax(100, num_sampled=5)
        >>> model = keras.Model([ids, labels], head(hidden, labels))
        >>> predictor = keras.Model(ids, head.top_k(hidden, k=3))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     fastw2v.export(predictor, directory)
        ...     served = tf.saved_model.load(directory)  # in any program
        ...     logits, classes = served.serve(tf.constant([7, 8], tf.int64))
        >>> classes.shape
        TensorShape([2, 3])
    """
    path = _checked_path(path)
    if functions is None and _are_word_vectors(model):
        from fastw2v.serving.words import Words

        with tempfile.TemporaryDirectory() as directory:
            export(Words(getattr(model, "wv", model), directory), path)
        return
    if functions is None:
        parts = _of_keras(model) if isinstance(model, keras.Model) else _of_module(model)
    else:
        parts = _given(functions)
    root = tf_internals.AutoTrackable()
    signatures = {}
    for name, function in parts.items():
        traced = function.traced()
        setattr(root, name, traced)
        signatures[name] = traced.get_concrete_function()
        _check_ops(name, signatures[name])
    signatures.setdefault("serving_default", next(iter(signatures.values())))
    variables = [each for function in signatures.values() for each in function.variables]
    root._variables = list({id(each): each for each in variables}.values())
    root._resources = _resources(model)
    tf.saved_model.save(root, path, signatures=signatures)


class _Function(NamedTuple):
    """What is exported under one name."""

    call: Callable[..., Any]
    signature: Sequence[Any]  # of its arguments
    names: Sequence[str] | None = None  # of the arguments

    def traced(self) -> Any:
        """A new ``tf.function`` of TensorFlow's own ops."""

        def served(*arguments: Any, **named: Any) -> Any:
            with tensorflow_ops():
                return self.call(*arguments, **named)

        if self.names is not None:
            either = inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters = [inspect.Parameter(name, either) for name in self.names]
            served.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return tf.function(served, input_signature=self.signature, autograph=False)


def _resources(model: Any) -> list[Any]:
    """What a model has beside variables: tables of words, with their files."""
    if not isinstance(model, tf_internals.Trackable):
        return []
    resource = tf.saved_model.experimental.TrackableResource
    parts = tf.train.TrackableView(model).descendants()
    return [part for part in parts if isinstance(part, resource)]


def _checked_path(path: Any) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        name = ""
    if not isinstance(name, str) or not name:
        raise ValueError(f"path = {reprlib.repr(path)} is not the name of a directory")
    return name


def _are_word_vectors(model: Any) -> bool:
    from fastw2v.word2vec.vectors import WordVectors

    return isinstance(getattr(model, "wv", model), WordVectors)


def _of_keras(model: keras.Model) -> dict[str, _Function]:
    check_keras()
    try:
        inputs = model.inputs if isinstance(model, keras.Sequential) else [model.input]
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"model {model.name} is no functional model and no sequential one that is built, so "
            'its inputs are not known: give functions={"serve": tf.function(model, '
            "input_signature=[tf.TensorSpec(...)])}"
        ) from error
    return {"serve": _Function(model, keras.tree.map_structure(_spec, inputs))}


def _spec(tensor: keras.KerasTensor) -> tf.TypeSpec:
    if getattr(tensor, "ragged", False):
        return tf.RaggedTensorSpec(tensor.shape, tensor.dtype)
    if tensor.sparse:
        return tf.SparseTensorSpec(tensor.shape, tensor.dtype)
    return tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name)


def _of_module(model: Any) -> dict[str, _Function]:
    check_not_keras_2("model", model)
    found = {name: _function(each) for name, each in _tf_functions(model)}
    known = {name: each for name, each in found.items() if each is not None}
    if not known:
        raise ValueError(
            f"model is a {type(model).__name__} without a tf.function that has an "
            "input_signature: decorate what is to be served by "
            "@tf.function(input_signature=[tf.TensorSpec(...)]), or give functions"
        )
    first = [name for name in known if name == "__call__"]
    return {name: known[name] for name in dict.fromkeys([*first, *known])}


def _tf_functions(model: Any) -> Iterator[tuple[str, Any]]:
    """Those that are attributes of a model or of its class, in their order there."""
    names = [name for kind in reversed(type(model).__mro__) for name in vars(kind)]
    for name in dict.fromkeys([*names, *getattr(model, "__dict__", ())]):
        kind = inspect.getattr_static(model, name, None)
        if isinstance(kind, tf.types.experimental.PolymorphicFunction):
            yield name, getattr(model, name)


def _given(functions: Any) -> dict[str, _Function]:
    if not isinstance(functions, Mapping) or not functions:
        raise ValueError(
            f"functions = {reprlib.repr(functions)} is not a dictionary of at least one tf.function"
        )
    parts = {}
    for name, each in functions.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"functions has the key {name!r}, expected the name of a signature")
        if not isinstance(each, tf.types.experimental.PolymorphicFunction):
            raise ValueError(
                f"functions[{name!r}] is a {type(each).__name__}, expected a tf.function with an "
                "input_signature"
            )
        part = _function(each)
        if part is None:
            raise ValueError(
                f"functions[{name!r}] has no input_signature: make it by tf.function(..., "
                "input_signature=[tf.TensorSpec(...)])"
            )
        parts[name] = part
    return parts


def _function(function: Any) -> _Function | None:
    """None where the arguments are not known."""
    signature = function.input_signature
    if signature is None:
        return None
    names = list(function.function_type.parameters)[: len(signature)]
    return _Function(function, signature, names)


def _check_ops(name: str, function: Any) -> None:
    """A ValueError where a function holds an op of this library."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    left = sorted({node.op for node in nodes if node.op.startswith("Fastw2v>")})
    if left:
        ops = ", ".join(f"{op} (of {_OF.get(op, 'a graph that was made before')})" for op in left)
        raise ValueError(
            f"function {name!r} has ops of fastw2v that TensorFlow's own do not replace: {ops}. "
            "Leave them out of what is exported"
        )
