import os

import pytest

from fastw2v import cli
from fastw2v.word2vec.corpus import Vocabulary


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_text("The cat sat.\nthe cat\n\nthe dog's\n")
    return path


def run(*arguments):
    return cli.main(["vocab", *map(str, arguments)])


@pytest.mark.parametrize(
    ("options", "content"),
    [
        (["--min-count", 1], "cat 2\nthe 2\nThe 1\ndog's 1\nsat. 1\n"),
        (["--min-count", 2], "cat 2\nthe 2\n"),
        (["--min-count", 1, "--max-final-vocab", 4, "--workers", 1], "cat 2\nthe 2\n"),
        (["--min-count", 1, "--max-vocab-size", 3], "cat 2\nthe 2\n"),
        (["--min-count", 2, "--tokenizer", "words"], "the 3\ncat 2\n"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_words_and_counts(text, tmp_path, capsys, options, content):
    output = tmp_path / "vocab.txt"
    assert run(text, "--output", output, *options) == 0
    assert output.read_text() == content
    vocabulary = Vocabulary.load(output)
    printed = capsys.readouterr().out
    assert printed.startswith(f"read 7 words of {text} in ")
    share = vocabulary.counts.sum() / 7
    words = f"{len(vocabulary)} different ones, {share:.1%} of the text, are in {output}\n"
    assert printed.endswith(words)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", [], "no word of TEXT occurs at least --min-count = 5 times; 0 were read"),
        (b"one", [], "no word of TEXT occurs at least --min-count = 5 times; 1 were read"),
        (b"a \xff", [], "TEXT is not UTF-8 text: byte 0xff at offset 2 is part of no character"),
        (
            b"a",
            ["--output", "/missing/vocab"],
            "/missing: No such file or directory; --output /missing/vocab would go there: give "
            "another directory",
        ),
        (None, [], "TEXT: No such file or directory"),
    ],
    ids=["empty", "one word", "junk", "no directory", "no file"],
)
def test_errors_in_one_line(text, tmp_path, capsys, content, options, message):
    output = tmp_path / "vocab.txt"
    output.write_text("old")
    text.unlink()
    if content is not None:
        text.write_bytes(content)
    if "/missing/vocab" in options:
        options = [*options, "--min-count", 1]
    assert run(text, "--output", output, *options) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors == f"fastw2v vocab: error: {message}\n".replace("TEXT", str(text))
    assert output.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["text", "vocab.txt"][content is None :]


def test_help(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    assert "fastw2v vocab corpus.txt --output vocab.txt" in capsys.readouterr().out
