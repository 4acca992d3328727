"""The programs in examples/: what each prints improves, and both sides end near each other.

The notebook runs in a Jupyter kernel, as its reader runs it: there code has no file, pictures are
outputs, and the doctor names cells. nbclient, of the Jupyter project, is what nbconvert runs too.
"""

from __future__ import annotations

import copy
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
# weights of the language models start from other numbers, as documents do.
CASES = {
    "word2vec": ("loss", False, "TensorFlow", 0.02),
    "two_towers": ("recall@10", True, "TensorFlow", 0.1),
    "in_batch": ("recall@10", True, "Keras", 0.1),
    # Ids that share a row of the hashed tables hold Keras' parts back.
    "undeclared_ids": ("auc", True, "Keras", 0.2),
    "language_model": ("perplexity", False, "Keras", 0.4),
    "doc2vec": ("recall", True, "gensim", 0.2),
    "subwords": ("unseen", True, "gensim", 0.3),
}


def test_every_example_is_run():
    others = {"distributed_softmax", "serving"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*CASES, *others}


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
    values = {}
    for side, epoch, what, value in LINE.findall(finished.stdout):
        assert what == metric
        values.setdefault(side, {})[int(epoch)] = float(value.replace(",", ""))
    assert {"fastw2v", other} <= values.keys()
    for side in values.values():
        first, *_, last = side.values()
        assert last > first if rises else last < first
    ours, theirs = values["fastw2v"], values[other]
    both = max(ours.keys() & theirs.keys())
    assert ours[both] == pytest.approx(theirs[both], rel=tolerance)
    # The time of each is told apart from what is the same at every run.
    times = re.findall(r"^(\w+) +.*\b\d+\.\d\d s$", finished.stderr, re.M)
    assert times == list(values)


@pytest.mark.slow
def test_served_models_answer_as_the_trained_one():
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / "serving.py"), "--quick"], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    names = re.findall(r"^(\w+) +8 of 8 answers are those", finished.stdout, re.M)
    assert names == ["fastw2v", "Keras", "TFLite"]
    assert re.findall(r"^(\w+) +\d+\.\d\d ms for 8 requests$", finished.stderr, re.M) == names


@pytest.fixture(scope="module")
def notebook():
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
    return nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)


def test_the_notebook_is_stored_without_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs(notebook, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    ran = copy.deepcopy(notebook)
    nbclient.NotebookClient(
        ran, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [out for cell in ran.cells if cell.cell_type == "code" for out in cell.outputs]
    printed = "".join(out.text for out in outputs if out.output_type == "stream")

    first, last = re.search(
        r"mean loss of the first pass (\S+), of the last (\S+)", printed
    ).groups()
    assert float(last) < 0.7 * float(first)
    before, after = re.search(r"exact loss: (\S+) nats .*, (\S+) after", printed).groups()
    assert float(after) < 0.8 * float(before)
    (picture,) = (out.data for out in outputs if out.output_type == "display_data")
    assert "image/png" in picture

    assert "ValueError: No gradients provided for any variable" in printed
    number = next(
        cell.execution_count
        for cell in ran.cells
        if cell.cell_type == "code" and "def loss_fn" in cell.source
    )
    assert f"weights: rounding\n  Cell In[{number}]:6 in loss_fn\n" in printed
    assert "nothing wrong; 1 variable with a gradient" in printed


@pytest.mark.parametrize("name", CASES)
def test_help(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as for a program that Python runs
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "--epochs" in printed and "--quick" in printed and "(default: " in printed
