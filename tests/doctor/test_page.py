"""docs/gradients is what the doctor says of the programs of these tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastw2v.doctor.findings.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "gradients"
CAUSES = {path.stem: path for path in PAGES.glob("*.md") if path.name != "index.md"}


@pytest.mark.slow
def test_the_pages_are_up_to_date():
    finished = subprocess.run(
        [sys.executable, ROOT / "tools" / "write_gradients_page.py", "--check"],
        capture_output=True,
        text=True,
    )
    message = f"run tools/write_gradients_page.py\n{finished.stdout}{finished.stderr[-2000:]}"
    assert finished.returncode == 0, message


def test_every_cause_has_a_page_that_is_listed():
    assert CAUSES.keys() == KINDS.keys() - {"undecided"}
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[.*?\]\((\w+)\.md\)", index, re.M)) == CAUSES.keys()


@pytest.mark.parametrize("cause", CAUSES)
def test_every_answer_names_the_guilty_line(cause):
    """The line that the program marks is the line that the doctor quotes."""
    page = CAUSES[cause].read_text(encoding="utf-8")
    program, answer = re.search(
        r"The program:\n\n```python\n(.*?)```.*?```text\n(.*?)```", page, re.S
    ).groups()
    (marked,) = [line for line in program.splitlines() if "# <- " in line]
    number = program.splitlines().index(marked) + 1
    assert f".py:{number}" in answer


@pytest.mark.parametrize("document", ["README.md", "docs/guides/doctor.md"])
def test_the_answer_in_a_document(document, tmp_path):
    text = (ROOT / document).read_text(encoding="utf-8")
    example, answer = re.search(
        r"```python\n((?:(?!```).)*doctor\.explain.*?)```\n\n```text\n(.*?)```", text, re.S
    ).groups()
    (tmp_path / "train.py").write_text(example)
    finished = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.stdout == answer, finished.stderr
    assert "write_svg" not in example or (tmp_path / "gradient.svg").exists()
