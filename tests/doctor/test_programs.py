"""The doctor on programs as users write them.

In `programs`, each line that keeps a gradient away carries the key of its cause, `# <- kind`; the
doctor must name exactly these. In `healthy` there is nothing to find.
"""

from __future__ import annotations

import io
import re
import runpy
import sys
import warnings
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pages
import pytest
import tensorflow as tf

from fastw2v import doctor
from fastw2v.doctor.findings.kinds import KINDS

HERE = Path(__file__).resolve().parent
PROGRAMS = sorted((HERE / "programs").glob("*.py"))
HEALTHY = sorted([*(HERE / "healthy").glob("*.py"), *(HERE.parents[1] / "examples").glob("*.py")])
EXAMPLES = {
    f"README-{i}": text
    for i, (language, text) in enumerate(pages.blocks(pages.README))
    if language == "python"
} | {
    page.stem: pages.python_of(page)
    for page in pages.pages()
    # They read what commands have written, or start a strategy, which a process has once.
    if page.stem not in ("getting-started", "distribution") and pages.python_of(page)
}
MARK = re.compile(r"# <- (\w+(?:, \w+)*)$")
# Kinds without a program: the one for what is not known, and those of gradients that exist.
WITHOUT_PROGRAM = {"undecided"}


def marked(path):
    """The causes that a program names itself: kinds and lines."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return {
        (kind, number)
        for number, line in lines
        if (match := MARK.search(line))
        for kind in match[1].split(", ")
    }


def run(path, watching=None):
    """What a program prints and how it fails, from the same random numbers each time."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(1)
    quick = ["--quick"] if path.parent.name == "examples" else []
    printed = io.StringIO()
    failure = None
    with (
        redirect_stdout(printed),
        patch.object(sys, "argv", [str(path), *quick]),
        patch.object(sys, "path", [str(path.parent), *sys.path]),  # as where Python runs a file
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        try:
            with watching or nullcontext():
                runpy.run_path(str(path), run_name="__main__")
        except Exception as error:
            failure = type(error).__name__, str(error)
    told = [str(warning.message) for warning in told if warning.category is UserWarning]
    # Addresses of objects and names of temporary files differ from run to run.
    return re.sub(
        r"0x\w+|__autograph_generated_file\w+", "", repr((printed.getvalue(), failure, told))
    )


@pytest.mark.parametrize("path", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_cause_and_line(path, capsys):
    expected = marked(path)
    assert expected
    alone = run(path)
    watching = doctor.watch()
    watched = run(path, watching)
    findings = [finding for report in watching.reports for finding in report.findings]
    found = {
        (f.kind, f.place.line if f.place and Path(f.place.file) == path else f.place)
        for f in findings
    }
    assert found == expected
    assert all(
        f.place.text == path.read_text().splitlines()[f.place.line - 1].strip() for f in findings
    )
    assert all(f.kind in KINDS and f.variable and f.detail for f in findings)
    assert watched == alone
    printed = capsys.readouterr().err
    assert "could not explain" not in printed
    assert all(str(report) in printed for report in watching.reports)


@pytest.mark.parametrize("path", HEALTHY, ids=[path.stem for path in HEALTHY])
def test_no_false_alarm(path, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    alone = run(path)
    watching = doctor.watch()
    watched = run(path, watching)
    assert watching.reports == []
    assert watched == alone
    assert eval(watched)[1] is None
    assert "fastw2v.doctor" not in capsys.readouterr().err


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_no_false_alarm_on_our_examples(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "example.py"
    path.write_text(example)
    watching = doctor.watch()
    watched = run(path, watching)
    assert watching.reports == []
    assert eval(watched)[1] is None


def test_every_cause_has_programs():
    silent = {kind for path in PROGRAMS for kind, _ in marked(path)}
    assert silent <= KINDS.keys()
    forms = {path.stem.rsplit("_", 1)[1] for path in PROGRAMS}
    assert forms == {"eager", "function", "fit", "v1"}
    assert len(HEALTHY) + len(EXAMPLES) >= 30
