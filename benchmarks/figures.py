"""Writes the pages of docs/benchmarks, their plots and the figures of README.md from the CSVs.

A CSV has a page. In the README what stands between two comments is replaced by a few of their rows.
A CSV that is not there is left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ROOT / "docs" / "benchmarks"
PLOTS = ROOT / "docs" / "figures"
BEGIN = "<!-- Speed: written by benchmarks/figures.py -->"
END = "<!-- Speed: end -->"

Row = dict[str, str]

_OURS = "fastw2v"
_BFLOAT16 = " bfloat16"  # ends the name of a contestant that multiplies in it
_NOT_MEASURED = "Not measured yet; `make bench` measures and writes the figures here."
_MACHINE = ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python")
_CASE = ("loss", "batch", "classes", "sampled", "dim", "reduction", "compute_dtype")
_DOCUMENT_SCORES = {
    "itself": "nearest to their own inferred vector",
    "human": "correlation with people",
    "accuracy": "accuracy of classification, held out",
}
_SCORES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "analogies"}
_AXES = {"batch": "B", "classes": "V", "sampled": "S", "dim": "D"}
# Of each page: its title, the command that measures, and what is measured.
_PAGES = {
    "exact": (
        "Exact losses",
        "exact.py",
        "Exact softmax cross-entropy of B examples against V classes of width D, forward and "
        "backward, gradients of all arguments. The share is that of the rate of a large matrix "
        "product by TensorFlow in the same run, the operations counted as in the third column.",
    ),
    "adaptive": (
        "The adaptive softmax",
        "adaptive.py",
        "Mean loss of B examples against V classes in a head and clusters, forward and backward, "
        "gradients of all arguments; labels are log-uniform. TensorFlow is the same composed from "
        "its ops, PyTorch is AdaptiveLogSoftmaxWithLoss.",
    ),
    "adaptive_quality": (
        "Perplexity of the adaptive softmax",
        "adaptive_quality.py",
        "A language model, an LSTM, with the exact and with the adaptive softmax: perplexity of "
        "text left out of training, the mean over seeds, and their range.",
    ),
    "sampled": (
        "Sampled losses",
        "sampled.py",
        "Losses with S sampled classes, the sampler included, forward and backward, gradients of "
        "all arguments.",
    ),
    "latency": (
        "Small problems",
        "latency.py",
        "Small problems, where the cost of calling counts, forward and backward; the last two "
        "columns are calls outside a `tf.function`.",
    ),
    "top_k": (
        "The largest logits",
        "top_k.py",
        "The 100 classes of largest logit, of V: prediction, or nearest neighbors.",
    ),
    "retrieval": (
        "Retrieval with two towers",
        "retrieval.py",
        'The softmax over the B candidates of a batch, with log Q, forward and backward; "by id" '
        'with accidental hits removed, "hard" against the 100 negatives of the largest logits. '
        '"recall": how often the wanted item is among the 100 best of V. TFRS is TensorFlow '
        "Recommenders: `tfrs.tasks.Retrieval`, and `tfrs.metrics.FactorizedTopK` with "
        "`BruteForce`.",
    ),
    "recall": (
        "Recall of two towers",
        "recall.py",
        "How often an item that was left out of training is among the 10 best of all, after "
        "training by the softmax over a batch in several settings: mean and range over seeds, by "
        "fastw2v and by `fastw2v.reference`, which stores the logits.",
    ),
    "training": (
        "Training steps",
        "training.py",
        '"step" is a sampled softmax with the update of its weights and biases, in a '
        "`tf.function`, the sampler included (tape: with a GradientTape in place of "
        '`train_step`); "lazy" the same with Adam that applies pending updates; "rows" the update '
        'alone; "size" the step with larger tables.',
    ),
    "data": (
        "Skip-gram pairs",
        "data.py",
        "Skip-gram pairs from word ids, on one thread, in millions a second: whole windows, "
        "drawn and shuffled windows, the same through `tf.data` in batches of 1024, and Keras' "
        "`skipgrams`.",
    ),
    "growing": (
        "Tables that grow",
        "growing.py",
        "`keras.GrowingEmbedding` beside tables of fixed size, `keras.Embedding` of this library "
        "and that of Keras with its optimizers, in processor time on one thread. A step is a "
        "lookup in training, its gradient and the update. For the others the table says how many "
        "times as long they take "
        "as `GrowingEmbedding`. Below it: what it takes to give rows to ids that have none; and "
        "the area under the ROC curve on clicks held out, mean and range over seeds, of the models "
        "of `examples/undeclared_ids.py`.",
    ),
    "word2vec": (
        "Word vectors",
        "word2vec.py",
        "Word vectors by `fastw2v.Word2Vec` and by gensim's `corpus_file`, with the same settings, "
        "file and number of threads: words of the file per second, and how many times as many; "
        "peak memory beside that of the libraries. Scores are gensim's evaluation, mean and range "
        "over seeds; the log-likelihood is of a text held out.",
    ),
    "doc2vec": (
        "Vectors of documents",
        "doc2vec.py --corpus FILE",
        "Vectors of documents by `fastw2v.Doc2Vec` and by gensim, with the same settings and "
        "files, each on one thread: words of the file per second of the processor, and how many "
        "times as many, for training and for the inference of new documents. Scores are the mean "
        "and the range over seeds; the docstring of the script says what they are.",
    ),
    "word2vec_grid": (
        "Word vectors in many settings",
        "word2vec_grid.py",
        "Scores of `fastw2v.Word2Vec` and of gensim with the same sentences, settings and seeds, "
        "the mean over the seeds. The error is the standard error of gensim's mean. The docstring "
        "of the script says what the texts and their scores are.",
    ),
    "subwords": (
        "Words made of n-grams",
        "subwords.py --corpus FILE",
        "`fastw2v.FastText` beside gensim's and fastText itself, 100 wide, with the same settings "
        "and text. Words per second are words of the text by the time that processors worked on "
        "training, as many of them at a time as there were threads: other programs of the machine "
        "count less so. Scores of the books are gensim's evaluation; unseen is the share of forms "
        "never seen of a made-up language whose nearest word of another stem is of the same topic. "
        "Means over the seeds; with one seed, scores of small texts say little. fastText draws its "
        "noise by the square root of the counts, which cannot be set.",
    ),
    "distributed_word2vec": (
        "Word vectors on several workers",
        "distributed_word2vec.py --corpus FILE",
        "Skip-gram, 100 wide, by 1, 2 and 4 processes of one machine, each with one thread. "
        "Merging is the share of the time that the first process spends with it, waiting for the "
        "others included; bytes are those that a process sends for a merge. Processes share the "
        "processors of the machine, so that speeds say little about several machines. Scores are "
        "gensim's evaluation, mean and range over seeds.",
    ),
}
_WRITTEN = "<!-- Written by benchmarks/figures.py -->"
_METHOD = (
    "All contestants of a table take turns in one run, so that noise and clock rates affect all of "
    "them in the same way. Times are medians. For the others a table says how many times as long "
    "they take as fastw2v. Each page is generated from a CSV in `benchmarks/results`, which has "
    "also the 20th and 80th percentiles; `make bench` measures again and writes the pages."
)


def pages(results: Path) -> dict[str, str]:
    """The pages of the site, by the names of their files, from the CSVs in a directory."""
    found: dict[str, str] = {}
    lines = ["| page | measured on |", "| --- | --- |"]
    for name, (title, script, introduction) in _PAGES.items():
        rows = _read(results / f"{name}.csv")
        if not rows:
            continue
        machine = _machine(rows) if "cpu" in rows[0] else ""
        table = _OTHER_TABLES.get(name, _table)
        parts = [f"# {title}", _WRITTEN, fill(introduction, 100), fill(machine, 100), table(rows)]
        if sweep := _read(results / f"{name}_sweep.csv"):
            parts.append(f"![Time against size](../figures/{name}_sweep.png)")
            parts.append(fill(f"The plot: {_machine(sweep)}", 100))
        parts.append(f"`python benchmarks/{script}` measures these figures.")
        found[f"{name}.md"] = "\n\n".join(filter(None, parts)) + "\n"
        lines.append(_line([f"[{title}]({name}.md)", machine]))
    names = "\n".join(name.removesuffix(".md") for name in found)
    index = [
        "# Benchmarks",
        _WRITTEN,
        fill(_METHOD, 100),
        "\n".join(lines) if found else _NOT_MEASURED,
        f"```{{toctree}}\n:hidden:\n\n{names}\n```",
    ]
    return {"index.md": "\n\n".join(index) + "\n", **found}


def section(results: Path) -> str:
    """The rows of the README, from the CSVs in a directory."""
    rows = [
        _line(row(found))
        for name, row in _README_ROWS.items()
        if (found := _read(results / f"{name}.csv"))
    ]
    if not rows:
        return _NOT_MEASURED
    head = [_line(["work", _OURS, "beside it", "machine"]), _line(["---"] * 4)]
    return "\n".join([*head, *rows])


def _readme_exact(rows: list[Row]) -> list[str]:
    """The loss with the most classes."""
    most = max(rows, key=lambda row: int(row["classes"]))
    case = _contestants(rows, most, _CASE)
    ours, theirs = case[_OURS], case["TensorFlow"]
    return [
        f"exact softmax, forward and backward, {_sizes(ours)}",
        f"{_duration(ours)}, {_megabytes(ours)} of extra memory",
        f"TensorFlow: {float(theirs['time_ratio']):.1f}x the time, {_megabytes(theirs)}",
        _processor(ours),
    ]


def _readme_training(rows: list[Row]) -> list[str]:
    """The step with the optimizer whose dense update costs the most."""
    steps = [row for row in rows if row["work"] == "step"]
    theirs = max(
        (row for row in steps if row["contestant"] != _OURS),
        key=lambda row: float(row["time_ratio"]),
    )
    ours = _contestants(steps, theirs, ("optimizer",))[_OURS]
    return [
        f"training step, sampled softmax and {ours['optimizer']}, {_sizes(ours)}",
        _duration(ours),
        f"{theirs['contestant']}: {float(theirs['time_ratio']):.3g}x the time",
        _processor(ours),
    ]


def _readme_word2vec(rows: list[Row]) -> list[str]:
    """The first case of the speeds."""
    first = next(row for row in rows if row["part"] == "speed")
    case = {
        (row["contestant"], row["measure"]): row
        for row in rows
        if all(row[name] == first[name] for name in ("part", "case", "text"))
    }
    ours, theirs = (float(case[who, "words_per_s"]["value"]) / 1e6 for who in (_OURS, "gensim"))
    times = float(case[_OURS, "times_gensim"]["value"])
    return [
        f"word vectors, {first['case']}",
        f"{ours:.3g} M words/s, {times:.1f}x",
        f"gensim: {theirs:.3g} M words/s",
        _processor(first),
    ]


_README_ROWS = {
    "exact": _readme_exact,
    "training": _readme_training,
    "word2vec": _readme_word2vec,
}


def _contestants(rows: list[Row], like: Row, columns: Iterable[str]) -> dict[str, Row]:
    """The rows of the case of one row, by contestant."""
    columns = list(columns)
    return {
        row["contestant"]: row for row in rows if all(row[name] == like[name] for name in columns)
    }


def _processor(row: Row) -> str:
    return f"{row['cpu']}, {row['cores']} cores, {row['instruction_set']}"


def current(readme: str) -> str:
    """What stands between the comments."""
    return _split(readme)[1].strip()


def replaced(readme: str, text: str) -> str:
    """The README with this section in place of the one that it has."""
    before, _, after = _split(readme)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def plot(rows: list[Row], path: Path) -> None:
    """Plots time against each size, for all contestants, the others as in the base of the sweep."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter

    rows = [row for row in rows if row["loss"] == rows[0]["loss"]]
    # The base of a sweep is in most of its rows.
    base = {name: Counter(row[name] for row in rows).most_common(1)[0][0] for name in _AXES}
    axes = [name for name in _AXES if len({row[name] for row in rows}) > 1]
    figure, panels = pyplot.subplots(
        1, len(axes), figsize=(3.4 * len(axes), 3.2), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels[0], axes, strict=True):
        others = [name for name in _AXES if name != axis]
        along = [row for row in rows if all(row[name] == base[name] for name in others)]
        for contestant in dict.fromkeys(row["contestant"] for row in along):
            points = sorted(
                (int(row[axis]), float(row["median_s"]) * 1e3)
                for row in along
                if row["contestant"] == contestant
            )
            panel.loglog(*zip(*points, strict=True), "o-", markersize=3, label=contestant)
        panel.set_xlabel(_AXES[axis])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(
            " ".join(f"{_AXES[name]}={int(base[name]):,}" for name in others if base[name] != "0"),
            fontsize=8,
        )
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("milliseconds")
    panels[0][0].legend(fontsize=8)
    figure.suptitle(f"{rows[0]['loss']}, forward and backward", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="the CSVs")
    parser.add_argument("--readme", type=Path, default=README, metavar="FILE")
    parser.add_argument("--pages", type=Path, default=PAGES, metavar="DIR")
    parser.add_argument("--plots", type=Path, default=PLOTS, metavar="DIR")
    options = parser.parse_args()
    text = replaced(options.readme.read_text(), section(options.results))
    options.pages.mkdir(parents=True, exist_ok=True)
    for name, page in pages(options.results).items():
        (options.pages / name).write_text(page)
    for name in _PAGES:
        if rows := _read(options.results / f"{name}_sweep.csv"):
            plot(rows, options.plots / f"{name}_sweep.png")
    options.readme.write_text(text)


def _split(readme: str) -> tuple[str, str, str]:
    before, begin, rest = readme.partition(BEGIN)
    text, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README lacks the comments {BEGIN} and {END}")
    return before, text, after


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _machine(rows: list[Row]) -> str:
    machines = {tuple(row[name] for name in _MACHINE) for row in rows}
    if len(machines) != 1:
        raise ValueError(f"a CSV mixes machines or versions: {sorted(machines)}")
    cpu, cores, isa, ours, tensorflow, pytorch, python = machines.pop()
    torch = f", PyTorch {pytorch}" if pytorch else ""
    return (
        f"{cpu}, {cores} cores, {isa}; fastw2v {ours}, TensorFlow {tensorflow}{torch}, "
        f"Python {python}."
    )


def _table(rows: list[Row]) -> str:
    """A line for each case: our time, the others' by it."""
    sampled = any(row["sampled"] != "0" for row in rows)
    contestants = dict.fromkeys(row["contestant"].removesuffix(_BFLOAT16) for row in rows)
    others = [name for name in contestants if name != _OURS]
    columns: dict[str, Callable[[dict[str, Row]], str]] = {
        "loss": lambda case: _loss(case[_OURS]),
        "sizes": lambda case: _sizes(case[_OURS]),
    }
    if not sampled:
        columns["counted"] = lambda case: case[_OURS]["operations"]
    columns[_OURS] = lambda case: _duration(case[_OURS])
    if not sampled:
        columns["share"] = lambda case: f"{float(case[_OURS]['matmul_share']):.0%}"
    for name in others:
        columns[name] = lambda case, name=name: _ratios(case, name)
    if any(row["peak_extra_bytes"] for row in rows):
        columns["extra memory"] = lambda case: _megabytes(case[_OURS])
        columns["of TensorFlow"] = lambda case: _megabytes(case.get("TensorFlow"))
    lines = [list(columns), ["---"] * len(columns)]
    for _, group in groupby(rows, lambda row: [row[name] for name in _CASE]):
        case = {row["contestant"]: row for row in group}
        lines.append([cell(case) for cell in columns.values()])
    return "\n".join(_line(line) for line in lines)


def _training_table(rows: list[Row]) -> str:
    """A line for each case: our time, and each of the others by it."""
    lines = [["work", "optimizer", "sizes", _OURS, "others, times as long"], ["---"] * 5]
    case_of = ("work", "optimizer", "batch", "classes", "sampled", "dim")
    for _, group in groupby(rows, lambda row: [row[name] for name in case_of]):
        case = list(group)
        ours = next(row for row in case if row["contestant"] == _OURS)
        others = [
            f"{row['contestant'].removeprefix('fastw2v, ')} {float(row['time_ratio']):.3g}x"
            for row in case
            if row is not ours
        ]
        lines.append(
            [ours["work"], ours["optimizer"], _sizes(ours), _duration(ours), "; ".join(others)]
        )
    return "\n".join(_line(line) for line in lines)


def _data_table(rows: list[Row]) -> str:
    """A line for each window and threshold: the rates of the contestants."""
    contestants = {
        "whole windows": "fastw2v",
        "drawn, shuffled": "fastw2v, drawn windows, shuffled",
        "in tf.data": "fastw2v, in tf.data",
        "Keras": "Keras",
    }
    lines = [["window", "subsampled at", *contestants], ["---"] * (2 + len(contestants))]
    for (window, sample), group in groupby(rows, lambda row: (row["window"], row["sample"])):
        case = {row["contestant"]: float(row["pairs_per_s"]) / 1e6 for row in group}
        rates = [f"{case[name]:.3g}" for name in contestants.values()]
        lines.append([window, sample if float(sample) else "no", *rates])
    return "\n".join(_line(line) for line in lines)


def _growing_tables(rows: list[Row]) -> str:
    """Times of steps; then new ids; then clicks."""
    times = [["work", "ids", "batch", _OURS, "fixed", "Keras, fixed"], ["---"] * 6]
    timed = [row for row in rows if row["times_fixed"]]
    for _, group in groupby(timed, lambda row: (row["work"], row["ids"], row["batch"])):
        case = {row["contestant"]: row for row in group}
        ours = case[_OURS]
        others = [
            f"{float(case[name]['times_fixed']) / float(ours['times_fixed']):.2f}"
            for name in (f"{_OURS}, fixed", "Keras, fixed")
        ]
        sizes = [f"{int(ours[name]):,}" for name in ("ids", "batch")]
        times.append([ours["work"], *sizes, _duration(ours), *others])
    new = [["new ids", "width", "at most", "per id", "memory at the peak"], ["---"] * 5]
    for row in rows:
        if row["work"] == "new ids":
            most = row["contestant"].partition("max_rows=")[2]
            peak = f"{float(row['peak_bytes']) / 1e9:.2f} GB"
            size = f"{int(row['ids']):,}"
            most = f"{int(most):,} rows" if most else "no limit"
            new.append([size, row["dim"], most, f"{float(row['median_s']) * 1e6:.2f} us", peak])
    clicks = [["clicks held out", "area under the ROC curve"], ["---"] * 2]
    scored = [row for row in rows if row["auc"]]
    for name, group in groupby(scored, lambda row: row["contestant"]):
        scores = [float(row["auc"]) for row in group]
        mean, low, high = statistics.fmean(scores), min(scores), max(scores)
        clicks.append([name, f"{mean:.3f} ({low:.3f} to {high:.3f})"])
    return "\n\n".join("\n".join(map(_line, lines)) for lines in (times, new, clicks))


def _word2vec_tables(rows: list[Row]) -> str:
    """A table of speeds and memory, one of scores, one of likelihoods, as far as there are rows."""
    texts: dict[str, set[int]] = {}
    cases: dict[tuple[str, str, str], dict[tuple[str, str], Row]] = {}
    for row in rows:
        texts.setdefault(row["text"], set()).add(int(row["text_words"]))
        case = cases.setdefault((row["part"], row["case"], row["text"]), {})
        case[row["contestant"], row["measure"]] = row
    named = []
    for text, words in texts.items():
        beginning = f", of which the first {min(words):,} for speeds" if len(words) > 1 else ""
        named.append(f"{text} ({max(words):,} words{beginning})")
    parts = [fill(f"gensim {rows[0]['gensim']}; texts: {'; '.join(named)}.", 100)]
    for lines in (_word2vec_speeds(cases), _word2vec_scores(cases), _word2vec_likelihoods(cases)):
        if lines:
            parts.append("\n".join(_line(line) for line in lines))
    return "\n\n".join(parts)


def _word2vec_speeds(cases: dict) -> list[list[str]]:
    lines = []
    for (part, name, text), case in cases.items():
        if part in ("speed", "vocabulary", "scaling"):
            speeds = [
                f"{float(case[who, 'words_per_s']['value']) / 1e6:.3g} M words/s"
                for who in (_OURS, "gensim")
            ]
            times = f"{float(case[_OURS, 'times_gensim']['value']):.1f}x"
            lines.append([part, name, text, *speeds, times])
        elif part == "memory":
            peaks = [
                f"{float(case[who, 'peak_bytes']['value']) / 1e6:,.0f} MB"
                for who in (_OURS, "gensim")
            ]
            needed = float(case[_OURS, "tables_and_ids_bytes"]["value"]) / 1e6
            lines.append([part, f"{name}; tables and ids {needed:,.0f} MB", text, *peaks, ""])
    head = [["work", "case", "text", _OURS, "gensim", "times"], ["---"] * 6]
    return [*head, *lines] if lines else []


def _word2vec_scores(cases: dict) -> list[list[str]]:
    lines = [
        [
            name,
            text,
            who,
            *(
                "{value:.3f} ({low:.3f} to {high:.3f})".format(
                    **{key: float(case[who, measure][key]) for key in ("value", "low", "high")}
                )
                for measure in _SCORES
            ),
        ]
        for (part, name, text), case in cases.items()
        if part == "quality"
        for who in (_OURS, "gensim")
    ]
    head = [["trained", "text", "by", *_SCORES.values()], ["---"] * 6]
    return [*head, *lines] if lines else []


def _word2vec_likelihoods(cases: dict) -> list[list[str]]:
    lines = [
        [
            name,
            text,
            who,
            f"{float(case[who, 'log_likelihood']['value']):.4f}",
            f"{float(case[who, 'words_per_s']['value']) / 1e6:.3g} M words/s",
        ]
        for (part, name, text), case in cases.items()
        if part == "likelihood"
        for who in (_OURS, f"{_OURS}, deterministic")
    ]
    head = [["trained", "text", "by", "log-likelihood, nats", "speed"], ["---"] * 5]
    return [*head, *lines] if lines else []


def _doc2vec_tables(rows: list[Row]) -> str:
    """A table of speeds and one of scores."""
    cases: dict[tuple[str, str, str], dict[tuple[str, str], Row]] = {}
    for row in rows:
        case = cases.setdefault((row["part"], row["text"], row["case"]), {})
        case[row["contestant"], row["measure"]] = row
    speeds = [["work", "form", "text", _OURS, "gensim", "times"], ["---"] * 6]
    scores = [["score", "form", "text", _OURS, "gensim"], ["---"] * 5]
    for (part, text, form), case in sorted(cases.items(), key=lambda item: item[0][:2]):
        words = f"{text}, {int(next(iter(case.values()))['text_words']):,} words"
        if part == "speed":
            for measure, name in (("train", "training"), ("infer", "inference")):
                both = [
                    f"{float(case[who, f'{measure}_words_per_s']['value']) / 1e6:.3g} M words/s"
                    for who in (_OURS, "gensim")
                ]
                times = f"{float(case[_OURS, f'{measure}_times_gensim']['value']):.1f}x"
                speeds.append([name, form, words, *both, times])
            continue
        for measure, name in _DOCUMENT_SCORES.items():
            if (_OURS, measure) in case:
                both = [
                    "{value:.3f} ({low:.3f} to {high:.3f})".format(
                        **{key: float(case[who, measure][key]) for key in ("value", "low", "high")}
                    )
                    for who in (_OURS, "gensim")
                ]
                scores.append([name, form, words, *both])
    tables = ["\n".join(map(_line, lines)) for lines in (speeds, scores) if len(lines) > 2]
    return "\n\n".join([f"gensim {rows[0]['gensim']}.", *tables])


def _grid_tables(rows: list[Row]) -> str:
    """A table for each text: a line for each of its settings."""
    parts = []
    for text in dict.fromkeys(row["text"] for row in rows):
        cells: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            if row["text"] == text:
                scores = cells.setdefault(row["settings"], {})
                scores.setdefault(row["contestant"], []).append(float(row["score"]))
        both = {key: scores for key, scores in cells.items() if len(scores) == 2}
        lines = [["settings", _OURS, "gensim", "difference", "error", "seeds"], ["---"] * 6]
        for key, scores in both.items():
            ours, theirs = scores[_OURS], scores["gensim"]
            mean, other = statistics.fmean(ours), statistics.fmean(theirs)
            error = statistics.stdev(theirs) / math.sqrt(len(theirs)) if len(theirs) > 1 else None
            lines.append(
                [
                    " ".join(f"{name}={value}" for name, value in json.loads(key).items()),
                    *(f"{mean:.3f}", f"{other:.3f}", f"{mean - other:+.3f}"),
                    "" if error is None else f"{error:.3f}",
                    f"{len(ours)}, {len(theirs)}",
                ]
            )
        parts += [f"## {text}", "\n".join(_line(line) for line in lines)]
    return "\n\n".join(parts)


def _adaptive_quality_table(rows: list[Row]) -> str:
    """A line for each epoch of each head, over the seeds."""
    first = rows[0]
    sizes = f"{int(first['words']):,} words, V={int(first['classes']):,}, D={first['dim']}"
    lines = [["head", "epoch", "perplexity", "range", "seeds"], ["---"] * 5]
    for head, epoch in dict.fromkeys((row["head"], row["epoch"]) for row in rows):
        cell = [row for row in rows if (row["head"], row["epoch"]) == (head, epoch)]
        values = [float(row["perplexity"]) for row in cell]
        lines.append(
            [
                *(head, epoch, f"{statistics.fmean(values):.1f}"),
                *(f"{min(values):.1f} to {max(values):.1f}", str(len(cell))),
            ]
        )
    table = "\n".join(_line(line) for line in lines)
    return f"Text: {first['text']}, {sizes}.\n\n{table}"


# CSVs that are not of losses.
def _distributed_word2vec_table(rows: list[Row]) -> str:
    """A line for each number of processes, over the seeds."""
    lines = [
        ["text", "processes", "M words/s", "merging", "MB of a merge", *_SCORES.values()],
        ["---"] * (5 + len(_SCORES)),
    ]
    for _, group in groupby(rows, lambda row: (row["text"], row["processes"])):
        seeds = list(group)
        values = {
            name: [float(row[name]) for row in seeds]
            for name in ("words_per_s", "merging_share", "wire_bytes", *_SCORES)
        }
        lines.append(
            [
                f"{seeds[0]['text']}, {int(seeds[0]['text_words']):,} words, {seeds[0]['epochs']} "
                f"passes, merge_every={seeds[0]['merge_every']}",
                seeds[0]["processes"],
                f"{statistics.median(values['words_per_s']) / 1e6:.3g}",
                f"{statistics.median(values['merging_share']):.0%}",
                f"{statistics.fmean(values['wire_bytes']) / 1e6:.3g}",
                *(
                    f"{statistics.fmean(values[name]):.3f} ({min(values[name]):.3f} to "
                    f"{max(values[name]):.3f})"
                    for name in _SCORES
                ),
            ]
        )
    return "\n".join(_line(line) for line in lines)


def _recall_table(rows: list[Row]) -> str:
    """A line for each setting."""
    contestants = list(dict.fromkeys(row["contestant"] for row in rows))
    lines = [["setting", *contestants], ["---"] * (1 + len(contestants))]
    for setting in dict.fromkeys(row["setting"] for row in rows):
        cells = [setting]
        for name in contestants:
            found = [
                float(row["recall_at_10"])
                for row in rows
                if (row["setting"], row["contestant"]) == (setting, name)
            ]
            cells.append(f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
        lines.append(cells)
    return "\n".join(_line(line) for line in lines)


def _subwords_table(rows: list[Row]) -> str:
    """A line for each contestant, over the seeds."""
    names = {**_SCORES, "unseen": "unseen"}
    lines = [
        ["text", "form", "", "threads", "words/s", "times", *names.values()],
        ["---"] * (6 + len(names)),
    ]

    def speed(of: list[Row]) -> float:
        return statistics.median(float(row["words_per_s"]) for row in of)

    for (text, form), group in groupby(rows, lambda row: (row["text"], row["form"])):
        case = list(group)
        for contestant in dict.fromkeys(row["contestant"] for row in case):
            of = [row for row in case if row["contestant"] == contestant]
            ours = [row for row in case if row["contestant"] == _OURS]
            means = [
                f"{statistics.fmean(float(row[name]) for row in of):.3f}" if of[0][name] else ""
                for name in names
            ]
            size = f"{int(of[0]['text_words']):,} words, {of[0]['epochs']} passes, seeds: {len(of)}"
            lines.append(
                [
                    *(f"{text}, {size}", form, contestant, of[0]["threads"], f"{speed(of):,.0f}"),
                    *("" if contestant == _OURS else f"{speed(ours) / speed(of):.1f}x", *means),
                ]
            )
    return "\n".join(_line(line) for line in lines)


_OTHER_TABLES = {
    "recall": _recall_table,
    "adaptive_quality": _adaptive_quality_table,
    "subwords": _subwords_table,
    "training": _training_table,
    "data": _data_table,
    "growing": _growing_tables,
    "word2vec": _word2vec_tables,
    "doc2vec": _doc2vec_tables,
    "word2vec_grid": _grid_tables,
    "distributed_word2vec": _distributed_word2vec_table,
}


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _loss(row: Row) -> str:
    parts = [row["loss"], row["reduction"]]
    parts += [row["compute_dtype"]] * (row["compute_dtype"] != "float32")
    return ", ".join(filter(None, parts))


def _sizes(row: Row) -> str:
    return " ".join(
        f"{letter}={int(row[name]):,}" for name, letter in _AXES.items() if row[name] != "0"
    )


def _duration(row: Row) -> str:
    milliseconds = float(row["median_s"]) * 1e3
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds:,.0f} ms"


def _ratios(case: dict[str, Row], name: str) -> str:
    variants = {name: "", name + _BFLOAT16: " in bfloat16"}
    return ", ".join(
        f"{float(case[variant]['time_ratio']):.1f}x{remark}"
        for variant, remark in variants.items()
        if variant in case
    )


def _megabytes(row: Row | None) -> str:
    if row is None or not row["peak_extra_bytes"]:
        return ""
    return f"{float(row['peak_extra_bytes']) / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
