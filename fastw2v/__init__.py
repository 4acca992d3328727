"""Fused losses for TensorFlow models with a very large number of classes.

Importing this package imports no TensorFlow: the public names are found when they are first used.
The compiled ops are loaded together with TensorFlow, so that a SavedModel which holds them loads,
and the layers are registered together with Keras, so that a saved model which holds them loads.
"""

from __future__ import annotations

import importlib
from typing import Any

from fastw2v import _with_tensorflow
from fastw2v._build_info import VERSION as __version__

_HOMES = {
    "GradientWarning": "fastw2v._tables",
    "Phrases": "fastw2v.word2vec.phrases",
    "Word2Vec": "fastw2v.word2vec.model",
    "linear_cross_entropy": "fastw2v.ops",
    "nce_loss": "fastw2v.ops",
    "negative_sampling_loss": "fastw2v.ops",
    "sampled_softmax_loss": "fastw2v.ops",
    "softmax_loss": "fastw2v.ops",
    "top_k": "fastw2v.ops",
    "train_step": "fastw2v.training",
    "WordVectors": "fastw2v.word2vec.vectors",
}
_MODULES = ("data", "doctor", "keras", "optimizers", "reference", "samplers")

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fastw2v.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fastw2v' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_with_tensorflow.load()
