"""Where word vectors train, and how well, beside gensim: a grid of texts and settings.

    python benchmarks/word2vec_grid.py                                # hours, the most by gensim
    python benchmarks/word2vec_grid.py --texts sessions --seeds 2     # a part of it
    python benchmarks/word2vec_grid.py --corpus books.txt             # with prose

Both contestants get the same sentences, settings and seeds. A cell is a text and settings; for each
the table has the mean score of both over the seeds, its standard error, the longest vector, and
whether all vectors are finite. Rows that the CSV has already are not measured again; `--again`
measures fastw2v anew, after a change.

    sessions  items that shops show together: 900 of Zipf's popularity in 45 groups, sessions of
              about five. Score: how often the last item of a held-out session is among the 20
              nearest to the mean of the others
    walks     random walks on a graph of 1,000 nodes in ten communities. Score: macro F1 of the
              community whose centroid is nearest, the centroids from half of the nodes
    lee       300 news texts of Lee, Pincombe and Welsh, which gensim's package has. Score: how the
              cosines of 50 others correlate with how similar people judged them (Pearson)
    prose     `--corpus`: its first two million words. Score: the mean of WordSim-353, SimLex-999
              (Spearman) and questions-words (accuracy)
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import lzma
import math
import os
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OURS, GENSIM = "fastw2v", "gensim"
COLUMNS = ("text", "settings", "contestant", "seed", "score", "longest", "cpu_seconds")
RESULTS = Path(__file__).resolve().parent / "results" / "word2vec_grid.csv"
ALLOWED = 0.01  # below gensim's mean, beside its standard error

Sentences = list[list[str]]


@dataclass(frozen=True)
class Text:
    """Sentences, and what tells how good vectors of their words are."""

    sentences: Sentences
    score: Callable[[Any], float]  # of gensim's KeyedVectors, or ours


# ---- texts ---------------------------------------------------------------------------------------


def sessions() -> Text:
    rng = np.random.default_rng(1)
    items, groups = 900, 45
    group_of = rng.integers(groups, size=items)
    popularity = 1 / np.arange(1, items + 1)
    members = [np.flatnonzero(group_of == g) for g in range(groups)]
    chances = [popularity[m] / popularity[m].sum() for m in members]
    of_groups = np.array([popularity[m].sum() for m in members])
    of_groups /= of_groups.sum()
    everywhere = popularity / popularity.sum()
    made = []
    for _ in range(10_000):
        group = rng.choice(groups, p=of_groups)
        size = 2 + rng.poisson(3)
        own = rng.choice(members[group], size, p=chances[group])
        other = rng.choice(items, size, p=everywhere)
        made.append([f"i{k}" for k in np.where(rng.random(size) < 0.8, own, other)])
    held_out = [session for session in made[9_000:] if len(set(session)) > 2]

    def score(vectors: Any) -> float:
        hits = 0
        for session in held_out:
            known = [item for item in session[:-1] if item in vectors]
            if known and session[-1] in vectors:
                near = vectors.most_similar(known, topn=20)
                hits += session[-1] in [item for item, _ in near]
        return hits / len(held_out)

    return Text(made[:9_000], score)


def walks() -> Text:
    rng = np.random.default_rng(2)
    nodes, communities = 1000, 10
    community = rng.integers(communities, size=nodes)
    activity = rng.pareto(2.5, nodes) + 1
    near = community[:, None] == community[None, :]
    chance = np.outer(activity, activity) * np.where(near, 0.02, 0.002)
    edges = np.triu(rng.random((nodes, nodes)) < np.minimum(chance, 1), 1)
    neighbors = [np.flatnonzero(row) for row in edges | edges.T]
    made = []
    for _ in range(5):
        for start in rng.permutation(nodes):
            walk = [int(start)]
            while len(walk) < 40 and len(neighbors[walk[-1]]):
                walk.append(int(rng.choice(neighbors[walk[-1]])))
            made.append([str(node) for node in walk])
    known = rng.random(nodes) < 0.5

    def score(vectors: Any) -> float:
        matrix = np.array([vectors[str(node)] for node in range(nodes)], np.float64)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        centroids = [matrix[known & (community == c)].mean(axis=0) for c in range(communities)]
        told = np.argmax(matrix @ np.transpose(centroids), axis=1)[~known]
        true = community[~known]
        f1 = [
            2 * np.sum((told == c) & (true == c)) / max(np.sum(told == c) + np.sum(true == c), 1)
            for c in range(communities)
        ]
        return float(np.mean(f1))

    return Text(made, score)


def lee() -> Text:
    from gensim.test.utils import datapath
    from gensim.utils import simple_preprocess

    def read(name: str) -> Sentences:
        with open(datapath(name), encoding="latin-1") as file:
            return [simple_preprocess(line) for line in file]

    texts = read("lee.cor")
    judged = np.loadtxt(datapath("similarities0-1.txt"))
    pairs = np.triu_indices(len(texts), 1)

    def score(vectors: Any) -> float:
        means = np.array(
            [np.mean([vectors[w] for w in text if w in vectors], axis=0) for text in texts],
            np.float64,
        )
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return float(np.corrcoef((means @ means.T)[pairs], judged[pairs])[0, 1])

    return Text(read("lee_background.cor"), score)


def prose(path: Path, words: int = 2_000_000) -> Text:
    from gensim.test.utils import datapath

    taken, count = [], 0
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt", encoding="utf8") as file:
        for line in file:
            taken.append(line.split())
            count += len(taken[-1])
            if count >= words:
                break

    def score(vectors: Any) -> float:
        pairs = [
            vectors.evaluate_word_pairs(datapath(name))[1][0]
            for name in ("wordsim353.tsv", "simlex999.txt")
        ]
        analogies, _ = vectors.evaluate_word_analogies(
            datapath("questions-words.txt"), restrict_vocab=30_000
        )
        return float(np.mean([*pairs, analogies]))

    return Text(taken, score)


# ---- cells ---------------------------------------------------------------------------------------

BASES: dict[str, dict[str, Any]] = {
    "sessions": {"vector_size": 48, "min_count": 1, "sample": 0, "epochs": 5},
    "walks": {"vector_size": 64, "min_count": 1, "sample": 0, "epochs": 1, "window": 10},
    "lee": {"vector_size": 100, "epochs": 20},
    "prose": {"vector_size": 100, "epochs": 2},
}
_SMALL: list[dict[str, Any]] = [
    {},
    {"alpha": 0.05},
    {"alpha": 0.1},
    {"negative": 10},
    {"negative": 20},
    {"window": 20},
    {"window": 20, "negative": 20},
    {"window": 20, "negative": 20, "alpha": 0.05},
    {"window": 100},
    {"vector_size": 16},
    {"vector_size": 300},
    {"vector_size": 16, "negative": 20, "alpha": 0.1},
    {"sample": 1e-3, "negative": 15},
    {"sample": 0, "negative": 15},
    {"deterministic": True},
    {"deterministic": True, "negative": 15},
    {"deterministic": True, "window": 20, "negative": 20},
    {"epochs": 3},
    {"sg": 0},
    {"sg": 0, "alpha": 0.05},
    {"sg": 0, "negative": 20, "window": 20},
    {"sg": 0, "deterministic": True},
    {"hs": 1},
    {"hs": 1, "negative": 0},
    {"hs": 1, "negative": 0, "alpha": 0.05},
    {"hs": 1, "negative": 0, "deterministic": True},
    {"hs": 1, "negative": 0, "sg": 0},
]
CELLS: dict[str, list[dict[str, Any]]] = {
    "sessions": [
        *_SMALL,
        {"window": 100, "negative": 20},
        {"window": 100, "negative": 20, "epochs": 10},
    ],
    "walks": [*_SMALL, {"epochs": 5}, {"window": 100, "negative": 20}],
    "lee": [*_SMALL, {"negative": 15, "window": 10}, {"epochs": 100}],
    "prose": [
        {},
        {"alpha": 0.05, "negative": 15},
        {"negative": 20, "window": 10},
        {"negative": 10, "window": 20},
        {"vector_size": 300},
        {"sample": 0, "negative": 15},
        {"deterministic": True, "negative": 15},
        {"sg": 0},
        {"hs": 1, "negative": 0},
    ],
}


def cells(text: str) -> Iterator[dict[str, Any]]:
    """The settings of each cell, whole."""
    for changes in CELLS[text]:
        yield {"sg": 1, **BASES[text], **changes}


# ---- training ------------------------------------------------------------------------------------


def train(contestant: str, text: Text, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Trains, and returns what is written to the CSV."""
    begin = time.process_time()
    if contestant == GENSIM:
        from gensim.models import Word2Vec

        settings = {k: v for k, v in settings.items() if k != "deterministic"}
        vectors = Word2Vec(text.sentences, **settings, seed=seed, workers=1).wv
    else:
        import fastw2v

        try:
            vectors = fastw2v.Word2Vec(iter(text.sentences), **settings, seed=seed).wv
        except ValueError as error:
            print(f"  {settings}: {error}", file=sys.stderr)
            return {"score": math.nan, "longest": math.inf, "cpu_seconds": math.nan}
    seconds = time.process_time() - begin
    longest = float(np.linalg.norm(np.asarray(vectors.vectors, np.float64), axis=1).max())
    score = text.score(vectors) if math.isfinite(longest) else math.nan
    return {"score": score, "longest": longest, "cpu_seconds": seconds}


def _read(path: Path) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf8", newline="") as file:
        return {
            (row["text"], row["settings"], row["contestant"], int(row["seed"])): row
            for row in csv.DictReader(file)
        }


def _write(path: Path, rows: dict[tuple[str, str, str, int], dict[str, Any]]) -> None:
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


def main() -> None:
    options = _options()
    warnings.simplefilter("ignore")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    makers = {"sessions": sessions, "walks": walks, "lee": lee}
    if options.corpus is not None:
        makers["prose"] = lambda: prose(options.corpus)
    rows = _read(options.output)
    measured = set()
    for name in options.texts:
        if name not in makers:
            continue
        text = makers[name]()
        for settings, contestant in itertools.product(cells(name), options.contestants):
            for seed in range(1, options.seeds + 1):
                key = (name, json.dumps(settings, sort_keys=True), contestant, seed)
                if options.only and options.only not in key[1]:
                    continue
                measured.add(key[:2])
                if key in rows and not (options.again and contestant == OURS):
                    continue
                found = train(contestant, text, settings, seed)
                rows[key] = {**dict(zip(COLUMNS, key, strict=False)), **found}
                _write(options.output, rows)
    _print({key: row for key, row in rows.items() if key[:2] in measured})


def _print(rows: dict[tuple[str, str, str, int], dict[str, Any]]) -> None:
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for (text, settings, contestant, _), row in rows.items():
        found[text, settings].setdefault(contestant, []).append(row)
    below, worst = 0, 0.0
    for (text, settings), both in sorted(found.items()):
        if len(both) < 2:
            continue
        ours, theirs = ([float(r["score"]) for r in both[name]] for name in (OURS, GENSIM))
        longest = [max(float(r["longest"]) for r in both[name]) for name in (OURS, GENSIM)]
        cpu = [np.mean([float(r["cpu_seconds"]) for r in both[name]]) for name in (OURS, GENSIM)]
        error = statistics.stdev(theirs) / math.sqrt(len(theirs)) if len(theirs) > 1 else 0.0
        difference = statistics.fmean(ours) - statistics.fmean(theirs)
        is_below = not difference >= -(error + ALLOWED)
        too_long = not longest[0] <= 3 * longest[1]
        below += is_below
        worst = min(worst, difference)
        changes = {k: v for k, v in json.loads(settings).items() if BASES[text].get(k, 1) != v}
        print(
            f"{text:9}{statistics.fmean(ours):7.3f}{statistics.fmean(theirs):7.3f} "
            f"{difference:+.3f} (se {error:.3f}){' BELOW' if is_below else ''}  longest "
            f"{longest[0]:.3g} {longest[1]:.3g}{' LONG' if too_long else ''}  cpu {cpu[0]:.1f} "
            f"{cpu[1]:.1f}  {changes}"
        )
    print(f"{below} of {len(found)} cells below gensim; the worst by {-worst:.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--corpus", type=Path, help="UTF-8 text of prose, plain or .xz")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--contestants", nargs="+", choices=(OURS, GENSIM), default=(OURS, GENSIM))
    parser.add_argument("--only", help="cells whose settings hold this text")
    parser.add_argument("--again", action="store_true", help="measure fastw2v anew")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the CSV")
    return parser.parse_args()


if __name__ == "__main__":
    main()
