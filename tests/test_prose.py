"""tools/check_prose.py finds the words of its list in prose, and only there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "tools" / "check_prose.py"


@pytest.fixture
def prose(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("check_prose", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("page.md", "Rows are met.\n```python\nmet = 1\n```\n`met` and\nThey stand still.", [1, 6]),
        (
            "program.py",
            '"""A row\nis met."""\nmet = self.met  # the rows\nf("told", met_before)',
            [2],
        ),
        (
            "csrc/kernel.cc",
            '// Rows\n// that are met.\nint met = 0;  // told\nf("told");  // `met`\n',
            [2, 3],
        ),
        ("program.py", 'met = 1  # what is told\nraise ValueError(f"{met} rows were met")', [1, 2]),
    ],
)
def test_words_are_found_in_prose_alone(prose, tmp_path, name, text, lines):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    words = prose.word_list(prose.WORDS.read_text(encoding="utf-8"))
    found = [int(line.split(":")[1]) for line in prose.found(tmp_path / name, words)]
    assert sorted(found) == lines


def test_our_prose_has_none_of_them():
    module_ = importlib.util.spec_from_file_location("check_prose", PATH)
    module = importlib.util.module_from_spec(module_)
    module_.loader.exec_module(module)
    assert module.main() == 0
