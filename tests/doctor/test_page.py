"""docs/gradients.md is what the doctor says of the programs of these tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastw2v.doctor.findings.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "gradients.md"


@pytest.mark.slow
def test_the_page_is_up_to_date():
    finished = subprocess.run(
        [sys.executable, ROOT / "tools" / "write_gradients_page.py", "--check"],
        capture_output=True,
        text=True,
    )
    message = f"run tools/write_gradients_page.py\n{finished.stdout}{finished.stderr[-2000:]}"
    assert finished.returncode == 0, message


def test_every_cause_is_on_the_page():
    titles = re.findall(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), re.M)
    assert set(titles) == {kind.title for key, kind in KINDS.items() if key != "undecided"}


def test_every_answer_names_the_guilty_line():
    """The line that the program marks is the line that the doctor quotes."""
    sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    for section in sections:
        program, answer = re.search(
            r"The program:\n\n```python\n(.*?)```.*?```text\n(.*?)```", section, re.S
        ).groups()
        (marked,) = [line for line in program.splitlines() if "# <- " in line]
        number = program.splitlines().index(marked) + 1
        assert f".py:{number}" in answer, section


def test_the_answer_in_the_readme(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example, answer = re.search(
        r"```python\n((?:(?!```).)*doctor\.explain.*?)```\n\n```text\n(.*?)```", readme, re.S
    ).groups()
    (tmp_path / "train.py").write_text(example)
    finished = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.stdout == answer, finished.stderr
    assert (tmp_path / "gradient.svg").exists()
