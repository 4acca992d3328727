"""The ids under which TensorFlow knows tensors and variables."""

from __future__ import annotations

from typing import Any


def ids_of(source: Any) -> list[int]:
    """Ids of the tensors that stand for a variable (its handles) or a tensor."""
    for part in ("_values", "values"):  # variables of a distribution strategy hold one per device
        parts = getattr(source, part, None)
        if isinstance(parts, (tuple, list)) and parts and hasattr(parts[0], "handle"):
            return [number for one in parts for number in ids_of(one)]
    handle = getattr(source, "handle", source)
    number = getattr(handle, "_id", None)
    if number is None and hasattr(source, "_ref"):  # variables of TensorFlow 1 without a handle
        number = source._ref()._id
    return [] if number is None else [number]
