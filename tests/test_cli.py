import os
import platform
import random
import re
import signal
import subprocess
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from gensim.models import KeyedVectors
from matplotlib import image

import fastw2v
from fastw2v import cli
from fastw2v.commands import demo, info
from fastw2v.word2vec.corpus import docstrings
from fastw2v.word2vec.vectors import UnknownWordError, WordVectors

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnpt" for b in "aeiou" for c in "nrs"]
SMALL = ["--vector-size", "12", "--epochs", "1"]


@pytest.fixture
def text(tmp_path):
    """A file of 9000 words, 150 different ones."""
    draw = random.Random(0)
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(draw.choices(WORDS, k=9)) for _ in range(1000)))
    return path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_demo_on_a_text(text, tmp_path, capsys):
    output = tmp_path / "some" / "where"
    assert run("demo", "--text", text, "--output-dir", output, *SMALL) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"reads {text}, trains word vectors and writes vectors.txt,")
    assert f"read 9,000 words from {text} in" in printed
    assert "training vectors of width 12 for 150 words that occur at least 5 times" in printed
    assert re.search(r"trained in \d+ s \([\d,]+ words/s\): 1 of 1 pass.*, loss \d", printed)
    assert re.search(r"nearest neighbors\n(  \w+ +(\w+ -?\d\.\d\d(, |\n)){6}){10}", printed)
    assert f"vectors in word2vec text format: {output / 'vectors.txt'}" in printed
    assert f"to move, zoom and search: {output / 'map.html'}" in printed
    assert f"in a picture: {output / 'map.png'}" in printed

    vectors = KeyedVectors.load_word2vec_format(output / "vectors.txt")
    assert vectors.vectors.shape == (150, 12)
    assert sorted(vectors.index_to_key) == sorted(WORDS)
    assert vectors.most_similar(WORDS[0])[0][0] in WORDS
    assert np.isfinite(vectors.vectors).all() and vectors.vectors.std() > 0.01
    assert WORDS[0] in (output / "map.html").read_text()
    pixels = image.imread(output / "map.png")[..., :3]
    assert pixels.shape == (1100, 1600, 3)
    assert 10_000 < (pixels.min(axis=2) < 0.5).sum() < 300_000


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of 9000 words, in place of those that are there."""
    draw = random.Random(0)
    package = tmp_path / "package"
    package.mkdir()
    for number in range(20):
        sentences = [" ".join(draw.choices(WORDS, k=9)) for _ in range(50)]
        (package / f"m{number}.py").write_text('"""{}\n"""'.format("\n\n".join(sentences)))
    (package / "broken.py").write_text('"""Open')
    monkeypatch.setattr(docstrings, "package_directories", lambda: [package])


def test_demo_on_docstrings(package, tmp_path, capsys):
    output = tmp_path / "output"
    assert run("demo", "--output-dir", output, *SMALL) == 0
    printed = capsys.readouterr().out
    assert (
        "read 9,000 words from 20 docstrings of 21 Python files (0 repeated paragraphs left out, "
        "1 files unreadable)"
    ) in printed
    assert sorted(WordVectors.load_word2vec_format(output / "vectors.txt").words) == sorted(WORDS)


def test_demo_does_not_write_over_its_text(text, tmp_path, capsys):
    text = text.rename(tmp_path / "vectors.txt")
    before = text.read_bytes()
    assert run("demo", "--text", text, "--output-dir", tmp_path, *SMALL) == 2
    assert f"is the same file as --text {text}, which" in capsys.readouterr().err
    assert text.read_bytes() == before
    assert run("demo", "--text", tmp_path, "--output-dir", tmp_path, *SMALL) == 2
    assert "what is written there would be read the next time" in capsys.readouterr().err


def test_the_seed_decides(text, tmp_path):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("demo", "--text", text, "--output-dir", tmp_path / name, "--seed", seed, *SMALL)
        results.append((tmp_path / name / "vectors.txt").read_bytes())
    assert results[0] == results[1] != results[2]


def test_limits_are_told(text, tmp_path, capsys):
    output = ["--output-dir", tmp_path, *SMALL, "--epochs", "1000000"]
    assert run("demo", "--text", text, *output, "--max-seconds", 4) == 0
    assert "--max-seconds ended training" in capsys.readouterr().out


def test_reading_ends_at_a_third_of_the_time(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "_READING_SHARE", 0.0)
    assert run("demo", "--output-dir", tmp_path / "output", *SMALL, "--min-count", 1) == 0
    assert "a third of --max-seconds was over" in capsys.readouterr().out


def test_probes():
    english = ["the", "of", "king", "image", "matrix", "telephone"]
    assert demo._probes(english) == ["image", "matrix", "king", "telephone", "the", "of"]
    german = [f"wort{'e' * (number % 20)}" for number in range(1000)] + ["image"]
    assert demo._probes(german) == ["image"] + [f"wort{'e' * 19}"] * 9


def test_without_matplotlib(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("demo", "--text", text, "--output-dir", tmp_path, *SMALL) == 0
    printed = capsys.readouterr()
    assert "vectors in word2vec text format" in printed.out
    assert len(WordVectors.load_word2vec_format(tmp_path / "vectors.txt")) == 150
    assert "pip install 'fastw2v[demo]' brings matplotlib" in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "nowhere.txt"], "nowhere.txt: No such file or directory"),
        (["--text", "binary"], "binary is not UTF-8 text: byte 0xff"),
        (["--text", "."], "not UTF-8 text: byte 0xff"),
        (["--text", "short.txt"], "too few words: 4 different ones occur at least --min-count = 5"),
        (["--text", "empty.txt"], "too few words: 0 different ones"),
        (["--text", "text.txt", "--output-dir", "empty.txt"], "empty.txt: Not a directory"),
        (["--text"], "argument --text: expected one argument"),
        (["--epochs", "0"], "argument --epochs: '0' is not an integer at least 1"),
        (["--epochs", "1.5"], "argument --epochs: '1.5' is not an integer at least 1"),
        (["--vector-size", "wide"], "argument --vector-size: 'wide' is not an integer at least 1"),
        (["--alpha", "0"], "argument --alpha: '0' is not a number above 0"),
        (["--alpha", "nan"], "argument --alpha: 'nan' is not a number above 0"),
        (["--sample", "-1"], "argument --sample: '-1' is not a number at least 0 and below 1"),
        (["--sample", "1"], "argument --sample: '1' is not a number at least 0 and below 1"),
        (["--seed", "-1"], "argument --seed: '-1' is not an integer at least 0"),
        (["--max-seconds", "inf"], "argument --max-seconds: 'inf' is not a number above 0"),
        (["--color", "red"], "unrecognized arguments: --color red"),
    ],
)
def test_errors_in_one_line(arguments, message, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe\x00\x01")
    Path("empty.txt").touch()
    Path("short.txt").write_text("to be or not to be " * 5 + "that " * 4)
    try:
        status = run("demo", *arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert re.fullmatch(r"fastw2v( demo)?: error: .*\n", error)


def test_without_a_command_all_are_listed(capsys):
    assert run() == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    for command in (*cli._COMMANDS, *cli._OTHER_PROGRAMS):
        assert re.search(rf"^ +{command} +[a-z].*$", printed.out, re.M)


@pytest.mark.parametrize(("arguments", "usage"), [([], "COMMAND"), (["train"], "[-h] --output")])
def test_help_as_a_command(arguments, usage, capsys):
    with pytest.raises(SystemExit, match="0"):
        run("help", *arguments)
    assert usage in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trian", "fastw2v: error: there is no command 'trian': did you mean train?"),
        ("sing", "fastw2v: error: there is no command 'sing': it is one of train, eval,"),
        ("--sing", "fastw2v: error: the following arguments are required: COMMAND; fastw2v --help"),
        ("train t -o v --vectorsize 50", ": --vectorsize 50: did you mean --vector-size?"),
        ("train t -o v --vector_size=50", ": --vector_size=50: did you mean --vector-size?"),
        ("train --vectorsize 50", "required: --output/-o: did you mean --vector-size?"),
        ("train -train t -output v.bin -size 9", "v.bin -size 9: did you mean --output, --vector"),
        ("train t -o v --iter 3 --threads 2", ": did you mean --epochs, --workers?"),
        ("train t -o v --cbow 1", "unrecognized arguments: --cbow 1: did you mean --sg?"),
        ("map v.bin --out m.html", "fastw2v map: error: unrecognized arguments: --out m.html: did"),
        ("map v.bin --bogus", "unrecognized arguments: --bogus; fastw2v map --help lists the"),
        ("neighbors v.bin", "fastw2v neighbors: error: the following arguments are required: WORD"),
        ("neighbors v.bin king -o", "unrecognized arguments: -o; fastw2v neighbors --help"),
    ],
)
def test_what_is_mistyped(command, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(*command.split())
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\n  lines"), "two; lines"),
        (OSError(28, "No space left on device", "v.txt"), "v.txt: No space left on device"),
        (OSError("it became shorter"), "it became shorter"),
        (UnknownWordError("kin", ["king"]), "the word 'kin' is not among the 1 words"),
        (MemoryError(), "out of memory"),
        (MemoryError("Unable to allocate 9 TiB"), "out of memory: Unable to allocate 9 TiB"),
        (ImportError("No module named 'zstandard'"), "No module named 'zstandard'"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "OOM"),
    ],
)
def test_errors_that_the_library_documents(error, message, monkeypatch, capsys):
    monkeypatch.setattr(info, "run", lambda options: _raise(error))
    assert run("info") == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"fastw2v info: error: {message}") and printed.count("\n") == 1


def test_other_errors_are_faults_of_the_program(monkeypatch):
    monkeypatch.setattr(info, "run", lambda options: _raise(KeyError("words")))
    with pytest.raises(KeyError, match="words"):
        run("info")


def test_warnings_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(info, "run", lambda options: warnings.warn("a\nb", stacklevel=1))
    assert run("info") == 0
    assert capsys.readouterr().err == "fastw2v info: warning: a; b\n"


def test_output_that_nobody_reads(tmp_path):
    """As of `fastw2v neighbors ... | head`, and on a full disk."""
    WordVectors([f"w{row}" for row in range(5000)], np.ones((5000, 2))).save(tmp_path / "v.bin")
    command = [sys.executable, "-m", "fastw2v.cli", "neighbors", "v.bin", "w1", "--topn", "5000"]
    reader, writer = os.pipe()
    os.close(reader)
    for output, status, message in (
        (writer, 0, ""),
        ("/dev/full", 2, "fastw2v neighbors: error: No space left on device\n"),
    ):
        with open(output, "w") as file:
            done = subprocess.run(
                command, cwd=tmp_path, stdout=file, stderr=subprocess.PIPE, text=True
            )
        assert (done.returncode, done.stderr) == (status, message)


def test_info(capsys):
    assert run("info") == 0
    printed = dict(re.findall(r"^(.+?)  +(.+)$", capsys.readouterr().out, re.M))
    assert printed["fastw2v"].startswith(fastw2v.__version__)
    assert printed["TensorFlow"] == sys.modules["tensorflow"].__version__
    assert printed["Keras"] == metadata.version("keras")
    assert printed["Python"] == platform.python_version()
    assert printed["instruction set"]
    assert int(printed["threads"]) >= 1
    assert printed["GPU support"].startswith(("yes", "no"))
    assert printed["GPUs"]


def test_help_comes_without_tensorflow(tmp_path):
    program = (
        "import sys; from fastw2v import cli\n"
        "try: cli.main(['demo', '--help'])\n"
        "except SystemExit: print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    printed = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "--output-dir" in printed
    assert printed.endswith("False\n")


@pytest.mark.parametrize("stage", ["reading docstrings", "training"])
def test_interrupted(stage, text, tmp_path):
    output = tmp_path / "output"
    command = [sys.executable, "-u", "-m", "fastw2v.cli", "demo", "--output-dir", str(output)]
    if stage == "training":
        command += ["--text", str(text), *SMALL, "--epochs", "1000000"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests may run in the background of a shell that has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        if stage == "training":
            for line in process.stdout:
                if line.startswith("training"):
                    break
        while not output.exists() and process.poll() is None:  # the imports take their time
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: to the workers as well
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert error.endswith("\nfastw2v demo: interrupted\n")
    assert "Traceback" not in error
