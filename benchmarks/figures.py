"""Writes the section "Speed" of README.md and the plots of the sweeps from the benchmarks' CSVs.

What stands between two comments in the README is replaced. A CSV that is not there is left out.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PLOTS = ROOT / "docs" / "figures"
BEGIN = "<!-- Speed: written by benchmarks/figures.py -->"
END = "<!-- Speed: end -->"

Row = dict[str, str]

_OURS = "fastw2v"
_BFLOAT16 = " bfloat16"  # ends the name of a contestant that multiplies in it
_NOT_MEASURED = "Not measured yet; `make bench` measures and writes the figures here."
_MACHINE = ("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python")
_CASE = ("loss", "batch", "classes", "sampled", "dim", "reduction", "compute_dtype")
_AXES = {"batch": "B", "classes": "V", "sampled": "S", "dim": "D"}
_INTRODUCTIONS = {
    "exact": "Exact softmax cross-entropy of B examples against V classes of width D. The share is "
    "that of the rate of a large matrix product by TensorFlow in the same run, the operations "
    "counted as in the third column.",
    "sampled": "Sampled losses with S sampled classes, the sampler included.",
    "latency": "Small problems, where the cost of calling counts; the last two columns are calls "
    "outside a `tf.function`.",
    "top_k": "The 100 classes of largest logit, of V: prediction, or nearest neighbors.",
    "training": 'Training steps: "step" is a sampled softmax with the update of its weights and '
    "biases, in a `tf.function`, the sampler included (tape: with a GradientTape in place of "
    '`train_step`); "lazy" the same with Adam that applies pending updates; "rows" the update '
    'alone; "size" the step with larger tables.',
    "data": "Skip-gram pairs from word ids, on one thread, in millions a second: whole windows, "
    "drawn and shuffled windows, the same through `tf.data` in batches of 1024, and Keras' "
    "`skipgrams`.",
    "word2vec": "Word vectors, by `fastw2v.Word2Vec` and by gensim's `corpus_file`, the settings, "
    "file and threads the same: words of the file per second, and how many times as many; peak "
    "memory beside that of the libraries. Scores are gensim's evaluation, mean and range over "
    "seeds; the log-likelihood is of a text held out.",
}


def section(results: Path) -> str:
    """The text between the comments, from the CSVs in a directory."""
    parts = []
    for name, introduction in _INTRODUCTIONS.items():
        if rows := _read(results / f"{name}.csv"):
            table = _OTHER_TABLES.get(name, _table)
            parts += [fill(introduction, 100), fill(_machine(rows), 100), table(rows)]
        if rows := _read(results / f"{name}_sweep.csv"):
            parts.append(f"![Time against size](docs/figures/{name}_sweep.png)")
            parts.append(fill(f"The plot: {_machine(rows)}", 100))
    if not parts:
        return _NOT_MEASURED
    head = (
        "Losses forward and backward, gradients of all arguments; median times of one run in which "
        "all take turns; for the others, how many times as long they take as fastw2v. `make bench` "
        "measures again and writes this section."
    )
    return "\n\n".join([fill(head, 100), *parts])


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
    parser.add_argument("--plots", type=Path, default=PLOTS, metavar="DIR")
    options = parser.parse_args()
    text = replaced(options.readme.read_text(), section(options.results))
    for name in _INTRODUCTIONS:
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
    measures = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "analogies"}
    lines = [
        [
            name,
            text,
            who,
            *(
                "{value:.3f} ({low:.3f} to {high:.3f})".format(
                    **{key: float(case[who, measure][key]) for key in ("value", "low", "high")}
                )
                for measure in measures
            ),
        ]
        for (part, name, text), case in cases.items()
        if part == "quality"
        for who in (_OURS, "gensim")
    ]
    head = [["trained", "text", "by", *measures.values()], ["---"] * 6]
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


# CSVs that are not of losses.
_OTHER_TABLES = {
    "training": _training_table,
    "data": _data_table,
    "word2vec": _word2vec_tables,
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
