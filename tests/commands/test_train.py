"""`fastw2v train`."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gensim.models import KeyedVectors

from fastw2v import cli
from fastw2v.word2vec import objectives, saved_model
from fastw2v.word2vec.vectors import WordVectors

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnpt" for b in "aeiou" for c in "nrs"]
SMALL = ["--vector-size", "12", "--epochs", "2", "--deterministic"]


@pytest.fixture
def text(tmp_path, monkeypatch):
    """text.txt in the working directory: 9000 words, 150 different ones."""
    draw = random.Random(0)
    monkeypatch.chdir(tmp_path)
    path = Path("text.txt")
    path.write_text("\n".join(" ".join(draw.choices(WORDS, k=9)) for _ in range(1000)))
    return path


def run(*arguments):
    return cli.main(["train", *map(str, arguments)])


def test_a_text_becomes_vectors(text, capsys):
    assert run(text, "--output", "vectors.bin", *SMALL) == 0
    printed = capsys.readouterr()
    assert re.search(
        r"read 9,000 words of text.txt in \d+ s; 150 different ones occur at least 5", printed.out
    )
    assert re.search(r"trained in \d+ s, loss \d\.\d{4}\n", printed.out)
    assert "150 vectors of width 12: vectors.bin\n" in printed.out
    lines = printed.err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert sorted(os.listdir()) == ["text.txt", "vectors.bin"]
    vectors = KeyedVectors.load_word2vec_format("vectors.bin", binary=True)
    assert sorted(vectors.index_to_key) == sorted(WORDS) and vectors.vector_size == 12


@pytest.mark.parametrize(
    "options",
    [
        ["--sg", 0, "--cbow-mean", 0, "--window", 2, "--shrink-windows", 0],
        ["--loss", "sampled_softmax", "--num-sampled", 20, "--batch-size", 256],
        ["--min-count", 61, "--max-final-vocab", 40, "--tokenizer", "words", "--sample", 0],
    ],
)
def test_options_reach_the_model(text, options):
    command = [text, "--output", "vectors.npz", "--checkpoint", "model", *SMALL, *options]
    assert run(*command) == 0
    from fastw2v import Word2Vec

    model = Word2Vec.load("model")
    for name, value in zip(options[::2], options[1::2], strict=True):
        assert getattr(model, name[2:].replace("-", "_")) == value
    assert WordVectors.load("vectors.npz").words == model.wv.words
    assert saved_model.is_finished("model")


def test_files_on_the_way(text, capsys):
    Path("other.txt").write_text(" ".join(WORDS))
    command = [text, "--output", "vectors.txt", *SMALL, "--eval", "other.txt", "--cache", "ids"]
    assert run(*command, "--tensorboard", "logs") == 0
    assert len(re.findall(r"held out -\d\.\d{4}", capsys.readouterr().err)) == 2
    assert len(os.listdir("logs")) == 1 and Path("ids").stat().st_size > 36_000
    first = Path("vectors.txt").read_bytes()
    assert run(*command) == 0
    assert Path("vectors.txt").read_bytes() == first


def test_interrupted_and_resumed(text, monkeypatch, capsys):
    monkeypatch.setattr(objectives.TextObjective, "block_tokens", 3000)
    assert run(text, "--output", "whole.txt", *SMALL) == 0
    command = [text, "--output", "vectors.txt"]
    train = objectives.TextObjective.train

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return train(self, *arguments)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(objectives.TextObjective, "train", interrupted)
        capsys.readouterr()
        assert run(*command, *SMALL) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
        monkeypatch.setattr(objectives.TextObjective, "train", train)
    assert capsys.readouterr().err == (
        "\nfastw2v train: interrupted; vectors.txt.checkpoint holds what was trained: the same "
        "command with --resume goes on\n"
    )
    assert not Path("vectors.txt").exists()

    assert run(*command, *SMALL) == 2
    assert "a training that was interrupted: --resume goes on" in capsys.readouterr().err
    assert run(*command, "--resume", "--window", 3) == 2
    assert "--window 3 does not go with --resume: " in capsys.readouterr().err
    assert run(*command, "--resume") == 0
    assert Path("vectors.txt").read_bytes() == Path("whole.txt").read_bytes()
    assert not Path("vectors.txt.checkpoint").exists()


def test_what_cannot_be_written_is_not_lost(text, monkeypatch, capsys):
    """Vectors that the disk has no place for are in the checkpoint."""
    save = WordVectors.save

    def full(self, path, *arguments, **options):
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(WordVectors, "save", full)
    assert run(text, "--output", "vectors.txt", *SMALL) == 2
    assert capsys.readouterr().err.endswith(
        "fastw2v train: error: vectors.txt: No space left on device\n"
    )
    monkeypatch.setattr(WordVectors, "save", save)
    assert run(text, "--output", "vectors.txt", "--resume") == 0
    assert len(WordVectors.load("vectors.txt")) == 150


def test_a_terminal_interrupts(text):
    """The real thing: another process, Ctrl-C, and --resume."""
    command = [sys.executable, "-u", "-m", "fastw2v.cli", "train", "text.txt", "-o", "v.txt"]
    process = subprocess.Popen(
        [*command, *SMALL, "--epochs", "1000000"],
        stderr=subprocess.PIPE,
        text=True,
        # Tests may run in the background of a shell that has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr.readline().startswith("epoch 1 of 1000000")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "--resume goes on" in error and "Traceback" not in error
    assert not saved_model.is_finished("v.txt.checkpoint")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.txt"], "nowhere.txt: No such file or directory"),
        (["empty.txt"], "no word occurs at least min_count = 5 times: the text has 0 words"),
        (["word.txt"], "no word occurs at least min_count = 5 times: the text has 1 words"),
        (["text.txt", "--min-count", "1000"], "no word occurs at least min_count = 1000 times"),
        (["binary.txt"], "binary.txt is not text: it holds a zero byte"),
        (["latin1.txt"], "latin1.txt is not UTF-8 text"),
        (["lonely.txt"], "the text has no two words within one sentence to learn from"),
        (["text.txt", "--eval", "nowhere.txt"], "nowhere.txt: No such file or directory"),
        (["text.txt", "--eval", "lonely.txt"], "the text has no two words of the vocabulary"),
        (["text.txt", "--resume"], "v.txt.checkpoint: No such file or directory"),
        (["text.txt", "--checkpoint", "latin1.txt"], "latin1.txt is not a saved model of fastw2v"),
        (["text.txt", "--output", "vectors"], "the name of vectors does not tell its format"),
        (["text.txt", "--output", "no/v.txt"], "no: No such file or directory"),
        (["text.txt", "--output", "directory.txt"], "directory.txt: Is a directory"),
        (["text.txt", "--hs", "1"], "hs = 1 and negative = 5"),
        (["text.txt", "--alpha", "1e30", *SMALL], "take a smaller alpha"),
        (["text.txt", "--sg", "2"], "argument --sg: invalid choice: 2"),
        (["text.txt", "--epochs", "0"], "argument --epochs: '0' is not an integer at least 1"),
        (["text.txt", "--ns-exponent", "inf"], "argument --ns-exponent: 'inf' is not a number"),
    ],
)
def test_errors_in_one_line(arguments, message, text, capsys):
    Path("empty.txt").touch()
    Path("word.txt").write_text("word")
    Path("binary.txt").write_bytes(bytes(range(256)) * 20)
    Path("latin1.txt").write_bytes("café au lait\n".encode("latin1") * 20)
    Path("lonely.txt").write_text("bar\n" * 20)
    Path("directory.txt").mkdir()
    before = sorted(os.listdir())
    try:
        status = run("--output", "v.txt", *arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert re.fullmatch(r"fastw2v train: error: .*\n", error)
    assert sorted(os.listdir()) == before


def test_help_comes_without_tensorflow(tmp_path):
    program = (
        "import sys; from fastw2v import cli\n"
        "try: cli.main(['train', '--help'])\n"
        "except SystemExit: print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    printed = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "fastw2v train corpus.txt --output vectors.bin" in printed
    assert "(default: 0.025)" in printed
    assert printed.endswith("False\n")
