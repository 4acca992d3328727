"""The programs in examples/: what each prints improves, and both sides end near each other."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from problems import run_processes

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LINE = re.compile(r"^(\w+) +epoch (\d+) +(\S+) ([\d.,]+)$", re.M)

# The metric, whether it rises, the other side, and how far apart the two may be (as a share). The
# weights of the language models start from other numbers.
CASES = {
    "word2vec": ("loss", False, "TensorFlow", 0.02),
    "two_towers": ("recall@10", True, "TensorFlow", 0.1),
    "language_model": ("perplexity", False, "Keras", 0.4),
}


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*CASES, "distributed_softmax"}


@pytest.mark.slow
def test_the_loss_of_two_processes_is_that_of_one():
    finished = run_processes(2, EXAMPLES / "distributed_softmax.py", "--quick")
    assert finished.returncode == 0, finished.stderr
    losses = re.findall(
        r"^\[0\] step [13]: loss (\S+) on 2 processes, (\S+) on one$", finished.stdout, re.M
    )
    (first, alone), (last, last_alone) = (map(float, pair) for pair in losses)
    assert last < first
    assert (first, last) == pytest.approx((alone, last_alone), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_metric_improves_on_both_sides(name, tmp_path):
    metric, rises, other, tolerance = CASES[name]
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    values = {"fastw2v": {}, other: {}}
    for side, epoch, what, value in LINE.findall(finished.stdout):
        assert what == metric
        values[side][int(epoch)] = float(value.replace(",", ""))
    ours, theirs = values.values()
    for side in (ours, theirs):
        first, *_, last = side.values()
        assert last > first if rises else last < first
    both = max(ours.keys() & theirs.keys())
    assert ours[both] == pytest.approx(theirs[both], rel=tolerance)
    # The time of each is told apart from what is the same at every run.
    times = re.findall(r"^(\w+) +.*\b\d+\.\d\d s$", finished.stderr, re.M)
    assert times == ["fastw2v", other]


@pytest.mark.parametrize("name", CASES)
def test_help(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "--epochs" in printed and "--quick" in printed and "(default: " in printed
