"""Fused losses for TensorFlow models with a very large number of classes.

Importing this package imports no TensorFlow: the public names are found when they are first used.
The compiled ops are loaded together with TensorFlow, so that a SavedModel which holds them loads,
and the layers are registered together with Keras, so that a saved model which holds them loads.
"""

from __future__ import annotations

from fastw2v._core import lazy, missing, with_tensorflow

try:
    from fastw2v._build_info import VERSION as __version__
except ImportError:
    raise ImportError(missing.LIBRARY) from None

_HOMES = {
    "Doc2Vec": "fastw2v.word2vec.training",
    "FastText": "fastw2v.word2vec.training",
    "FastTextVectors": "fastw2v.word2vec.vectors",
    "FrozenPhrases": "fastw2v.word2vec.corpus",
    "GradientWarning": "fastw2v._core.tables",
    "KeyedVectors": "fastw2v.word2vec.vectors",
    "LineSentence": "fastw2v.word2vec.corpus",
    "PathLineSentences": "fastw2v.word2vec.corpus",
    "Phrases": "fastw2v.word2vec.corpus",
    "TaggedDocument": "fastw2v.word2vec.corpus",
    "TaggedLineDocument": "fastw2v.word2vec.corpus",
    "Text8Corpus": "fastw2v.word2vec.corpus",
    "Word2Vec": "fastw2v.word2vec.training",
    "adaptive_log_probabilities": "fastw2v.adaptive",
    "adaptive_softmax_loss": "fastw2v.adaptive",
    "adaptive_top_k": "fastw2v.adaptive",
    "export": "fastw2v.serving",
    "in_batch_softmax_loss": "fastw2v.in_batch",
    "linear_cross_entropy": "fastw2v.ops",
    "lookup": "fastw2v.ops",
    "nce_loss": "fastw2v.ops",
    "negative_sampling_loss": "fastw2v.ops",
    "sampled_softmax_loss": "fastw2v.ops",
    "softmax_loss": "fastw2v.ops",
    "tensorflow_ops": "fastw2v.serving",
    "top_k": "fastw2v.ops",
    "train_step": "fastw2v.training",
    "WordVectors": "fastw2v.word2vec.vectors",
}
_MODULES = (
    "data",
    "distribute",
    "doctor",
    "keras",
    "optimizers",
    "reference",
    "samplers",
    "word2vec",
)
_ABSENT = {
    "models": "from fastw2v import Word2Vec, KeyedVectors, Phrases",
}

__all__ = ["__version__", *_HOMES, *_MODULES]
__getattr__, __dir__ = lazy.names(__name__, _HOMES, _MODULES, _ABSENT)

with_tensorflow.load()
