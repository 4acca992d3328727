"""The search for faults finds faults that are planted."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v import _kernels
from fastw2v._losses import composed

TOOLS = Path(__file__).resolve().parent.parent / "tools"
BASELINE = _kernels.instruction_sets()[0]


@pytest.fixture
def fuzzing(monkeypatch):
    """Imports a module of tools/fuzzing by name."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return lambda name: importlib.import_module(f"fuzzing.{name}")


def failures(fuzzing, subject, seeds):
    harness = fuzzing("harness")
    found = (harness.run_case(harness.Subject.named(subject), seed, 10) for seed in seeds)
    return [text for text in found if text is not None]


def in_python(script, *arguments):
    """Runs a script that has seen no TensorFlow: it forks."""
    return subprocess.run(
        [sys.executable, "-c", script.format(tools=str(TOOLS)), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_the_losses_agree_with_numpy_and_a_wrong_definition_is_found(fuzzing, monkeypatch):
    losses = fuzzing("losses")
    draw = losses.draw

    def without_what_is_known(case):
        # With compute_dtype the op rounds after it has scaled a row.
        while (call := draw(case)).problem.bfloat16:
            pass
        return call

    monkeypatch.setattr(losses, "draw", without_what_is_known)
    assert failures(fuzzing, "losses", range(20)) == []
    solve = losses.numpy_losses.solve

    def wrong(problem, unit):  # one part in ten thousand, in the gradient of weights alone
        solved = solve(problem, unit)
        value = solved["weights"].value * 1.0001
        return {**solved, "weights": losses.Bounded(value, solved["weights"].bound)}

    monkeypatch.setattr(losses.numpy_losses, "solve", wrong)
    found = failures(fuzzing, "losses", range(8))
    assert len(found) >= 7  # gradients in 16 bits may hide it
    assert all("gradient of weights" in text for text in found)


def test_a_wrong_top_k_is_found(fuzzing, monkeypatch):
    tables, top_k = fuzzing("tables"), fastw2v.top_k
    monkeypatch.setattr(tables, "case", tables._top_k)
    assert failures(fuzzing, "tables", range(8)) == []

    def wrong(*arguments, **options):
        values, indices = top_k(*arguments, **options)
        return values, tf.reverse(indices, [-1])

    monkeypatch.setattr(fastw2v, "top_k", wrong)
    assert len(failures(fuzzing, "tables", range(8))) >= 6  # of few classes it may be right


@pytest.mark.parametrize("name", ["adaptive_softmax_loss", "adaptive_top_k"])
def test_a_wrong_adaptive_softmax_is_found(fuzzing, monkeypatch, name):
    function = getattr(fastw2v, name)
    assert failures(fuzzing, "adaptive", range(6)) == []
    monkeypatch.setattr(
        fastw2v,
        name,
        lambda *arguments, **options: tf.nest.map_structure(
            lambda part: part + tf.cast(1, part.dtype), function(*arguments, **options)
        ),
    )
    assert failures(fuzzing, "adaptive", range(6))


def test_a_wrong_answer_of_what_is_served_is_found(fuzzing, monkeypatch):
    assert failures(fuzzing, "served", range(4)) == []
    made = composed.Rows.__init__

    def wrong(self, *arguments):
        made(self, *arguments)
        self.values *= 1.01

    monkeypatch.setattr(composed.Rows, "__init__", wrong)
    assert len(failures(fuzzing, "served", range(4))) >= 3


def test_an_optimizer_with_a_wrong_rate_is_found(fuzzing, monkeypatch):
    tables, sgd = fuzzing("tables"), fastw2v.optimizers.SGD
    monkeypatch.setattr(tables, "case", tables._optimizer)
    monkeypatch.setattr(tables, "_momentum", tables._sgd)
    assert failures(fuzzing, "tables", range(8)) == []
    monkeypatch.setattr(fastw2v.optimizers, "SGD", lambda rate: sgd(1.01 * rate))
    assert any("rows after" in text for text in failures(fuzzing, "tables", range(8)))


def test_a_table_that_gives_other_rows_anew_is_found(fuzzing, monkeypatch):
    growing = fuzzing("growing")
    assert failures(fuzzing, "growing", range(10, 18)) == []
    monkeypatch.setattr(growing, "_LOOKS", 3)
    assert any("rows" in text for text in failures(fuzzing, "growing", range(10, 18)))


@pytest.mark.parametrize("value", [np.nan, 1e4])
def test_vectors_that_diverge_are_found(fuzzing, monkeypatch, value):
    table = tf.fill([3, 4], np.float32(value))
    model = types.SimpleNamespace(embeddings=tf.zeros([3, 4]), weights=table)
    monkeypatch.setattr(fastw2v, "Word2Vec", lambda text, **settings: model)
    (text,) = failures(fuzzing, "word_vectors", [1])
    assert "the longest vector of weights has length" in text


def test_documents_that_are_inferred_by_others_are_found(fuzzing, monkeypatch):
    assert failures(fuzzing, "documents", range(4)) == []
    alone = fastw2v.Doc2Vec.infer_vector
    monkeypatch.setattr(
        fastw2v.Doc2Vec, "infer_vector", lambda model, words: 1.01 * alone(model, words)
    )
    (text,) = failures(fuzzing, "documents", [1])
    assert "a document has another vector beside others" in text


def test_undocumented_exceptions_and_unnoticed_damage_are_found(fuzzing, monkeypatch):
    files = fuzzing("files")
    text = next(kind for kind in files.FORMATS if kind.name == "corpus.txt")
    monkeypatch.setattr(files, "FORMATS", [text])
    assert failures(fuzzing, "files", range(8)) == []
    # As if plain text had checksums.
    monkeypatch.setattr(files, "FORMATS", [dataclasses.replace(text, checksums="flips")])
    found = failures(fuzzing, "files", range(8))
    assert any("damage is not noticed" in text for text in found)

    def strict(path):
        return 1 / (path.read_bytes() == files._LINES)

    monkeypatch.setattr(files, "FORMATS", [dataclasses.replace(text, read=strict)])
    assert all("ZeroDivisionError" in text for text in failures(fuzzing, "files", range(8)))


def test_calls_that_raise_something_else_are_found(fuzzing, monkeypatch):
    malformed = fuzzing("malformed")
    _, make, errors = malformed.CALLS["top_k"]
    monkeypatch.setattr(malformed, "CALLS", {"top_k": (lambda case, **_: {}["k"], make, errors)})
    (text,) = failures(fuzzing, "malformed", [1])
    assert "raises builtins.KeyError" in text


def test_a_leak_is_found(fuzzing, monkeypatch):
    kept = []  # of more bytes than malloc takes from what other tests have freed
    leaks = {"a leak": lambda case: lambda: kept.append(np.ones(40 << 20, np.uint8))}
    monkeypatch.setattr(fuzzing("memory"), "LOOPS", leaks)
    (text,) = failures(fuzzing, "memory", [1])
    assert "a leak: 5 calls took" in text


KILLED = """
import sys
sys.path.insert(0, {tools!r})
from fuzzing import harness, kills

def torn(path):
    content = path.read_bytes()
    while True:
        path.write_bytes(content[: len(content) // 2])
        path.write_bytes(content)

harness.Case.chance = lambda case, probability: True  # vectors, which need no TensorFlow
kills._save_again_and_again = torn
subject = harness.Subject("kills", kills.case)
print([harness.run_case(subject, seed, 1) is not None for seed in range(8)])
"""


def test_files_that_a_kill_tears_are_found():
    assert "True" in in_python(KILLED).stdout


PLANTED = """
import os, sys, time
import numpy as np
sys.path.insert(0, {tools!r})
import fuzz
from fuzzing import harness

def crash(case):
    if case.seed >= 3:
        os.abort()

def hang(case):
    if case.seed >= 2:
        time.sleep(60)

def grow(case):
    return np.ones(100 << 20, np.uint8)

def refuse(case):
    raise KeyError(case.rng.integers(10**9))

subjects = [
    harness.Subject("losses", lambda case: None),
    harness.Subject("tables", crash),
    harness.Subject("files", grow, megabytes=50),
    harness.Subject("kills", refuse),
    harness.Subject("malformed", hang, seconds=0.2),
]
by_name = {{subject.name: subject for subject in subjects}}
harness.Subject.named = by_name.get
harness._TURN_SECONDS = 0.3
sys.exit(fuzz.main(sys.argv[1:]))
"""


def planted(*arguments):
    return in_python(PLANTED, *arguments)


def test_crashes_hangs_memory_and_exceptions_end_in_status_1_and_are_told(tmp_path, fuzzing):
    counts = fuzzing("counts")
    output, document = tmp_path / "fuzz.csv", tmp_path / "document.md"
    document.write_text(f"before\n{counts.BEGIN}\nold\n{counts.END}\nafter\n")
    names = ["losses", "tables", "files", "kills", "malformed"]
    common = ("--isa", BASELINE, "--first-seed", 1)
    written = ("--output", output, "--table", document)
    run = planted("--seconds", 4, *written, *common, "--subjects", *names)
    assert run.returncode == 1, run.stderr
    for message, subject, seed in (
        ("the process ended by SIGABRT", "tables", 3),
        ("the case took longer than 1 s", "malformed", 2),
        ("MB, more than 50", "files", 1),
        ("KeyError", "kills", 1),
    ):
        command = f"--subjects {subject} --isa {BASELINE} --seed {seed}"
        report = run.stdout[run.stdout.index(message) :]
        assert command in report[: report.index("\n\n")]
    with output.open(newline="") as file:
        rows = {row["subject"]: row for row in csv.DictReader(file)}
    assert list(rows) == names
    assert int(rows["losses"]["failures"]) == 0 < int(rows["losses"]["cases"])
    assert all(int(rows[name]["failures"]) > 0 for name in names[1:])

    text = document.read_text()
    assert text.startswith(f"before\n{counts.BEGIN}\n| subject |") and "old" not in text
    assert text.endswith(f"{counts.END}\nafter\n")
    cases = int(rows["losses"]["cases"])
    assert f"| losses | {cases:,} | 0 | {BASELINE} |" in text
    counts.append(output, {"losses": fuzzing("harness").Tally(cases=7, failures=1)})
    counts.write_table(output, document)
    assert f"| losses | {cases + 7:,} | 1 | {BASELINE} |" in document.read_text()

    # The command that repeats a case, and one where nothing fails.
    again = planted("--subjects", "tables", "--isa", BASELINE, "--seed", 3)
    assert again.returncode == 1 and "SIGABRT" in again.stdout
    clean = planted("--seconds", 0.5, *common, "--subjects", "losses")
    assert clean.returncode == 0 and "0 failed" in clean.stdout


def test_a_seed_makes_the_same_case_again(fuzzing):
    losses, harness = fuzzing("losses"), fuzzing("harness")
    cases = [harness.Case(7, np.random.default_rng(7), Path(), 1) for _ in range(2)]
    one, other = (losses.draw(case) for case in cases)
    assert one.name == other.name and one.dtype == other.dtype
    np.testing.assert_array_equal(one.tables["weights"], other.tables["weights"])
    np.testing.assert_array_equal(one.upstream, other.upstream)
