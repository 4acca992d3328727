"""What the doctor found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """A line of the user's program."""

    file: str
    line: int
    text: str
    function: str


@dataclass(frozen=True)
class Step:
    """An op on the way from a variable to the loss."""

    op: str
    name: str
    place: Place | None


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


@dataclass(frozen=True)
class Report:
    """What was found about a loss and its variables."""

    connected: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """The report as plain lists, strings and numbers."""
        return asdict(self)
