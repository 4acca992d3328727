"""The steps of a path from a variable to the loss, as they are shown."""

from __future__ import annotations

from dataclasses import dataclass

from fastw2v.doctor.program.places import Place

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """An op on the way from a variable to the loss."""

    op: str
    name: str
    place: Place | None
