"""The variables and tensors that gradients are asked for: names, lines, and layers of Keras."""

from __future__ import annotations

import gc
import sys
from typing import Any

import tensorflow as tf

from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.observe.tensor_ids import ids_of
from fastw2v.doctor.program import places
from fastw2v.doctor.program.places import Place


def name_of(source: Any) -> str:
    """What to call a variable or a tensor: the name in the user's program, if there is one."""
    path = getattr(source, "path", None)  # of Keras
    if isinstance(path, str) and path:
        return path
    in_program = places.name_in_program(source)
    name = (
        getattr(source, "name", None)
        if hasattr(source, "handle") or not _is_eager(source)
        else None
    )
    name = name.split(":")[0] if isinstance(name, str) else None
    if name and name != "Variable":
        return name
    if in_program:
        return in_program
    what = "variable" if hasattr(source, "handle") else "tensor"
    return f"{what} of shape {tuple(source.shape)}" if hasattr(source, "shape") else what


def _is_eager(source: Any) -> bool:
    return isinstance(source, tf.Tensor) and not tf.is_symbolic_tensor(source)


def made_at(source: Any, recorder: Recorder) -> Place | None:
    """Where a variable or a tensor was made."""
    for number in ids_of(source):
        event = recorder.producers.get(number)
        if event is not None and event.origin is not None:
            return event.origin.place
    made = getattr(source, "handle", source)
    if isinstance(made, tf.Tensor) and not tf.is_symbolic_tensor(made):
        return None
    return places.place_of(places.of_op(made.op))


def kept_by(source: Any) -> str | None:
    """The class of the layer of Keras that made a variable which is not to be trained.

    Such are the statistics of BatchNormalization and the states of random numbers. None for
    weights of a frozen layer, for those of a layer that the user wrote, and for all else.
    """
    keras = sys.modules.get("keras")
    if keras is None or getattr(source, "trainable", True):
        return None
    numbers = set(ids_of(source))
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, keras.layers.Layer) and kind.__module__.startswith("keras."):
            states = [seed.state for seed in thing._seed_generators]
            for variable in (*thing._non_trainable_variables, *states):
                if numbers & set(ids_of(variable)):
                    return kind.__name__
    return None
