"""What was tried so far: a CSV with a row for each run and subject; a document has their sums."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from fastw2v._build_info import VERSION
from fuzzing.harness import Tally

COLUMNS = (
    "date",
    "subject",
    "cases",
    "seconds",
    "failures",
    "instruction_sets",
    "fastw2v",
    "tensorflow",
)
BEGIN = "<!-- Cases: written by tools/fuzz.py -->"
END = "<!-- Cases: end -->"


def append(path: Path, tallies: Mapping[str, Tally]) -> None:
    """Adds the rows of a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    today = datetime.date.today().isoformat()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        for name, tally in tallies.items():
            sets = " ".join(sorted(tally.instruction_sets))
            counts = tally.cases, round(tally.seconds), tally.failures
            writer.writerow((today, name, *counts, sets, VERSION, tf.__version__))


def write_table(path: Path, document: Path) -> None:
    """Puts the sums of a CSV between the two comments of a document.

    Raises:
        ValueError: The document lacks the comments.
    """
    sums: dict[str, list] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            entry = sums.setdefault(row["subject"], [0, 0, set()])
            entry[0] += int(row["cases"])
            entry[1] += int(row["failures"])
            entry[2].update(row["instruction_sets"].split())
    lines = ["| subject | cases | failed | instruction sets |", "|---|---|---|---|"]
    for name, (cases, failures, sets) in sums.items():
        lines.append(f"| {name} | {cases:,} | {failures:,} | {', '.join(sorted(sets))} |")
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the comments {BEGIN} and {END}")
    document.write_text("\n".join([before + begin, *lines, end + after]))
