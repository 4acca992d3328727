"""Files to be written that are not there to be written."""

import os
import re
from pathlib import Path

import pytest

from fastw2v.word2vec.files import check_outputs, outputs


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """text.txt by other names, and books/ with a file and a link."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("to be")
    Path("symbolic.txt").symlink_to("text.txt")
    Path("hard.txt").hardlink_to("text.txt")
    Path("books").mkdir()
    Path("books/one.txt").write_text("or not")
    Path("books/elsewhere.txt").symlink_to("../away.txt")
    Path("away.txt").touch()
    Path("shelf").symlink_to("books")
    Path("into.txt").symlink_to("books/new.txt")  # leads to a file that is not there yet


@pytest.mark.parametrize(
    ("output", "source", "message"),
    [
        ("text.txt", "text.txt", "text.txt is the same file as CORPUS text.txt, which would be"),
        ("./books/../text.txt", "text.txt", "is the same file as CORPUS text.txt"),
        ("symbolic.txt", "text.txt", "-o symbolic.txt is the same file as CORPUS text.txt"),
        ("text.txt", "symbolic.txt", "-o text.txt is the same file as CORPUS symbolic.txt"),
        ("hard.txt", "text.txt", "-o hard.txt is the same file as CORPUS text.txt"),
        ("books/new.txt", "books", "-o books/new.txt lies in CORPUS books and would be read"),
        ("books/new.txt", "shelf", "-o books/new.txt lies in CORPUS shelf"),
        ("shelf/new.txt", "books/", "-o shelf/new.txt lies in CORPUS books/"),
        ("into.txt", "books", "-o into.txt lies in CORPUS books"),
        ("books/elsewhere.txt", "books", "-o books/elsewhere.txt lies in CORPUS books"),
        ("away.txt", "books", "is the same file as books/elsewhere.txt in CORPUS books"),
    ],
)
def test_an_output_that_is_or_lies_in_an_input(output, source, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_outputs({"-o": output}, {"CORPUS": source})
    assert Path("text.txt").read_text() == "to be"


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("new.txt", "text.txt"),
        ("books/new.txt", "text.txt"),
        ("books/new.txt", "books/one.txt"),
        ("text.txt", "books"),
        ("/dev/null", "/dev/null"),
        (None, "text.txt"),
        ("text.txt", [["text.txt"]]),  # sentences in memory
    ],
)
def test_outputs_apart_from_the_inputs(output, source):
    before = sorted(os.listdir())
    check_outputs({"-o": output}, {"CORPUS": source}, {"--logs": "logs/of/today"})
    assert sorted(os.listdir()) == before


def test_directories_below_the_input_are_not_read():
    Path("books/results").mkdir()
    check_outputs({"-o": "books/results/v.txt"}, {"CORPUS": "books"}, {"--logs": "books/logs"})


def test_outputs_that_are_one_file():
    with pytest.raises(ValueError, match="cache new is the same file as checkpoint ./new, which"):
        check_outputs({"checkpoint": "./new", "cache": "new"})
    check_outputs({"checkpoint": "/dev/null", "cache": "/dev/null"})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"-o": "no/v"},), FileNotFoundError, "-o no/v would go there: give another directory: "),
        (({"-o": "text.txt/v"},), NotADirectoryError, "'text.txt/v'"),
        (({"-o": "books"},), IsADirectoryError, "-o books must be a file: 'books'"),
        (({"-o": "new/"},), IsADirectoryError, "-o new/ must be a file: 'new/'"),
        (({"-o": ""},), IsADirectoryError, "Is a directory"),
        (({"-o": "n" * 256},), OSError, "File name too long"),
        (({"-o": "/proc/v"},), OSError, "-o /proc/v would go there"),
        (({}, {"--eval": "nowhere"}), FileNotFoundError, "'nowhere'"),
        (({}, {}, {"--logs": "text.txt"}), NotADirectoryError, "--logs text.txt would go there"),
        (({}, {}, {"--logs": "text.txt/a/b"}), NotADirectoryError, "text.txt/a/b would go there"),
        (({}, {"CORPUS": "books"}, {"--logs": "shelf"}), ValueError, "--logs shelf is the dir"),
    ],
)
def test_what_cannot_be_written_or_read(arguments, error, message):
    before = sorted(os.listdir())
    with pytest.raises(error, match=re.escape(message)):
        check_outputs(*arguments)
    assert sorted(os.listdir()) == before


def test_directories_without_permission(monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied", f"{dir}/tmp123")

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse)  # root may write everywhere
    with pytest.raises(PermissionError, match="-o books/v would go there.*: 'books'$"):
        check_outputs({"-o": "books/v"})
    with pytest.raises(PermissionError, match="--logs new would go there"):
        check_outputs({}, {}, {"--logs": "new"})
