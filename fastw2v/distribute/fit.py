"""Keras' ``fit`` under `tf.distribute.MultiWorkerMirroredStrategy`, which Keras 3 does not run
(keras-team/keras#20585)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def enable_fit(model: keras.Model) -> keras.Model:
    """Lets Keras train and evaluate a model under `tf.distribute.MultiWorkerMirroredStrategy`.

    Keras 3 fails there in two places: to build a model it reduces a whole batch over the workers,
    which are structures, and it takes the mean of the scalars that steps return along an axis that
    they do not have. Here a model is built with the batch of this worker, and its steps return
    vectors of length 1. `fit`, `evaluate` and callbacks then work as with one worker; `predict`,
    saving and loading do so without this function. A model of another strategy is left as it is.

    Give each worker its share of the examples, by a `tf.data.Dataset` of global batches with the
    auto-shard policy ``DATA``, say, and shares of equal size: workers synchronize at every step.
    ``steps_per_execution`` must be 1: Keras reduces what steps return by collectives of
    TensorFlow's, which do not work in a loop.

    Args:
        model: Made within the strategy's scope. Its methods ``train_step`` and ``test_step`` are
            replaced, so it has those that it is to have. A model that is loaded is given again.

    Returns:
        The model.

    Raises:
        ValueError: ``model`` is no model of Keras; or, when it is trained or evaluated,
            ``steps_per_execution`` is not 1.

    Example:
        >>> import keras
        >>> import fastw2v
        >>> strategy = tf.distribute.get_strategy()  # on a worker MultiWorkerMirroredStrategy()
        >>> with strategy.scope():
        ...     ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        ...     hidden = fastw2v.keras.Embedding(100, 8)(ids)
        ...     losses = fastw2v.keras.LinearCrossEntropy(100)(hidden, labels)
        ...     model = fastw2v.distribute.enable_fit(keras.Model([ids, labels], losses))
        ...     model.compile(fastw2v.optimizers.Adagrad(0.1))
        >>> batches = tf.data.Dataset.from_tensor_slices(((range(64), range(64)),)).batch(16)
        >>> history = model.fit(batches, verbose=0)
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"model = {model!r} is not a keras.Model")
    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return model
    if getattr(model, "_fastw2v_fits", False):
        return model
    model._fastw2v_fits = True
    model._maybe_symbolic_build = functools.partial(_build, model, strategy)
    model.train_step = _of_vectors(model.train_step)
    model.test_step = _of_vectors(model.test_step)
    model.train_function = model.test_function = None  # which hold the former steps
    return model


def _build(
    model: Any, strategy: tf.distribute.Strategy, iterator: Any = None, data_batch: Any = None
) -> None:
    """``_maybe_symbolic_build`` of Keras, with the batch of one replica of this worker."""
    if model.steps_per_execution != 1:
        raise ValueError(
            f"steps_per_execution = {model.steps_per_execution}, expected 1 under "
            "MultiWorkerMirroredStrategy: Keras reduces what steps return by collectives that "
            "do not work in a loop"
        )
    if iterator is not None:
        _, _, batches = next(iter(iterator))
        data_batch = tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], next(batches)
        )
    with strategy.scope():
        model._symbolic_build(data_batch=data_batch)


def _of_vectors(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step whose results have an axis to take the mean along."""

    def vectors(data: Any) -> Any:
        return tf.nest.map_structure(lambda value: value[tf.newaxis], step(data))

    return vectors
