"""The tables of the pages of docs/benchmarks, from the rows of the CSVs (figures.py)."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable
from itertools import groupby
from textwrap import fill

Row = dict[str, str]

OURS = "fastw2v"
_BFLOAT16 = " bfloat16"  # ends the name of a contestant that multiplies in it
CASE = ("loss", "batch", "classes", "sampled", "dim", "reduction", "compute_dtype")
_DOCUMENT_SCORES = {
    "itself": "nearest to their own inferred vector",
    "human": "correlation with people",
    "accuracy": "accuracy of classification, held out",
}
_SCORES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "analogies"}
AXES = {"batch": "B", "classes": "V", "sampled": "S", "dim": "D"}


def _table(rows: list[Row]) -> str:
    """A line for each case: our time, the others' by it."""
    sampled = any(row["sampled"] != "0" for row in rows)
    contestants = dict.fromkeys(row["contestant"].removesuffix(_BFLOAT16) for row in rows)
    others = [name for name in contestants if name != OURS]
    columns: dict[str, Callable[[dict[str, Row]], str]] = {
        "loss": lambda case: _loss(case[OURS]),
        "sizes": lambda case: as_sizes(case[OURS]),
    }
    if not sampled:
        columns["counted"] = lambda case: case[OURS]["operations"]
    columns[OURS] = lambda case: as_duration(case[OURS])
    if not sampled:
        columns["share"] = lambda case: f"{float(case[OURS]['matmul_share']):.0%}"
    for name in others:
        columns[name] = lambda case, name=name: _ratios(case, name)
    if any(row["peak_extra_bytes"] for row in rows):
        columns["extra memory"] = lambda case: as_megabytes(case[OURS])
        columns["of TensorFlow"] = lambda case: as_megabytes(case.get("TensorFlow"))
    lines = [list(columns), ["---"] * len(columns)]
    for _, group in groupby(rows, lambda row: [row[name] for name in CASE]):
        case = {row["contestant"]: row for row in group}
        lines.append([cell(case) for cell in columns.values()])
    return "\n".join(as_line(line) for line in lines)


def _training_table(rows: list[Row]) -> str:
    """A line for each case: our time, and each of the others by it."""
    lines = [["work", "optimizer", "sizes", OURS, "others, times as long"], ["---"] * 5]
    case_of = ("work", "optimizer", "batch", "classes", "sampled", "dim")
    for _, group in groupby(rows, lambda row: [row[name] for name in case_of]):
        case = list(group)
        ours = next(row for row in case if row["contestant"] == OURS)
        others = [
            f"{row['contestant'].removeprefix('fastw2v, ')} {float(row['time_ratio']):.3g}x"
            for row in case
            if row is not ours
        ]
        lines.append(
            [ours["work"], ours["optimizer"], as_sizes(ours), as_duration(ours), "; ".join(others)]
        )
    return "\n".join(as_line(line) for line in lines)


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
    return "\n".join(as_line(line) for line in lines)


def _growing_tables(rows: list[Row]) -> str:
    """Times of steps; then new ids; then clicks."""
    times = [["work", "ids", "batch", OURS, "fixed", "Keras, fixed"], ["---"] * 6]
    timed = [row for row in rows if row["times_fixed"]]
    for _, group in groupby(timed, lambda row: (row["work"], row["ids"], row["batch"])):
        case = {row["contestant"]: row for row in group}
        ours = case[OURS]
        others = [
            f"{float(case[name]['times_fixed']) / float(ours['times_fixed']):.2f}"
            for name in (f"{OURS}, fixed", "Keras, fixed")
        ]
        sizes = [f"{int(ours[name]):,}" for name in ("ids", "batch")]
        times.append([ours["work"], *sizes, as_duration(ours), *others])
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
    return "\n\n".join("\n".join(map(as_line, lines)) for lines in (times, new, clicks))


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
            parts.append("\n".join(as_line(line) for line in lines))
    return "\n\n".join(parts)


def _word2vec_speeds(cases: dict) -> list[list[str]]:
    lines = []
    for (part, name, text), case in cases.items():
        if part in ("speed", "vocabulary", "scaling"):
            speeds = [
                f"{float(case[who, 'words_per_s']['value']) / 1e6:.3g} M words/s"
                for who in (OURS, "gensim")
            ]
            times = f"{float(case[OURS, 'times_gensim']['value']):.1f}x"
            lines.append([part, name, text, *speeds, times])
        elif part == "memory":
            peaks = [
                f"{float(case[who, 'peak_bytes']['value']) / 1e6:,.0f} MB"
                for who in (OURS, "gensim")
            ]
            needed = float(case[OURS, "tables_and_ids_bytes"]["value"]) / 1e6
            lines.append([part, f"{name}; tables and ids {needed:,.0f} MB", text, *peaks, ""])
    head = [["work", "case", "text", OURS, "gensim", "times"], ["---"] * 6]
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
        for who in (OURS, "gensim")
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
        for who in (OURS, f"{OURS}, deterministic")
    ]
    head = [["trained", "text", "by", "log-likelihood, nats", "speed"], ["---"] * 5]
    return [*head, *lines] if lines else []


def _doc2vec_tables(rows: list[Row]) -> str:
    """A table of speeds and one of scores."""
    cases: dict[tuple[str, str, str], dict[tuple[str, str], Row]] = {}
    for row in rows:
        case = cases.setdefault((row["part"], row["text"], row["case"]), {})
        case[row["contestant"], row["measure"]] = row
    speeds = [["work", "form", "text", OURS, "gensim", "times"], ["---"] * 6]
    scores = [["score", "form", "text", OURS, "gensim"], ["---"] * 5]
    for (part, text, form), case in sorted(cases.items(), key=lambda item: item[0][:2]):
        words = f"{text}, {int(next(iter(case.values()))['text_words']):,} words"
        if part == "speed":
            for measure, name in (("train", "training"), ("infer", "inference")):
                both = [
                    f"{float(case[who, f'{measure}_words_per_s']['value']) / 1e6:.3g} M words/s"
                    for who in (OURS, "gensim")
                ]
                times = f"{float(case[OURS, f'{measure}_times_gensim']['value']):.1f}x"
                speeds.append([name, form, words, *both, times])
            continue
        for measure, name in _DOCUMENT_SCORES.items():
            if (OURS, measure) in case:
                both = [
                    "{value:.3f} ({low:.3f} to {high:.3f})".format(
                        **{key: float(case[who, measure][key]) for key in ("value", "low", "high")}
                    )
                    for who in (OURS, "gensim")
                ]
                scores.append([name, form, words, *both])
    tables = ["\n".join(map(as_line, lines)) for lines in (speeds, scores) if len(lines) > 2]
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
        lines = [["settings", OURS, "gensim", "difference", "error", "seeds"], ["---"] * 6]
        for key, scores in both.items():
            ours, theirs = scores[OURS], scores["gensim"]
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
        parts += [f"## {text}", "\n".join(as_line(line) for line in lines)]
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
    table = "\n".join(as_line(line) for line in lines)
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
    return "\n".join(as_line(line) for line in lines)


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
    return "\n".join(as_line(line) for line in lines)


def _subwords_table(rows: list[Row]) -> str:
    """A line for each contestant, over the seeds."""
    names = {**_SCORES, "unseen": "unseen"}
    lines = [
        ["text", "form", "", "threads", "words/s", "times", *names.values()],
        ["---"] * (6 + len(names)),
    ]

    def speeds(of: list[Row]) -> list[float]:
        return [float(row["words_per_s"]) for row in of]

    for text, form in dict.fromkeys((row["text"], row["form"]) for row in rows):
        case = [row for row in rows if (row["text"], row["form"]) == (text, form)]
        ours = [row for row in case if row["contestant"] == OURS]
        for contestant in dict.fromkeys(row["contestant"] for row in case):
            of = [row for row in case if row["contestant"] == contestant]
            times = [x / y for x, y in zip(speeds(ours), speeds(of), strict=False)]
            speed = statistics.median(speeds(of))
            means = [
                f"{statistics.fmean(float(row[name]) for row in of):.3f}" if of[0][name] else ""
                for name in names
            ]
            size = f"{int(of[0]['text_words']):,} words, {of[0]['epochs']} passes, seeds: {len(of)}"
            lines.append(
                [
                    *(f"{text}, {size}", form, contestant, of[0]["threads"], f"{speed:,.0f}"),
                    *("" if of == ours else f"{statistics.median(times):.1f}x", *means),
                ]
            )
    return "\n".join(as_line(line) for line in lines)


def as_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _loss(row: Row) -> str:
    parts = [row["loss"], row["reduction"]]
    parts += [row["compute_dtype"]] * (row["compute_dtype"] != "float32")
    return ", ".join(filter(None, parts))


def as_sizes(row: Row) -> str:
    return " ".join(
        f"{letter}={int(row[name]):,}" for name, letter in AXES.items() if row[name] != "0"
    )


def as_duration(row: Row) -> str:
    milliseconds = float(row["median_s"]) * 1e3
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds:,.0f} ms"


def _ratios(case: dict[str, Row], name: str) -> str:
    variants = {name: "", name + _BFLOAT16: " in bfloat16"}
    return ", ".join(
        f"{float(case[variant]['time_ratio']):.1f}x{remark}"
        for variant, remark in variants.items()
        if variant in case
    )


def as_megabytes(row: Row | None) -> str:
    if row is None or not row["peak_extra_bytes"]:
        return ""
    return f"{float(row['peak_extra_bytes']) / 1e6:,.0f} MB"


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


def tables_of(name: str, rows: list[Row]) -> str:
    """Those of the CSV of that name."""
    return _OTHER_TABLES.get(name, _table)(rows)
