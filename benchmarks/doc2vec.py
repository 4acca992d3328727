"""Vectors of documents by fastw2v and by gensim, from the same file with the same settings.

    python benchmarks/doc2vec.py                               # everything, about twenty minutes
    python benchmarks/doc2vec.py --parts quality               # some minutes
    python benchmarks/doc2vec.py --corpus books.txt --parts speed

Each measurement is a process of its own with one thread, the two take turns, and times are those of
the processor, so that other programs on the machine matter little. gensim reads a file with a
document per line by `corpus_file`, its fastest way, and infers one document after another, as it
can do no other. Words per second are words of the file.

What is measured ("part" in the CSV; the rows of other cases and other texts stay as they are):

    speed      training, and inference of 500 documents by 5 passes. Documents are the lines of
               `--corpus`, joined to 200 words; without it those of the docstrings of the installed
               packages
    quality    for each of --seeds seeds. On Lee's 300 news documents, which gensim brings: the
               share of documents that are nearest to their own inferred vector, and the correlation
               of the cosines of 50 others with what people said. On a text that this program makes,
               3,000 documents of ten classes whose words differ a little: the share of 1,000
               documents held out that a linear classifier of the vectors finds the class of
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import word2vec

OURS, GENSIM = word2vec.OURS, word2vec.GENSIM
COLUMNS = word2vec.COLUMNS
PARTS = ("speed", "quality")
FORMS = {
    "PV-DBOW": {"dm": 0},
    "PV-DM": {"dm": 1},
    "PV-DBOW and words": {"dm": 0, "dbow_words": 1},
}
LEE, CLASSES = "Lee's documents", "documents of ten classes"
_DOCUMENT_WORDS = 200
_INFERRED, _INFERRED_EPOCHS = 500, 5
_SIZES = {LEE: {"vector_size": 50, "min_count": 2}, CLASSES: {"vector_size": 100, "min_count": 5}}


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        contestant, form, text: Who trains, by which form, on which file or text.
        epochs, seed: The settings that vary.
    """

    contestant: str
    form: str
    text: str
    epochs: int
    seed: int = 1


# ---- in a process of its own ---------------------------------------------------------------------


def work(job: Job) -> dict[str, float]:
    """Does a job and returns what was measured."""
    for name in ("TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "2" if name.startswith("TF") else "1"
    if job.contestant == OURS:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        import fastw2v as library

        infer = library.Doc2Vec.infer_vectors
    else:
        from gensim.models import doc2vec as library

        def infer(model: Any, documents: list[list[str]], **options: Any) -> np.ndarray:
            return np.array([model.infer_vector(each, **options) for each in documents])

    warm = [library.TaggedDocument(["warm", "up"], [0])] * 50
    infer(library.Doc2Vec(warm, vector_size=8, epochs=1, workers=1), [["warm"]], epochs=1)
    if job.text in (LEE, CLASSES):
        return _judged(job, library, infer)
    model = library.Doc2Vec(
        **FORMS[job.form], vector_size=100, epochs=job.epochs, workers=1, seed=job.seed
    )
    model.build_vocab(corpus_file=job.text)
    begin = time.process_time()
    model.train(
        corpus_file=job.text,
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=job.epochs,
    )
    trained = time.process_time() - begin
    with open(job.text, encoding="utf-8") as file:
        documents = [line.split() for line in itertools.islice(file, _INFERRED)]
    begin = time.process_time()
    infer(model, documents, epochs=_INFERRED_EPOCHS)
    inferred = time.process_time() - begin
    return {
        "train_seconds": trained,
        "infer_seconds": inferred,
        "inferred_words": sum(map(len, documents)),
    }


def _judged(job: Job, library: Any, infer: Callable[..., np.ndarray]) -> dict[str, float]:
    texts = lee() if job.text == LEE else documents_of_classes()
    documents = [library.TaggedDocument(words, [k]) for k, words in enumerate(texts["train"])]
    model = library.Doc2Vec(
        documents,
        **FORMS[job.form],
        **_SIZES[job.text],
        epochs=job.epochs,
        seed=job.seed,
        workers=1,
    )
    trained = np.array(model.dv.vectors)
    others = infer(model, texts["held_out"])
    if job.text == CLASSES:
        return {"accuracy": accuracy(trained, texts["classes"], others, texts["held_out_classes"])}
    itself = (unit(infer(model, texts["train"])) @ unit(trained).T).argmax(axis=1)
    pairs = np.triu_indices(len(others), 1)
    cosines = (unit(others) @ unit(others).T)[pairs]
    return {
        "itself": float(np.mean(itself == np.arange(len(trained)))),
        "human": float(np.corrcoef(cosines, texts["human"][pairs])[0, 1]),
    }


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def accuracy(
    vectors: np.ndarray, classes: np.ndarray, others: np.ndarray, expected: np.ndarray
) -> float:
    """The share of the others whose class a linear classifier of the vectors finds, which is fitted
    by least squares."""
    inputs, asked = (np.c_[unit(each), np.ones(len(each))] for each in (vectors, others))
    targets = np.eye(classes.max() + 1)[classes]
    weights = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ targets)
    return float(np.mean((asked @ weights).argmax(axis=1) == expected))


def lee() -> dict[str, Any]:
    """300 documents, 50 others, and how similar people found these, of Lee, Pincombe and Welsh
    (2005)."""
    from gensim.test.utils import datapath
    from gensim.utils import simple_preprocess

    def read(name: str) -> list[list[str]]:
        with open(datapath(name), encoding="latin-1") as file:
            return [simple_preprocess(line) for line in file]

    return {
        "train": read("lee_background.cor"),
        "held_out": read("lee.cor"),
        "human": np.loadtxt(datapath("similarities0-1.txt")),
    }


def documents_of_classes(
    train: int = 2000, held_out: int = 1000, classes: int = 10, types: int = 4000
) -> dict[str, Any]:
    """Documents whose words are drawn by Zipf's law; each class has all words more or less often,
    by a factor of its own. A word is followed by its partner three times in ten."""
    rng = np.random.default_rng(7)
    common = 1 / np.arange(1, types + 1)
    likely = common * np.exp(_DIFFERENCE * rng.normal(size=(classes, types)))
    likely /= likely.sum(axis=1, keepdims=True)
    partner = rng.permutation(types)
    labels = rng.integers(classes, size=train + held_out)
    texts = []
    for label in labels:
        words = rng.choice(types, size=rng.integers(30, 90), p=likely[label])
        follows = rng.random(len(words)) < 0.3
        pairs = np.where(follows, partner[words], -1)
        words = np.stack([words, pairs], axis=1).ravel()
        texts.append([f"w{word}" for word in words if word >= 0])
    return {
        **{"train": texts[:train], "classes": labels[:train]},
        **{"held_out": texts[train:], "held_out_classes": labels[train:]},
    }


_DIFFERENCE = 0.5  # standard deviation of the logarithms of the factors of classes


# ---- the benchmark -------------------------------------------------------------------------------


class Bench:
    """Runs jobs, prints what they give and keeps it as rows."""

    def __init__(
        self,
        options: argparse.Namespace,
        text: word2vec.Text,
        keep: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self.options, self.text = options, text
        self._keep = keep  # called with all rows so far
        self._rows: list[dict[str, Any]] = []

    def run(self, part: str) -> None:
        print(f"\n{part}", flush=True)
        for form in itertools.islice(FORMS, 1 if self.options.quick else None):
            getattr(self, f"_{part}")(form)
            self._keep(self._rows)

    def _speed(self, form: str) -> None:
        speeds: dict[tuple[str, str], list[float]] = {}
        for _ in range(self.options.rounds):
            for contestant in (OURS, GENSIM):
                result = self._do(Job(contestant, form, str(self.text.path), epochs=1))
                for measure, words in (
                    ("train", self.text.words),
                    ("infer", _INFERRED_EPOCHS * result["inferred_words"]),
                ):
                    speed = words / result[f"{measure}_seconds"]
                    speeds.setdefault((contestant, measure), []).append(speed)
        for measure in ("train", "infer"):
            ours, theirs = (speeds[who, measure] for who in (OURS, GENSIM))
            for who, found in ((OURS, ours), (GENSIM, theirs)):
                self._row("speed", form, who, f"{measure}_words_per_s", found)
            ratios = [x / y for x, y in zip(ours, theirs, strict=True)]
            self._row("speed", form, OURS, f"{measure}_times_gensim", ratios)

    def _quality(self, form: str) -> None:
        for text in (LEE, CLASSES):
            scores: dict[tuple[str, str], list[float]] = {}
            for seed in range(1, self.options.seeds + 1):
                for contestant in (OURS, GENSIM):
                    job = Job(contestant, form, text, self.options.epochs, seed)
                    for measure, score in self._do(job).items():
                        scores.setdefault((contestant, measure), []).append(score)
            for (contestant, measure), values in scores.items():
                self._row("quality", form, contestant, measure, values, text)

    def _do(self, job: Job) -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, __file__, "--job", json.dumps(asdict(job))],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{job} failed:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    def _row(
        self,
        part: str,
        case: str,
        contestant: str,
        measure: str,
        values: list[float],
        text: str | None = None,
    ) -> None:
        middle = statistics.median if text is None else statistics.fmean
        row = {
            **{"part": part, "case": case, "contestant": contestant, "measure": measure},
            **{"value": float(middle(values)), "low": min(values), "high": max(values)},
            **{"runs": len(values), "text": text or self.text.name},
            "text_words": self.text.words if text is None else _words_of(text),
            "gensim": metadata.version("gensim"),
        }
        self._rows.append(row)
        range_ = f"  ({row['low']:.4g} to {row['high']:.4g})" if len(values) > 1 else ""
        name = f"{case}, {text}" if text else case
        print(f"  {name:44} {contestant:8} {measure:20} {row['value']:12.4g}{range_}", flush=True)


def _words_of(text: str) -> int:
    return sum(map(len, (lee() if text == LEE else documents_of_classes())["train"]))


def documents_of(text: word2vec.Text, most_words: int, directory: Path) -> word2vec.Text:
    """A file with a document per line: lines of a text, joined."""
    path, found = directory / "documents.txt", 0
    with text.path.open("rb") as source, path.open("wb") as target:
        words: list[bytes] = []
        for line in source:
            words += line.split()
            if len(words) >= _DOCUMENT_WORDS:
                target.write(b" ".join(words) + b"\n")
                found += len(words)
                words = []
            if found >= most_words:
                break
    return word2vec.Text(path, text.name, found)


def main() -> None:
    options = _options()
    if options.job:
        print(json.dumps(work(Job(**json.loads(options.job)))))
        return
    import harness
    import machine

    description = machine.description()
    print(", ".join(f"{name} {value}" for name, value in description.items() if value))

    def keep(rows: list[dict[str, Any]]) -> None:
        if options.output:
            rows = [row | description for row in rows]
            harness.write(options.output, COLUMNS, word2vec.merged(options.output, rows))

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        text = documents_of(word2vec.whole_text(options, directory), options.words, directory)
        print(f"{text.name}: {text.words:,} words")
        bench = Bench(options, text, keep)
        for part in options.parts:
            bench.run(part)
    if options.output:
        print(f"\nwritten: {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, metavar="FILE", help="a text, plain or .xz")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument(
        "--words", type=int, default=1_000_000, help="of the documents (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="of quality (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="shows that all works: a tiny text")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="CSV",
        help="file to write (default: benchmarks/results/doc2vec.csv; with --quick: none)",
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds = options.seeds = 1
        options.epochs, options.words = 5, 100_000
    elif options.output is None:
        options.output = word2vec.RESULTS / "doc2vec.csv"
    return options


if __name__ == "__main__":
    main()
