"""The Python examples of README.md run as they stand, and so does every page of docs."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest

import fastw2v

EXAMPLES = [text for language, text in pages.blocks(pages.README) if language == "python"]
PAGES = pages.pages()


def test_readme_is_short_and_has_examples():
    text = pages.README.read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_of_the_readme_runs(example, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr


def test_pages_have_examples():
    names = {page.stem for page in PAGES}
    assert names >= {"getting-started", "losses", "keras", "word-vectors", "distribution", "saving"}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page_runs(page, tmp_path):
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, arguments in {"python": "", "fastw2v": "-m fastw2v.cli"}.items():
        program = commands / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    finished = subprocess.run(
        [sys.executable, Path(pages.__file__), page],
        cwd=work,
        env={**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]


@pytest.mark.parametrize(
    "module", ["fastw2v", *(f"fastw2v.{name}" for name in fastw2v._MODULES if name != "word2vec")]
)
def test_every_public_name_is_in_the_reference(module):
    text = "".join(page.read_text(encoding="utf-8") for page in (pages.DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"^\.\. auto\w+:: [\w.]*?(\w+)$", text, re.M))
    public = importlib.import_module(module).__all__
    named = {name for name in public if re.search(rf"`{name}`|fastw2v\.{name}\b", text)}
    assert {name for name in public if not name.startswith("_")} <= documented | named


def test_every_environment_variable_is_documented():
    text = (pages.DOCS / "environment.md").read_text(encoding="utf-8")
    read = re.compile(
        r"""(?:getenv\(|environ\[|environ\.(?:get|setdefault)\()"(\w+)"|ENV\{(\w+)\}"""
    )
    found = {
        name
        for folder in ("fastw2v", "csrc", "cmake")
        for path in (pages.ROOT / folder).rglob("*")
        if path.suffix in {".py", ".cc", ".h", ".cmake", ".in"}
        for names in read.findall(path.read_text(encoding="utf-8"))
        for name in names
        if name
    }
    assert len(found) > 5
    assert {name for name in found if f"`{name}`" not in text} <= {
        "LIBRARY_PATH",
        "PATH",
        "PWD",
    }
