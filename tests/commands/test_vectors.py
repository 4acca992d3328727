"""The commands that read word vectors."""

import re
import subprocess
import sys

import numpy as np
import pytest
from gensim.test.utils import datapath

from fastw2v import cli
from fastw2v.commands import eval as eval_command
from fastw2v.word2vec.maps import map as maps
from fastw2v.word2vec.vectors import WordVectors


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    words = ["man", "king", "woman", "queen", *(f"w{number}" for number in range(40))]
    matrix = rng.normal(size=(44, 12))
    matrix[3] = matrix[1] - matrix[0] + matrix[2]
    return WordVectors(words, matrix, np.arange(44, 0, -1))


@pytest.fixture(autouse=True)
def directory(vectors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors.save("v.bin")
    return tmp_path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_neighbors(vectors, capsys):
    assert run("neighbors", "v.bin", "king", "w3", "--topn", 4, "--restrict-vocab", 20) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "king" and lines[5] == "w3" and len(lines) == 10
    expected = vectors.most_similar("king", topn=4, restrict_vocab=20)
    assert [line.split() for line in lines[1:5]] == [[w, f"{c:.3f}"] for w, c in expected]


def test_analogy(vectors, capsys):
    assert run("analogy", "v.bin", "man", "king", "woman", "--topn", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "man is to king as woman is to" and len(lines) == 4
    assert lines[1].split()[0] == "queen"


def test_eval(vectors, capsys, directory):
    (directory / "pairs").write_text("man\tking\t3\nwoman\tqueen\t4\nman\tqueen\t1\nx\ty\t2\n")
    (directory / "questions").write_text(": royal\nman king woman queen\n: unknown\na b c d\n")
    assert run("eval", "v.bin", "--pairs", "pairs", "--analogies", "questions") == 0
    printed = capsys.readouterr().out
    found = vectors.evaluate_word_pairs("pairs")
    assert re.search(
        rf"pairs +{found.spearman.statistic:.3f} +{found.pearson.statistic:.3f} +25.0%\n", printed
    )
    assert re.search(r"\nroyal +100.0% +1\nunknown +- +0\nTotal accuracy +100.0% +1\n", printed)
    assert run("eval", "v.bin", "--pairs", "pairs", "--case-sensitive", "--restrict-vocab", 4) == 0
    assert "Total" not in capsys.readouterr().out


def test_eval_on_the_files_of_gensim(capsys, directory):
    words = set()
    for name in ("wordsim353.tsv", "simlex999.txt"):
        with open(datapath(name), encoding="utf8") as file:
            words.update(word for line in file for word in line.split()[:2])
    matrix = np.random.default_rng(0).normal(size=(len(words), 5))
    WordVectors(sorted(words), matrix).save("more.npz")
    assert run("eval", "more.npz") == 0
    printed = capsys.readouterr().out
    assert re.search(r"wordsim353.tsv +-?0.\d{3} +-?0.\d{3} +0.0%", printed)
    assert re.search(r"simlex999.txt +-?0.\d{3} +-?0.\d{3} +0.0%", printed)
    assert len(re.findall(r"^gram\d", printed, re.M)) == 9 and "Total accuracy" in printed


def test_map(vectors, capsys, monkeypatch):
    monkeypatch.setattr(maps, "_PAGE_ITERATIONS", 10)
    assert run("map", "v.bin", "--words", 30) == 0
    assert capsys.readouterr().out == "30 words on a map: map.html\n"
    with open("map.html", encoding="utf8") as file:
        page = file.read()
    assert "<title>v.bin</title>" in page and '"words":["man","king"' in page
    assert run("map", "v.bin", "-o", "map.png", "--words", 9) == 0
    with open("map.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_map_of_chosen_words(vectors, capsys, directory, monkeypatch):
    monkeypatch.setattr(maps, "_PAGE_ITERATIONS", 10)
    (directory / "function-words").write_text("w2\n\n  w3 \nunknown\n")
    assert run("map", "v.bin", "--words", 30, "--skip", 4, "--leave-out", "function-words") == 0
    assert capsys.readouterr() == ("30 words on a map: map.html\n", "")
    with open("map.html", encoding="utf8") as file:
        assert '"words":["w0","w1","w4","w5"' in file.read()
    (directory / "list").write_text("queen\nw39\nking\nw1\nnobody\nw2\n", "utf-8-sig")
    assert run("map", "v.bin", "--only", "list") == 0
    printed = capsys.readouterr()
    assert printed.out == "5 words on a map: map.html\n"
    assert printed.err == (
        "fastw2v map: warning: 1 of the 6 words to show have no vector, for example 'nobody'\n"
    )
    with open("map.html", encoding="utf8") as file:
        assert '"words":["king","queen","w1","w2","w39"]' in file.read()


def test_no_command_writes_over_its_input(directory):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for command in (
        ["map", "v.bin", "--output", "v.html", "--format", "binary"],
        ["map", "v.bin", "--only", "w.html", "--output", "v.html"],
        ["convert", "v.bin", "v.bin"],
        ["convert", "v.bin", "v.html", "--to", "text"],
        ["vocab", "w.html", "-o", "v.html"],
        ["phrases", "v.html", "-o", "w.html"],
        ["phrases", "v.bin", "-o", "v.html", "--connector-words", "w.html"],
    ):
        for link in ("v.html", "w.html"):
            (directory / link).unlink(missing_ok=True)
            (directory / link).symlink_to("v.bin")
        assert run(*command) == 2, command
        assert {name: (directory / name).read_bytes() for name in before} == before


def test_map_without_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("map", "v.bin", "--output", "map.png") == 2
    error = capsys.readouterr().err
    assert "pip install 'fastw2v[demo]'" in error and error.count("\n") == 1


@pytest.mark.parametrize("output", ["v.txt", "v.txt.gz", "v.npz", "v.kv", "v.glove"])
def test_convert(output, vectors, capsys):
    assert run("convert", "v.bin", output, "--limit", 30) == 0
    assert capsys.readouterr().out == f"30 words of width 12: {output}\n"
    loaded = WordVectors.load(output)
    assert loaded.words == vectors.words[:30]
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors[:30])
    assert run("convert", output, "again", "--to", "binary", "--limit", 20) == 0
    assert run("neighbors", "again", "king", "--format", "binary", "--topn", 30) == 0
    assert len(capsys.readouterr().out.splitlines()) == 21


def test_convert_for_tensorboard(directory):
    assert run("convert", "v.bin", "logs", "--to", "projector") == 0
    names = sorted(path.name for path in (directory / "logs").iterdir())
    assert names == ["metadata.tsv", "projector_config.pbtxt", "vectors.tsv"]


def test_convert_words_that_are_no_text(directory):
    (directory / "odd.txt").write_bytes(b"1 1\ncaf\xe9 1\n")
    assert run("convert", "odd.txt", "new.txt") == 2
    assert run("convert", "odd.txt", "new.txt", "--unicode-errors", "replace") == 0
    assert WordVectors.load("new.txt").words == ["caf\ufffd"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("neighbors v.bin nobody", "the word 'nobody' is not among the 44 words"),
        ("neighbors v.bin kings", "the word 'kings' is not among the 44 words; similar ones: king"),
        ("analogy v.bin man king girl", "the word 'girl' is not among the 44 words"),
        ("neighbors nowhere.bin king", "nowhere.bin: No such file or directory"),
        ("neighbors . king --format text", r"\.: Is a directory"),
        ("neighbors v king", "the name of v does not show its format"),
        ("neighbors v.bin", "the following arguments are required: WORD"),
        ("neighbors v.bin king --topn 0", "argument --topn: '0' is not an integer at least 1"),
        ("neighbors v.bin king --format csv", "argument --format: invalid choice: 'csv'"),
        ("neighbors v.bin king --format text", "v.bin, line 2: expected a word and 12 numbers"),
        ("neighbors empty.txt king", "empty.txt, line 1: expected the number of words and"),
        ("analogy v.bin man king", "the following arguments are required: C"),
        ("eval v.bin --pairs nowhere", "nowhere: No such file or directory"),
        ("eval v.bin --pairs empty.txt", "empty.txt: 0 of 0 pairs have vectors"),
        ("eval v.bin --analogies empty.txt", "empty.txt holds no questions"),
        ("map v.bin --output map.gif", "--output map.gif ends neither in .html nor in .png"),
        ("map v.bin --words 3", "there are 3 words to draw; at least 5 are needed"),
        (
            "map v.bin --output no/map.html --words 5",
            "no: No such file or directory; --output no/map.html would go there",
        ),
        ("map v.bin --words 9 --skip 40", "there are 4 words to draw; at least 5 are needed"),
        ("map v.bin --skip -1", "argument --skip: '-1' is not an integer at least 0"),
        ("map v.bin --only v.bin", "v.bin is not UTF-8 text: "),
        ("map v.bin --leave-out nowhere", "nowhere: No such file or directory"),
        ("map v.bin --output v.bin.html/a.html", "v.bin.html: No such file or directory; "),
        ("convert v.bin v.bin", "OUTPUT v.bin is the same file as VECTORS v.bin, which would be"),
        ("convert v.bin empty.txt --to projector", "empty.txt: Not a directory; OUTPUT empty.txt"),
        ("convert v.bin v.xyz", "the name of v.xyz does not show its format"),
        ("convert v.bin no/v.txt", "no: No such file or directory; OUTPUT no/v.txt would go there"),
        ("convert v.bin /dev/full --to text", "/dev/full: No space left on device"),
        ("convert v.bin v.txt --from projector", "argument --from: invalid choice"),
    ],
)
def test_errors_in_one_line(command, message, capsys, directory, monkeypatch):
    monkeypatch.setattr(maps, "_PAGE_ITERATIONS", 1)
    (directory / "empty.txt").touch()
    try:
        status = run(*command.split())
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status == 2
    name = command.split()[0]
    assert re.fullmatch(rf"fastw2v {name}: error: .*{message}.*\n", error)


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".glove", ".npz", ".kv", ".txt.gz"])
def test_damaged_files_in_one_line(suffix, vectors, capsys, directory):
    """Never a traceback, whatever bytes a file holds."""
    vectors.save(directory / f"whole{suffix}")
    whole = (directory / f"whole{suffix}").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(25):
        damaged = bytearray(whole)
        if number % 2:
            places = rng.integers(0, len(whole) if number % 3 else 100, size=rng.integers(1, 9))
            damaged[:] = whole
            for place in places:
                damaged[place] = rng.integers(256)
        else:
            del damaged[rng.integers(len(whole)) :]
        (directory / f"d{suffix}").write_bytes(damaged)
        status = run("neighbors", f"d{suffix}", "king")
        lines = capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("fastw2v neighbors: error: ")]
        warned = [line for line in lines if line.startswith("fastw2v neighbors: warning: ")]
        assert len(errors) == (status == 2) and len(errors) + len(warned) == len(lines), lines
        assert status in (0, 2)


def test_eval_without_files(capsys, monkeypatch):
    monkeypatch.setattr(eval_command.importlib.util, "find_spec", lambda name: None)
    assert run("eval", "v.bin") == 2
    assert "no test files: give --pairs FILE" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["eval", "neighbors", "analogy", "map", "convert"])
def test_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"usage: fastw2v {command}" in printed
    assert "VECTORS" in printed and "binary are those of word2vec" in printed


def test_tensorflow_is_not_needed(directory):
    """Which takes seconds to import: neighbors of a word are there at once."""
    program = (
        "import sys; from fastw2v import cli\n"
        "cli.main(['neighbors', 'v.bin', 'king'])\n"
        "print('tensorflow' in sys.modules)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.endswith("False\n")
