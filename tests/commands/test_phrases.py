"""`fastw2v phrases`."""

import subprocess
import sys
from pathlib import Path

import pytest
from gensim.models.phrases import Phrases as GensimPhrases

from fastw2v import cli

SENTENCES = [
    *["in new york city it rains", "york is old", "the king of hearts is new"] * 8,
    *[f"word{number} and word{number + 1}" for number in range(60)],
]


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("\n".join(SENTENCES))


def run(*arguments):
    return cli.main(["phrases", *map(str, arguments)])


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], {}),
        (["--min-count", 2, "--threshold", 4], {"min_count": 2, "threshold": 4}),
        (
            ["--scoring", "npmi", "--threshold", 0.6, "--delimiter", "+"],
            {"scoring": "npmi", "threshold": 0.6, "delimiter": "+"},
        ),
        (
            ["--min-count", 1, "--threshold", 3, "--connector-words", "of.txt"],
            {"min_count": 1, "threshold": 3, "connector_words": frozenset(["of"])},
        ),
    ],
)
def test_the_text_as_gensim_joins_it(options, settings, capsys):
    Path("of.txt").write_text("of\n")
    split = [sentence.split() for sentence in SENTENCES]
    expected = list(GensimPhrases(split, **settings)[split])
    assert run("text.txt", "--output", "joined.txt", *options) == 0
    written = [line.split() for line in Path("joined.txt").read_text().splitlines()]
    assert written == expected
    printed = capsys.readouterr().out
    before = {word for sentence in split for word in sentence}
    new = [word for sentence in expected for word in sentence if word not in before]
    num_words = sum(map(len, expected))
    if not options:
        assert not new
        assert printed.startswith("no phrases were found, and joined.txt holds the text as it was")
    else:
        assert new and printed == (
            f"{len(set(new))} phrases stand {len(new)} times among the {num_words} words of "
            "joined.txt\n"
        )


def test_a_tokenizer_and_a_second_round():
    Path("text.txt").write_text("New York City. 1 Paris\n" * 9 + "Some other words\n" * 30)
    options = ["--tokenizer", "words", "--threshold", 0.1]
    assert run("text.txt", "--output", "pairs.txt", *options) == 0
    assert Path("pairs.txt").read_text().startswith("new_york city_paris\n")
    assert run("pairs.txt", "--output", "more.txt", "--threshold", 0.1) == 0
    assert Path("more.txt").read_text().startswith("new_york_city_paris\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["text.txt", "-o", "text.txt"], "--output text.txt is the same file as CORPUS text.txt"),
        (["nowhere.txt", "-o", "joined.txt"], "nowhere.txt: No such file or directory"),
        (["/dev/null", "-o", "joined.txt"], "/dev/null: it can be read only once, and phrases are"),
        (["text.txt", "-o", "j.txt", "--delimiter", " "], "--delimiter ' ' must hold characters"),
        (["text.txt", "-o", "j.txt", "--scoring", "npmi"], "threshold"),
    ],
)
def test_errors_in_one_line(arguments, message, capsys):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastw2v phrases: error: ") and error.count("\n") == 1
    assert message in error
    assert sorted(path.name for path in Path().iterdir()) == ["text.txt"]


def test_a_dash_is_the_standard_input():
    command = [sys.executable, "-m", "fastw2v.cli", "phrases", "-", "-o", "joined.txt"]
    with open("text.txt") as text:
        subprocess.run([*command, "--threshold", "4"], stdin=text, check=True, capture_output=True)
    assert Path("joined.txt").read_text().startswith("in_new york_city it_rains\n")
    with open("text.txt") as text:
        command[-1] = "text.txt"
        done = subprocess.run(command, stdin=text, capture_output=True, text=True)
    assert done.returncode == 2
    assert "text.txt is the same file as CORPUS /dev/stdin, which" in done.stderr
    assert Path("text.txt").read_text() == "\n".join(SENTENCES)
