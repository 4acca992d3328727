"""Which Keras is at hand: the layers and optimizers are those of Keras 3 on TensorFlow."""

from __future__ import annotations

import os
import warnings
from typing import Any

import keras
import tensorflow as tf


def check_keras() -> None:
    """Called when a layer or an optimizer is made.

    Raises:
        RuntimeError: Keras runs on another backend.
    """
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            f'Keras runs on the backend "{keras.config.backend()}", and the layers and optimizers '
            "of fastw2v need TensorFlow: set KERAS_BACKEND=tensorflow before Keras is imported"
        )
    # TensorFlow's own reading of the variable.
    if os.environ.get("TF_USE_LEGACY_KERAS", "0") in ("1", "true", "True"):
        warnings.warn(
            "TF_USE_LEGACY_KERAS makes `tf.keras` Keras 2, whose models do not train the layers of "
            "fastw2v.keras and do not take the optimizers of fastw2v.optimizers, which are Keras "
            f"3's: build the model with `import keras`, or {_IN_KERAS_2}",
            stacklevel=4,
        )


_IN_KERAS_2 = (
    "use in models of Keras 2, those of TensorFlow Recommenders among them, the loss functions "
    "(fastw2v.softmax_loss and its relatives) with optimizers of Keras 2"
)


def check_not_keras_2(name: str, value: Any) -> None:
    """Refuses what only the package tf_keras can use.

    Raises:
        ValueError: The argument ``name`` is or holds an object of Keras 2.
    """
    for part in tf.nest.flatten(value):
        if type(part).__module__.partition(".")[0] == "tf_keras":
            raise ValueError(
                f"{name} is of Keras 2 (tf_keras.{type(part).__name__}), expected Keras 3: build "
                f"the model with `import keras`, or {_IN_KERAS_2}"
            )
