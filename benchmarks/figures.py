"""Writes the pages of docs/benchmarks, their plots and the figures of README.md from the CSVs.

A CSV has a page. In the README what stands between two comments is replaced by a few of their rows.
A CSV that is not there is left out.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from tables import AXES, CASE, OURS, Row, as_duration, as_line, as_megabytes, as_sizes, tables_of

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ROOT / "docs" / "benchmarks"
PLOTS = ROOT / "docs" / "figures"
BEGIN = "<!-- Speed: written by benchmarks/figures.py -->"
END = "<!-- Speed: end -->"

_NOT_MEASURED = "Not measured yet; `make bench` measures and writes the figures here."
_MACHINE = ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python")
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
        "Speeds are medians over the seeds, times those of the quotients for one seed, scores are "
        "means. fastText draws its noise by the square root of the counts, which cannot be set.",
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
        parts = [f"# {title}", _WRITTEN, fill(introduction, 100), fill(machine, 100)]
        parts.append(tables_of(name, rows))
        if sweep := _read(results / f"{name}_sweep.csv"):
            parts.append(f"![Time against size](../figures/{name}_sweep.png)")
            parts.append(fill(f"The plot: {_machine(sweep)}", 100))
        parts.append(f"`python benchmarks/{script}` measures these figures.")
        found[f"{name}.md"] = "\n\n".join(filter(None, parts)) + "\n"
        lines.append(as_line([f"[{title}]({name}.md)", machine]))
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
        as_line(row(found))
        for name, row in _README_ROWS.items()
        if (found := _read(results / f"{name}.csv"))
    ]
    if not rows:
        return _NOT_MEASURED
    head = [as_line(["work", OURS, "beside it", "machine"]), as_line(["---"] * 4)]
    return "\n".join([*head, *rows])


def _readme_exact(rows: list[Row]) -> list[str]:
    """The loss with the most classes."""
    most = max(rows, key=lambda row: int(row["classes"]))
    case = _contestants(rows, most, CASE)
    ours, theirs = case[OURS], case["TensorFlow"]
    return [
        f"exact softmax, forward and backward, {as_sizes(ours)}",
        f"{as_duration(ours)}, {as_megabytes(ours)} of extra memory",
        f"TensorFlow: {float(theirs['time_ratio']):.1f}x the time, {as_megabytes(theirs)}",
        _processor(ours),
    ]


def _readme_training(rows: list[Row]) -> list[str]:
    """The step with the optimizer whose dense update costs the most."""
    steps = [row for row in rows if row["work"] == "step"]
    theirs = max(
        (row for row in steps if row["contestant"] != OURS),
        key=lambda row: float(row["time_ratio"]),
    )
    ours = _contestants(steps, theirs, ("optimizer",))[OURS]
    return [
        f"training step, sampled softmax and {ours['optimizer']}, {as_sizes(ours)}",
        as_duration(ours),
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
    ours, theirs = (float(case[who, "words_per_s"]["value"]) / 1e6 for who in (OURS, "gensim"))
    times = float(case[OURS, "times_gensim"]["value"])
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
    base = {name: Counter(row[name] for row in rows).most_common(1)[0][0] for name in AXES}
    axes = [name for name in AXES if len({row[name] for row in rows}) > 1]
    figure, panels = pyplot.subplots(
        1, len(axes), figsize=(3.4 * len(axes), 3.2), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels[0], axes, strict=True):
        others = [name for name in AXES if name != axis]
        along = [row for row in rows if all(row[name] == base[name] for name in others)]
        for contestant in dict.fromkeys(row["contestant"] for row in along):
            points = sorted(
                (int(row[axis]), float(row["median_s"]) * 1e3)
                for row in along
                if row["contestant"] == contestant
            )
            panel.loglog(*zip(*points, strict=True), "o-", markersize=3, label=contestant)
        panel.set_xlabel(AXES[axis])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(
            " ".join(f"{AXES[name]}={int(base[name]):,}" for name in others if base[name] != "0"),
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


if __name__ == "__main__":
    main()
