"""Word vectors on several workers."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from problems import run_processes

import fastw2v
from fastw2v.commands import _cluster
from fastw2v.word2vec.vectors import WordVectors

PROGRAM = Path(__file__).parent / "programs" / "word2vec.py"


@pytest.mark.slow
def test_processes(tmp_path):
    # With patience: the worker that is left has the time to say what it met.
    finished = run_processes(2, PROGRAM, tmp_path, patience=60)
    assert finished.returncode == 128 + 9, finished.stderr
    lines = finished.stdout.splitlines()
    printed = [[line[4:] for line in lines if line.startswith(f"[{rank}] ")] for rank in (0, 1)]
    assert printed[1][-1] == "all checks passed", finished.stderr
    assert printed[0] == [*printed[1], "told"], finished.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_fastw2v_train(tmp_path):
    text, output = tmp_path / "text.txt", tmp_path / "vectors.txt"
    text.write_text("one two three\nred green blue\n" * 3000)
    options = ["--vector-size", "4", "--sample", "0", "--epochs", "20"]
    finished = run_processes(2, "-m", "fastw2v.cli", "train", text, "-o", output, *options)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("[0] ") for line in lines), lines
    assert lines[2] == f"[0] 6 vectors of width 4: {output}"
    vectors = WordVectors.load(output)
    assert vectors.similarity("one", "two") > vectors.similarity("one", "red")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt", "vectors.txt"]


def test_one_replica_trains_alone():
    text = [["red", "green", "blue"], ["one", "two", "three"]] * 50
    options = {"vector_size": 8, "sample": 0, "deterministic": True}
    expected = fastw2v.Word2Vec(text, **options).wv.vectors
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = fastw2v.Word2Vec(text, **options)
        with pytest.raises(ValueError, match=r'loss = "softmax" .* scope of MirroredStrategy'):
            fastw2v.Word2Vec(text, loss="softmax")
    assert model.is_chief and (model.wv.vectors == expected).all()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", 1),
        ("{}", 1),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}', 1),
        ('{"cluster": {"worker": ["a:1", "b:1", "c:1"]}}', 3),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}}', 2),
    ],
)
def test_workers_of_a_cluster(config, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    assert _cluster.num_workers() == expected


@pytest.mark.parametrize("config", ["{", "[1]", '{"cluster": 3}', '{"cluster": {"worker": 2}}'])
def test_no_cluster(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="TF_CONFIG = .* does not describe a cluster"):
        _cluster.num_workers()
