"""Writes docs/gradients.md: every cause of a missing gradient, from the programs of the tests.

A cause is shown by a program of tests/doctor/programs: what a person sees who runs it, the program,
and the doctor's answer, which says what to write instead. With --check nothing is written; a page
that differs from what would be written ends with status 1.
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
PAGE = ROOT / "docs" / "gradients.md"
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
do not exist for variables", or the loss becomes NaN. This page lists every cause that
`fastw2v.doctor` knows, each with a small program, what it says and what to write instead. The
doctor needs TensorFlow alone. It runs a script as it is, or a function, or what stands in a `with`
block:

```sh
python -m fastw2v.doctor train.py --epochs 3
```

```python
from fastw2v import doctor

print(doctor.explain(loss_fn, variables))  # what keeps loss_fn() from variables
doctor.assert_gradients(loss_fn, variables)  # the same, as a test
with doctor.watch():  # prints what goes wrong inside
    train()
```

`report.write_svg("gradient.svg")` draws the path from the variable to the loss with the broken edge
in red. The answers below are what the doctor printed: this page is written by
`tools/write_gradients_page.py`.
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


def section(kind: Kind, program: Path) -> str:
    """The part of the page about one cause."""
    seen, report = run(program)
    parts = [
        f"### {kind.title}",
        "You see:",
        f"```text\n{seen or 'nothing'}\n```",
        "The program:",
        f"```python\n{program.read_text(encoding='utf-8').strip()}\n```",
        "The doctor:",
        f"```text\n{report}\n```",
    ]
    return "\n\n".join(parts)


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.rstrip()]
    for effect, heading in HEADINGS.items():
        sections = []
        for name, kind in KINDS.items():
            program = program_of(name) if kind.effect == effect else None
            if program is not None:
                sections.append(section(kind, program))
        if sections:
            parts += [f"## {heading}", *sections]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    os.chdir(PROGRAMS)  # places are told relative to it
    written = page()
    if not check:
        PAGE.write_text(written, encoding="utf-8")
        return 0
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    difference = difflib.unified_diff(
        before.splitlines(), written.splitlines(), str(PAGE), "what would be written", lineterm=""
    )
    print("\n".join(difference))
    return int(before != written)


if __name__ == "__main__":
    sys.exit(main())
