"""The benchmarks: each runs in its quick setting; the README and the site say what the CSVs say."""

from __future__ import annotations

import csv
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import fastw2v

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch):
    """Imports a script of the benchmarks by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def run(script: str, *arguments: object) -> str:
    finished = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=BENCHMARKS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def measured(script: str, output: Path, columns: tuple, *arguments: object) -> tuple[str, list]:
    """What a script prints in its quick setting, and the rows of the CSV, which has the columns."""
    printed = run(script, "--quick", *arguments, "--output", output)
    with output.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames) == columns
    return printed, rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["adaptive", "exact", "sampled", "latency", "top_k", "retrieval"]
)
def test_script_writes_its_table_and_csv(script, tmp_path, benchmark_module):
    output = tmp_path / "results" / f"{script}.csv"
    columns = benchmark_module("harness").COLUMNS
    printed, rows = measured(script, output, columns)
    cases = {tuple(row[name] for name in columns[:7]) for row in rows}
    assert len(cases) >= 2
    for row in rows:
        assert row["contestant"] in printed
        assert 0 < float(row["p20_s"]) <= float(row["median_s"]) <= float(row["p80_s"])
        for name in ("gflops", "matmul_share", "time_ratio", "matmul_gflops", "copy_gbytes_per_s"):
            assert float(row[name]) > 0, name
        for name in ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "python"):
            assert row[name], name
        assert (script == "latency") == (row["peak_extra_bytes"] == "")
    for case in cases:
        contestants = {
            row["contestant"]: row
            for row in rows
            if tuple(row[name] for name in columns[:7]) == case
        }
        assert {"fastw2v", "TensorFlow"} <= set(contestants)
        assert float(contestants["fastw2v"]["time_ratio"]) == 1

    readme = tmp_path / "README.md"
    figures = benchmark_module("figures")
    readme.write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n")
    places = ("--readme", readme, "--pages", tmp_path / "pages", "--plots", tmp_path)
    run("figures", "--results", output.parent, *places)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert figures.current(text) == figures.section(output.parent)
    page = (tmp_path / "pages" / f"{script}.md").read_text()
    assert page.count("\n| ") == 2 + len(cases)  # the head takes two lines
    assert rows[0]["cpu"] in page
    assert f"({script}.md)" in (tmp_path / "pages" / "index.md").read_text()


@pytest.mark.slow
def test_data_writes_its_table_and_csv(tmp_path, benchmark_module):
    output = tmp_path / "results" / "data.csv"
    printed, rows = measured("data", output, benchmark_module("data").COLUMNS)
    contestants = [row["contestant"] for row in rows]
    assert contestants.count("Keras") == contestants.count("fastw2v") == 2
    assert contestants.count("fastw2v, in tf.data") == 2
    for row in rows:
        assert row["contestant"] in printed
        assert 0 < float(row["p20_s"]) <= float(row["median_s"]) <= float(row["p80_s"])
        assert int(row["pairs"]) >= int(row["examples"]) > 0
        assert float(row["pairs_per_s"]) > 0
        assert (row["contestant"] != "Keras") or float(row["times_keras"]) == 1
        for name in ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "python"):
            assert row[name], name


@pytest.mark.slow
def test_recall_is_the_same_of_stored_logits(tmp_path, benchmark_module):
    output = tmp_path / "results" / "recall.csv"
    recall = benchmark_module("recall")
    printed, rows = measured("recall", output, recall.COLUMNS)
    found = {(row["setting"], row["contestant"]): float(row["recall_at_10"]) for row in rows}
    for setting in recall.SETTINGS:
        assert setting in printed
        assert found[setting, "fastw2v"] == pytest.approx(found[setting, "reference"], abs=5e-3)
    page = benchmark_module("figures").pages(output.parent)["recall.md"]
    assert page.count("\n| ") == 2 + len(recall.SETTINGS)


@pytest.mark.slow
def test_adaptive_quality_writes_its_csv_and_table(tmp_path, benchmark_module):
    output = tmp_path / "adaptive_quality.csv"
    columns = benchmark_module("adaptive_quality").COLUMNS
    printed, rows = measured("adaptive_quality", output, columns, "--package", "keras")
    assert [row["head"].partition(",")[0] for row in rows] == ["exact", "adaptive"]
    for row in rows:
        assert row["head"] in printed and row["cpu"]
        assert 1 < float(row["perplexity"]) < 1e4  # of few words it may be above their number
    page = benchmark_module("figures").pages(tmp_path)["adaptive_quality.md"]
    assert page.count("\n| ") == 2 + len(rows)


@pytest.mark.slow
def test_growing_writes_its_table_and_csv(tmp_path, benchmark_module):
    output = tmp_path / "results" / "growing.csv"
    growing = benchmark_module("growing")
    printed, rows = measured("growing", output, growing.COLUMNS)
    for row in rows:
        assert row["contestant"] in printed
        if row["work"] == "clicks":
            assert 0.4 < float(row["auc"]) < 1
            continue
        assert float(row["median_s"]) > 0
        if row["contestant"] == growing.FIXED:
            assert float(row["times_fixed"]) == 1
    assert [row["work"] for row in rows].count("new ids") == len(growing.QUICK_NEW_IDS)
    page = benchmark_module("figures").pages(output.parent)["growing.md"]
    assert page.count("\n| ") == 2 * 3 + 2 + 2 + 4  # heads, times, new ids, clicks


@pytest.mark.slow
def test_training_writes_its_table_and_csv(tmp_path, benchmark_module):
    output = tmp_path / "results" / "training.csv"
    printed, rows = measured("training", output, benchmark_module("training").COLUMNS)
    contestants = [row["contestant"] for row in rows]
    assert contestants.count("fastw2v") == len(benchmark_module("training").QUICK)
    assert contestants.count("TensorFlow, Keras") == contestants.count("fastw2v, tape") == 3
    for row in rows:
        assert row["contestant"] in printed
        assert 0 < float(row["p20_s"]) <= float(row["median_s"]) <= float(row["p80_s"])
        assert row["contestant"] != "fastw2v" or float(row["time_ratio"]) == 1
        for name in ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "python"):
            assert row[name], name


@pytest.mark.slow
def test_word2vec_writes_its_table_and_csv(tmp_path, benchmark_module):
    output = tmp_path / "results" / "word2vec.csv"
    word2vec = benchmark_module("word2vec")
    printed, rows = measured("word2vec", output, word2vec.COLUMNS)
    found = {(row["part"], row["contestant"], row["measure"]): row for row in rows}
    assert float(found["speed", "fastw2v", "times_gensim"]["value"]) > 0
    for contestant in ("fastw2v", "gensim"):
        assert float(found["speed", contestant, "words_per_s"]["value"]) > 0
        for measure in ("wordsim353", "simlex999", "analogies"):
            row = found["quality", contestant, measure]
            assert -1 <= float(row["low"]) <= float(row["value"]) <= float(row["high"]) <= 1
    for row in rows:
        assert row["contestant"] in printed and row["measure"] in printed
        for name in ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "gensim"):
            assert row[name], name
    table = benchmark_module("tables").tables_of("word2vec", rows)
    assert "| skip-gram, 100 wide |" in table and "| WordSim-353 |" in table

    # Another run of a case takes its rows' place, and leaves other cases and other texts.
    speed = [row for row in rows if row["part"] == "speed"]
    quality = [row for row in rows if row["part"] == "quality"]
    assert word2vec.merged(output, speed[:1]) == [speed[0], *quality]
    other = speed[0] | {"text": "others"}
    assert word2vec.merged(output, [other]) == [*speed, other, *quality]


@pytest.mark.slow
def test_subwords_writes_its_table_and_csv(tmp_path, benchmark_module):
    output = tmp_path / "results" / "subwords.csv"
    printed, rows = measured("subwords", output, benchmark_module("subwords").COLUMNS)
    cases = {(row["text"], row["form"], row["contestant"]) for row in rows}
    assert len(cases) == len(rows) == 8
    for row in rows:
        assert row["contestant"] in printed and float(row["words_per_s"]) > 0
        scores = [row[name] for name in ("wordsim353", "simlex999", "analogies")]
        if row["text"] == "test words":
            assert all(-1 <= float(score) <= 1 for score in scores) and not row["unseen"]
        else:
            assert not any(scores) and 0 <= float(row["unseen"]) <= 1
    table = benchmark_module("tables").tables_of("subwords", rows)
    assert table.count("| fastw2v |") == 4


@pytest.mark.slow
def test_doc2vec_writes_its_table_and_csv(tmp_path, benchmark_module):
    output = tmp_path / "results" / "doc2vec.csv"
    printed, rows = measured("doc2vec", output, benchmark_module("doc2vec").COLUMNS)
    found = {(row["text"], row["contestant"], row["measure"]): float(row["value"]) for row in rows}
    for contestant in ("fastw2v", "gensim"):
        for measure in ("train_words_per_s", "infer_words_per_s"):
            assert found["test words", contestant, measure] > 0
        assert 0 <= found["Lee's documents", contestant, "itself"] <= 1
        assert 0.1 < found["documents of ten classes", contestant, "accuracy"] <= 1
    assert all(row["measure"] in printed for row in rows)
    table = benchmark_module("tables").tables_of("doc2vec", rows)
    assert "| training | PV-DBOW |" in table and "accuracy of classification" in table


def test_readme_says_what_the_csvs_say(benchmark_module):
    figures = benchmark_module("figures")
    assert figures.current(figures.README.read_text()) == figures.section(figures.RESULTS)


def test_pages_say_what_the_csvs_say(benchmark_module):
    figures = benchmark_module("figures")
    written = figures.pages(figures.RESULTS)
    assert {path.name for path in figures.PAGES.glob("*.md")} == written.keys()
    for name, text in written.items():
        assert (figures.PAGES / name).read_text() == text, f"run benchmarks/figures.py: {name}"


@pytest.mark.slow
def test_distributed_writes_its_csv(tmp_path, benchmark_module):
    columns = benchmark_module("distributed").COLUMNS
    path = tmp_path / "distributed.csv"
    run("distributed", "--quick", "--output", path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == columns
    assert len(rows) == 6 and {row["processes"] for row in rows} == {"2"}
    for row in rows:
        assert float(row["median_s"]) > 0 and int(row["wire_bytes"]) > int(row["model_bytes"]) > 0
    sharded = [row for row in rows if row["contestant"] == "fastw2v, sharded"]
    assert all(int(row["collectives"]) <= 4 for row in sharded)


@pytest.mark.slow
def test_distributed_word2vec_writes_its_csv(tmp_path, benchmark_module):
    columns = benchmark_module("distributed_word2vec").COLUMNS
    path = tmp_path / "distributed_word2vec.csv"
    run("distributed_word2vec", "--quick", "--output", path)
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == columns and row["processes"] == "2"
    assert int(row["merges"]) >= 2 and 0 < float(row["merging_share"]) < 1
    assert int(row["wire_bytes"]) > 0 and -1 <= float(row["wordsim353"]) <= 1


def test_the_page_says_what_the_model_says(benchmark_module):
    model = benchmark_module("distributed_model")
    page = model.PAGE.read_text()
    assert model.replaced(page, model.section()) == page
    assert model.PLOT.exists()


def test_bytes_on_paper(benchmark_module):
    model = benchmark_module("distributed_model")
    problem = model.Problem(2, 512, 50_000, 128)
    assert model.mirrored_exact(problem) == 50_000 * 129 * 4
    hidden, labels, numbers = 512 * 128 * 4, 512 * 8, 512 * 7 * 4
    assert model.sharded_exact(problem) == 2 * hidden + labels + numbers
    assert model.sharded_rows(problem) == 0.5 * 4096 * (2 * 512 + 8)


def test_plots_of_the_sweeps_are_there(benchmark_module):
    figures = benchmark_module("figures")
    for sweep in figures.RESULTS.glob("*_sweep.csv"):
        assert (figures.PLOTS / f"{sweep.stem}.png").exists()


def test_plot_shows_a_sweep(tmp_path, benchmark_module):
    figures = benchmark_module("figures")
    points = [(1, 100), (8, 100), (64, 100), (8, 1000)]
    rows = [
        {
            **{"loss": "softmax_loss", "batch": str(batch), "classes": str(classes)},
            **{"sampled": "0", "dim": "16", "contestant": contestant, "median_s": "0.5"},
        }
        for batch, classes in points
        for contestant in ("fastw2v", "TensorFlow")
    ]
    figures.plot(rows, tmp_path / "docs" / "sweep.png")
    assert 1000 < (tmp_path / "docs" / "sweep.png").stat().st_size < 200_000


def test_a_csv_of_two_machines_is_refused(benchmark_module):
    figures = benchmark_module("figures")
    row = dict.fromkeys(benchmark_module("harness").COLUMNS, "1")
    with pytest.raises(ValueError, match="mixes machines"):
        figures._machine([row, row | {"cpu": "another"}])


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("loss", ["sampled_softmax_loss", "nce_loss", "negative_sampling_loss"])
def test_composed_peer_computes_the_loss(loss, per_example, benchmark_module):
    batch, classes, dim, num_sampled = 6, 11, 3, 5
    generator = tf.random.Generator.from_seed(1)
    hidden, weights = generator.normal([batch, dim]), generator.normal([classes, dim])
    labels = generator.uniform([batch], 0, classes, tf.int64)
    sampler = fastw2v.samplers.LogUniform(classes)
    drawn = sampler.sample(labels[:, None], num_sampled, seed=(1, 2), per_example=per_example)
    if loss == "negative_sampling_loss":
        biases, drawn = None, (drawn[0], None, None)
        expected = fastw2v.reference.negative_sampling_loss(
            hidden, weights, tf.range(batch), labels, sampled_values=drawn
        )
    else:
        biases = generator.normal([classes])
        expected = getattr(fastw2v.reference, loss)(
            weights, biases, labels[:, None], hidden, sampled_values=drawn
        )
    composed = benchmark_module("sampled").composed_loss
    got = composed(loss, hidden, weights, biases, labels, drawn)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_log_uniform_classes_have_their_distribution(benchmark_module):
    log_uniform = benchmark_module("sampled").log_uniform
    even = (np.arange(100_000) + 0.5) / 100_000
    expected = np.log((np.arange(4) + 2) / (np.arange(4) + 1)) / np.log(5)
    for uniform in (even, tf.constant(even, tf.float32)):
        drawn = np.asarray(log_uniform(uniform, 4)).astype(np.int64)
        np.testing.assert_allclose(np.bincount(drawn) / drawn.size, expected, atol=1e-4)
