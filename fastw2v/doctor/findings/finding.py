"""One finding: a cause found at a place of the user's program."""

from __future__ import annotations

from dataclasses import dataclass

from fastw2v.doctor.program.places import Place
from fastw2v.doctor.trace.steps import Step

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """Why one variable has no gradient, or a useless one.

    Attributes:
        variable: Name of the variable or tensor.
        kind: A key of `kinds.KINDS`.
        op: Type of the op at which the path ends, where there is one.
        place: The line of the user's program that did it, where it is known.
        detail: A sentence about this case, names and values included.
        path: Ops from the variable up to and including the one that ends it.
    """

    variable: str
    kind: str
    op: str | None
    place: Place | None
    detail: str
    path: tuple[Step, ...] = ()
