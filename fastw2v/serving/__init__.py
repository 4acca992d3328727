"""Serving a model without this package: `export` writes SavedModels of TensorFlow's own ops."""

from __future__ import annotations

from fastw2v._core.tensorflow_ops import tensorflow_ops
from fastw2v.serving.saved_model import export

__all__ = ["export", "tensorflow_ops"]
