"""Writes docs/gradients: a page for each cause of a missing gradient, from programs of the tests.

A cause is shown by a program of tests/doctor/programs: what a person sees who runs it, the program,
and the doctor's answer, which says what to write instead. index.md lists the pages. With --check
nothing is written; a page that differs from what would be written ends with status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import runpy
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # the same messages on every processor

import tensorflow as tf

from fastw2v.doctor import watch
from fastw2v.doctor.findings.kinds import KINDS, Kind

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "gradients"
PROGRAMS = ROOT / "tests" / "doctor" / "programs"
# The forms of a program, the one to show first.
FORMS = ("eager", "function", "fit", "v1")
MESSAGE_LINES = 3

HEADINGS = {
    "missing": "There is no gradient",
    "useless": "There is a gradient, and it does not train",
    "error": "The loss raises an error",
    "note": "Training differs from what one expects",
}
INTRODUCTION = """\
# Why is my gradient None?

`tape.gradient` returns `None`, Keras says "No gradients provided for any variable" or "Gradients
do not exist for variables", or the loss becomes NaN. The tables below list every cause that
`fastw2v.doctor` knows. The page of a cause has a small program, what you see when you run it, what
the doctor answers and what to write instead.

The doctor works for any TensorFlow program, whether it uses the losses of this library or not.
[The doctor](../guides/doctor.md) says how to run it on yours. `tools/write_gradients_page.py`
writes these pages from what the doctor printed.
"""


def program_of(kind: str) -> Path | None:
    """The program that shows a cause."""
    for form in FORMS:
        path = PROGRAMS / f"{kind}_{form}.py"
        if path.exists():
            return path
    return None


def run(program: Path) -> tuple[str, str]:
    """What a person sees who runs a program, and what the doctor says."""
    tf.keras.utils.set_random_seed(1)
    tf.keras.backend.clear_session()
    printed, watching = io.StringIO(), watch(io.StringIO())
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with watching:
                runpy.run_path(program.name, run_name="__main__")
            seen = printed.getvalue()
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
        about_gradients = [str(w.message) for w in warned if "radient" in str(w.message)]
        reports = "\n\n".join(str(report) for report in watching.reports)
    if about_gradients:
        seen = f"UserWarning: {about_gradients[0]}"
    return _shortened(seen), reports


def _shortened(seen: str) -> str:
    """The lines of a message that say something."""
    # Colors, names of internal functions, and numbers, which are not the same everywhere.
    seen = re.sub(r"\x1b\[[\d;]*m|\{\{function_node [^}]*\}\} ", "", seen)
    seen = re.sub(r"numpy=\s*(array)?\(.*?\)>", "numpy=...>", seen, flags=re.S)
    lines = [line.rstrip() for line in seen.splitlines() if line.strip()]
    shown = [line if len(line) <= 160 else f"{line[:156]} ..." for line in lines[:MESSAGE_LINES]]
    return "\n".join(shown + ["..."] * (len(lines) > MESSAGE_LINES))


def cause_page(kind: Kind, program: Path) -> str:
    """The page about one cause."""
    seen, report = run(program)
    parts = [
        f"# {_plain(kind.title)}",
        kind.explanation,
        "You see:",
        f"```text\n{seen or 'nothing'}\n```",
        "The program:",
        f"```python\n{program.read_text(encoding='utf-8').strip()}\n```",
        "The doctor:",
        f"```text\n{report}\n```",
        "[All causes](index.md)",
    ]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """All pages, by the names of their files."""
    found: dict[str, str] = {}
    parts = [INTRODUCTION.rstrip()]
    for effect, heading in HEADINGS.items():
        lines = []
        for name, kind in KINDS.items():
            program = program_of(name) if kind.effect == effect else None
            if program is not None:
                found[f"{name}.md"] = cause_page(kind, program)
                lines.append(f"| [{_plain(kind.title)}]({name}.md) | {kind.explanation} |")
        if lines:
            parts += [f"## {heading}", "\n".join(["| cause | why |", "|---|---|", *lines])]
    names = "\n".join(name.removesuffix(".md") for name in found)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{names}\n```")
    return {"index.md": "\n\n".join(parts) + "\n", **found}


def _plain(title: str) -> str:
    """A title as text of Markdown."""
    return re.sub(r"([*_\[\]<>|])", r"\\\1", title)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    os.chdir(PROGRAMS)  # places are printed relative to it
    written = pages()
    before = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    if not check:
        PAGES.mkdir(exist_ok=True)
        for name in before.keys() - written.keys():
            (PAGES / name).unlink()
        for name, text in written.items():
            (PAGES / name).write_text(text, encoding="utf-8")
        return 0
    for name in sorted(before.keys() | written.keys()):
        difference = difflib.unified_diff(
            before.get(name, "").splitlines(),
            written.get(name, "").splitlines(),
            str(PAGES / name),
            "what would be written",
            lineterm="",
        )
        print("\n".join(difference))
    return int(before != written)


if __name__ == "__main__":
    sys.exit(main())
