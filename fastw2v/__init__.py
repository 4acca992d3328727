"""Fused losses for TensorFlow models with a very large number of classes."""

from fastw2v import reference, samplers
from fastw2v._build_info import VERSION as __version__
from fastw2v._tables import GradientWarning
from fastw2v.ops import (
    linear_cross_entropy,
    nce_loss,
    negative_sampling_loss,
    sampled_softmax_loss,
    softmax_loss,
)

__all__ = [
    "GradientWarning",
    "__version__",
    "linear_cross_entropy",
    "nce_loss",
    "negative_sampling_loss",
    "reference",
    "sampled_softmax_loss",
    "samplers",
    "softmax_loss",
]
