"""`fastw2v train`."""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from gensim.models import KeyedVectors

from fastw2v import cli
from fastw2v.commands import train
from fastw2v.word2vec.training import FastText, objectives, saved_model
from fastw2v.word2vec.training.settings import TABLE
from fastw2v.word2vec.vectors import FastTextVectors, WordVectors

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


def test_words_made_of_ngrams(text, capsys):
    command = [text, "-o", "model.bin", "--subwords", "--bucket", "900", "--max-n", "4", *SMALL]
    assert run(*command, "--checkpoint", "model", "--window", "4") == 0
    vectors = WordVectors.load("model.bin")
    assert isinstance(vectors, FastTextVectors) and sorted(vectors.words) == sorted(WORDS)
    assert (vectors.bucket, vectors.min_n, vectors.max_n, vectors.vector_size) == (900, 3, 4, 12)
    model = FastText.load("model")
    assert (model.sg, model.window) == (1, 4)
    assert (model.wv["banban"] == vectors["banban"]).all()
    loaded = FastText.load_facebook_model("model.bin")
    assert loaded.syn1neg.any() and (loaded.syn1neg == model.syn1neg).all()
    assert cli.main(["neighbors", "model.bin", "banban", "--topn", "3"]) == 0
    assert len(re.findall(r"^  \w+ +[01]\.\d+$", capsys.readouterr().out, re.M)) == 3
    assert run(*command, "--resume", "--checkpoint", "model") == 0
    assert run(text, "-o", "v.txt", "--resume", "--checkpoint", "model") == 2
    assert "is a model of FastText: load it by FastText.load" in capsys.readouterr().err


def test_options_of_the_other_kind_of_model(text, capsys):
    assert run(text, "-o", "v.txt", "--bucket", "5") == 2
    assert "--bucket says what n-grams are: it needs --subwords" in capsys.readouterr().err
    assert run(text, "-o", "v.txt", "--subwords", "--loss", "softmax") == 2
    assert "--loss is for whole words: it does not go with --subwords" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--sg", 0, "--cbow-mean", 0, "--window", 2, "--shrink-windows", 0],
        ["--loss", "sampled_softmax", "--num-sampled", 20, "--batch-size", 256],
        ["--schedule", "late", "--ns-exponent", -0.5, "--hs", 1],
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


def test_each_setting_is_an_option():
    """But for the comment, which nobody would read in a file of vectors."""
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers())
    options = vars(parser.parse_args(["train", "text.txt", "--output", "v.txt"]))
    assert not options.keys() & TABLE.keys()  # only those that are given
    required = ["train", "text.txt", "--output", "v.txt"]
    for setting in TABLE.values():
        option = "--" + setting.name.replace("_", "-")
        if setting.name == "comment":
            continue
        if setting.name == "deterministic":
            assert parser.parse_args([*required, option]).deterministic is True
            continue
        value = setting.choices[-1] if setting.choices else 1 if setting.high > 1 else 0
        given = parser.parse_args([*required, option, str(value)])
        assert getattr(given, setting.name) == value


def test_workers_are_those_of_the_model(text):
    """One thread gives the bits of one thread, in a process of its own."""
    command = [sys.executable, "-m", "fastw2v.cli", "train", "text.txt", "-o", "v.npz"]
    command += ["--vector-size", "12", "--checkpoint", "model"]
    subprocess.run([*command, "--workers", "1"], check=True, capture_output=True)
    from fastw2v import Word2Vec

    assert Word2Vec.load("model").workers == 1
    model = Word2Vec(corpus_file="text.txt", sg=1, vector_size=12, workers=1)
    assert WordVectors.load("v.npz").vectors.tobytes() == model.wv.vectors.tobytes()
    subprocess.run([*command, "--resume", "--workers", "2"], check=True, capture_output=True)
    assert Word2Vec.load("model").workers == 2


def test_files_on_the_way(text, capsys):
    Path("other.txt").write_text(" ".join(WORDS))
    command = [text, "--output", "vectors.txt", *SMALL, "--eval", "other.txt", "--cache", "ids"]
    assert run(*command, "--tensorboard", "logs") == 0
    assert len(re.findall(r"held out -\d\.\d{4}", capsys.readouterr().err)) == 2
    assert len(os.listdir("logs")) == 1 and Path("ids").stat().st_size > 36_000
    first = Path("vectors.txt").read_bytes()
    assert run(*command) == 0
    assert Path("vectors.txt").read_bytes() == first


def test_a_worker_is_lost(text, monkeypatch, capsys):
    def lost(model, *arguments, checkpoint, **options):
        if is_late:
            model.save(checkpoint)
        raise ConnectionError("another worker has ended")

    monkeypatch.setattr("fastw2v.word2vec.training.Word2Vec.train", lost)
    for is_late, remark in ((False, ""), (True, "; v.txt.checkpoint holds what was trained until")):
        assert run(text, "-o", "v.txt", *SMALL) == 2
        error = capsys.readouterr().err
        assert f"fastw2v train: error: another worker has ended{remark}" in error
        assert ("--resume" in error) == is_late


def test_several_workers_do_not_share_the_standard_input(monkeypatch, capsys):
    cluster = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", cluster)
    assert run("-", "-o", "v.txt") == 2
    assert "CORPUS - is the standard input, which each worker" in capsys.readouterr().err


def test_interrupted_and_resumed(text, monkeypatch, capsys):
    monkeypatch.setattr(objectives.TextObjective, "block_tokens", 3000)
    assert run(text, "--output", "whole.txt", *SMALL) == 0
    command = [text, "--output", "vectors.txt"]
    on_block = objectives.TextObjective.train

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return on_block(self, *arguments)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(objectives.TextObjective, "train", interrupted)
        capsys.readouterr()
        assert run(*command, *SMALL) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
        monkeypatch.setattr(objectives.TextObjective, "train", on_block)
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
        "fastw2v train: error: vectors.txt: No space left on device; vectors.txt.checkpoint holds "
        "what was trained: make room, or give another --output, and add --resume --checkpoint "
        "vectors.txt.checkpoint to write the vectors\n"
    )
    monkeypatch.setattr(WordVectors, "save", save)
    other = [text, "--output", "other.txt", "--checkpoint", "vectors.txt.checkpoint"]
    assert run(*other, "--resume") == 0
    assert len(WordVectors.load("other.txt")) == 150


def full_disk(monkeypatch, owner, is_full=lambda path: True):
    """Makes a `save` find no room where a path is on the full disk."""
    save = owner.save

    def full(self, path, *arguments, **options):
        if is_full(Path(path)):
            raise OSError(28, os.strerror(28), str(path))
        return save(self, path, *arguments, **options)

    monkeypatch.setattr(owner, "save", full)


def test_no_room_for_the_last_checkpoint(text, monkeypatch, capsys):
    """The vectors, which are smaller, are written all the same."""
    from fastw2v import Word2Vec

    full_disk(monkeypatch, Word2Vec)
    assert run(text, "--output", "vectors.txt", *SMALL) == 0
    assert len(WordVectors.load("vectors.txt")) == 150
    assert sorted(os.listdir()) == ["text.txt", "vectors.txt"]
    os.unlink("vectors.txt")
    capsys.readouterr()
    assert run(text, "--output", "vectors.txt", "--checkpoint", "model", *SMALL) == 2
    assert capsys.readouterr().err.endswith(
        "fastw2v train: error: --checkpoint model could not be written; the vectors are in "
        "vectors.txt\n"
    )
    assert len(WordVectors.load("vectors.txt")) == 150


def test_no_room_at_all(text, tmp_path, monkeypatch, capsys):
    """What was trained is kept where temporary files are, or the last checkpoint is named."""
    from fastw2v import Word2Vec

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    full_disk(monkeypatch, WordVectors)
    full_disk(monkeypatch, Word2Vec, lambda path: elsewhere not in path.parents)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    assert run(text, "--output", "vectors.txt", *SMALL) == 2
    found = re.search(
        r"vectors.txt: No space left on device; (\S+) holds what was trained: make room, and add "
        r"--resume --checkpoint \1 to go on\n$",
        capsys.readouterr().err,
    )
    assert Path(found[1]).parent.parent == elsewhere and saved_model.is_finished(found[1])

    full_disk(monkeypatch, Word2Vec)
    assert run(text, "--output", "vectors.txt", *SMALL) == 2
    assert f"what was trained is lost, as there is no room in {elsewhere}" in (
        capsys.readouterr().err
    )
    Path(found[1]).rename("vectors.txt.checkpoint")
    assert run(text, "--output", "vectors.txt", *SMALL) == 2
    assert "vectors.txt.checkpoint holds what was trained before: make" in capsys.readouterr().err
    assert run(text, "--output", "vectors.txt", "--resume") == 2
    assert "vectors.txt.checkpoint holds what was trained: make room" in capsys.readouterr().err
    assert saved_model.is_finished("vectors.txt.checkpoint")


def test_a_disk_that_will_be_too_small(text, monkeypatch, capsys):
    monkeypatch.setattr(
        train.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 10_000)
    )
    assert run(text, "--output", "vectors.txt", *SMALL) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (  # two tables of 150 vectors of 12 numbers; one has room
        "fastw2v train: warning: vectors.txt.checkpoint will take about 0.0144 MB, and 0.01 MB are "
        "free there"
    )
    assert len(lines) == 3


def test_a_time_limit(text, capsys):
    command = [text, "--output", "v.txt", *SMALL, "--epochs", 1_000_000, "--max-seconds", 2]
    assert run(*command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"trained in [1-9] s, loss \d\.\d{4}\n", printed)
    assert re.search(r"--max-seconds ended training in pass \d+ of 1000000 over", printed)
    assert sorted(os.listdir()) == ["text.txt", "v.txt"]


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
        (["text.txt", "--eval", "lonely.txt"], "--eval lonely.txt: "),
        (["text.txt", "--output", "text.txt"], "text.txt is the same file as CORPUS text.txt"),
        (["text.txt", "--checkpoint", "text.txt"], "--checkpoint text.txt is the same file as"),
        (["text.txt", "--cache", "text.txt"], "--cache text.txt is the same file as CORPUS"),
        (["text.txt", "--cache", "v.txt"], "--cache v.txt is the same file as --output v.txt"),
        (["text.txt", "--eval", "empty.txt", "-o", "empty.txt"], "same file as --eval empty.txt"),
        ([".", "--output", "v.txt"], "v.txt lies in CORPUS . and would be read the next time"),
        (["text.txt", "--tensorboard", "text.txt"], "text.txt: Not a directory"),
        (
            ["text.txt", "--checkpoint", "no/model"],
            "no: No such file or directory; --checkpoint",
        ),
        (["text.txt", "--cache", "no/ids"], "no: No such file or directory; --cache no/ids would"),
        (["text.txt", "--resume"], "v.txt.checkpoint: No such file or directory; there"),
        (["text.txt", "--checkpoint", "latin1.txt"], "latin1.txt is not a saved model of fastw2v"),
        (["text.txt", "--output", "vectors"], "the name of vectors does not show its format"),
        (["text.txt", "--output", "no/v.txt"], "no: No such file or directory"),
        (["text.txt", "--output", "directory.txt"], "directory.txt: Is a directory"),
        (["text.txt", "--loss", "softmax", "--alpha", "1e30", *SMALL], "Take a smaller alpha"),
        (["text.txt", "--sg", "2"], "--sg: '2' is not an integer at least 0 and at most 1"),
        (["text.txt", "--sg", "cbow"], "--sg: 'cbow' is not an integer at least 0 and at most 1"),
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
