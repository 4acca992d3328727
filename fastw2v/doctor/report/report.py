"""What the doctor found, as data."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from fastw2v.doctor.findings.finding import Finding
from fastw2v.doctor.findings.kinds import KINDS
from fastw2v.doctor.report.picture import svg
from fastw2v.doctor.report.text import as_text

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """What was found about a loss and its variables.

    `print(report)` is the text for a person, `as_dict()` the same for a tool.

    Attributes:
        connected: Names of the variables that have a gradient.
        findings: What is wrong, the first cause of a variable before its further ones.
        graph: Gives the traced graph for `write_graph`, where there is one.
    """

    connected: tuple[str, ...]
    findings: tuple[Finding, ...]
    graph: Callable[[], Any] | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that keeps a variable from being trained."""
        return all(KINDS[finding.kind].effect == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, tuples, strings and numbers."""
        return {
            "connected": self.connected,
            "findings": tuple(asdict(finding) for finding in self.findings),
        }

    def __str__(self) -> str:
        return as_text(self.connected, self.findings)

    def show(self, stream: TextIO | None = None) -> None:
        """Prints the report, in color on a terminal (unless NO_COLOR is set)."""
        stream = sys.stderr if stream is None else stream
        color = stream.isatty() and not os.environ.get("NO_COLOR")
        print(as_text(self.connected, self.findings, color), file=stream)

    def write_svg(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture of every path that breaks, the broken edge in red."""
        Path(path).write_text(svg(self.connected, self.findings), encoding="utf-8")

    def write_graph(self, log_dir: str | os.PathLike[str]) -> None:
        """Writes the traced graph of the loss for TensorBoard's page "Graphs".

        Raises:
            ValueError: The report knows no graph: what it is about ran eagerly, in `watch()`.
        """
        if self.graph is None:
            raise ValueError(
                "write_graph: this report has no graph, since the program ran eagerly; "
                "explain(loss_fn, variables) gives a report that can trace loss_fn"
            )
        import tensorflow as tf

        graph = self.graph()
        with tf.summary.create_file_writer(os.fspath(log_dir)).as_default():
            tf.summary.graph(graph)
