"""Runs the tests on each supported TensorFlow, on the wheel for this Python.

Usage: matrix.py [--tensorflow 2.20]... [--output CSV] [--table DOCUMENT] [TEST...]

The wheel of dist is installed into an environment for each version under build/matrix, which stays
for the next run. TEST are arguments of pytest, all tests and docstring examples by default. A row
of the CSV is a Python and a TensorFlow, of which the last run counts; the document's table is made
of all rows. Ends with status 1 where a test fails.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import platform
import runpy
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = runpy.run_path(str(ROOT / "fastw2v" / "_core" / "supported.py"))
COLUMNS = (
    *("python", "tensorflow", "keras"),
    *("passed", "failed", "skipped", "minutes", "date", "tests"),
)
ALL_TESTS = ("--doctest-modules", "--pyargs", "tests", "fastw2v")
BEGIN = "<!-- Versions: written by tools/matrix.py -->"
END = "<!-- Versions: end -->"


def wheel() -> Path:
    """The wheel for this Python. Raises SystemExit where there is none."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    found = sorted((ROOT / "dist").glob(f"fastw2v-*-{tag}-*.whl"))
    if not found:
        raise SystemExit(f"error: there is no wheel for {tag} in dist: run make wheel")
    return found[-1]


def run(minor: str, tests: list[str]) -> dict[str, str]:
    """The row of a TensorFlow."""
    folder = ROOT / "build" / "matrix" / f"{sys.implementation.cache_tag}-tensorflow-{minor}"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"== an environment with TensorFlow {minor}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    tensorflow = f"{SUPPORTED['distribution']()}=={minor}.*"
    subprocess.run([*pip, tensorflow, f"{wheel()}[test]"], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(wheel())], check=True)

    print(f"== the tests on TensorFlow {minor}", flush=True)
    report = folder / "tests.xml"
    report.unlink(missing_ok=True)
    pytest = [str(folder / "bin" / "pytest"), "-n", "2", "-q", f"--junitxml={report}"]
    subprocess.run([*pytest, *(tests or ALL_TESTS)], cwd=ROOT)
    if not report.exists():
        raise SystemExit("error: pytest ended without a report; its message is above")
    question = "import importlib.metadata as m; print(m.version('keras'))"
    ask = subprocess.run([str(python), "-c", question], capture_output=True, text=True, check=True)
    installed = subprocess.run(
        [*pip[:3], "show", SUPPORTED["distribution"]()], capture_output=True, text=True, check=True
    )
    version = next(line for line in installed.stdout.splitlines() if line.startswith("Version: "))
    return {
        "python": platform.python_version(),
        "tensorflow": version.removeprefix("Version: "),
        "keras": ask.stdout.strip(),
        **counts(report),
        "date": datetime.date.today().isoformat(),
        "tests": " ".join(tests) or "all",
    }


def counts(report: Path) -> dict[str, str]:
    """What a report of pytest says."""
    suite = next(xml.etree.ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")
    )
    return {
        "passed": str(total - failures - errors - skipped),
        "failed": str(failures + errors),
        "skipped": str(skipped),
        "minutes": f"{float(suite.attrib['time']) / 60:.1f}",
    }


def merge(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows by Python and TensorFlow, the new in place of the old."""
    rows = {(row["python"], row["tensorflow"]): row for row in (*old, *new)}
    return [rows[key] for key in sorted(rows, key=_order)]


def _order(key: tuple[str, str]) -> list[list[int]]:
    return [[int(number) for number in version.split(".")[:2]] for version in key]


def table(rows: list[dict[str, str]]) -> str:
    """The rows for a document."""
    lines = [
        "| Python | TensorFlow | Keras | tests | passed | failed | skipped | date |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        names = ("python", "tensorflow", "keras", "tests", "passed", "failed", "skipped", "date")
        lines.append(f"| {' | '.join(row[name] for name in names)} |")
    return "\n".join(lines)


def write_table(rows: list[dict[str, str]], document: Path) -> None:
    """Puts the table between the two comments of a document."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"error: {document} lacks the comments {BEGIN} and {END}")
    document.write_text(f"{before}{begin}\n{table(rows)}\n{end}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the tests on each supported TensorFlow.")
    parser.add_argument("tests", metavar="TEST", nargs="*")
    parser.add_argument(
        "--tensorflow", action="append", metavar="MINOR", help="this one (several times: these)"
    )
    parser.add_argument("--output", metavar="CSV", type=Path)
    parser.add_argument("--table", metavar="DOCUMENT", type=Path)
    options = parser.parse_args()
    rows = [run(minor, options.tests) for minor in options.tensorflow or SUPPORTED["TENSORFLOW"]]
    old = []
    if options.output is not None and options.output.exists():
        with options.output.open(newline="") as file:
            old = list(csv.DictReader(file))
    every = merge(old, rows)
    if options.output is not None:
        with options.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(every)
    if options.table is not None:
        write_table(every, options.table)
    print(table(rows))
    if any(row["failed"] != "0" for row in rows):
        sys.exit("error: tests failed")


if __name__ == "__main__":
    main()
