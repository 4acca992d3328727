"""Word vectors by fastw2v and by gensim, from the same file with the same settings, in one run.

    python benchmarks/word2vec.py                            # everything, hours
    python benchmarks/word2vec.py --parts speed vocabulary   # one table of the README, minutes
    python benchmarks/word2vec.py --corpus books.txt --parts quality --epochs 2

The text is that of `--corpus`, UTF-8 with a sentence per line; without it, one that every machine
has: the docstrings of the installed packages. gensim reads it by `corpus_file`, its fastest way.
Each measurement is a process of its own, and the two take turns. Words per second are words of the
file, in both cases, by the time of training or of reading alone; peak memory is that of the process
less what it had when its libraries were loaded and warm.

With several threads gensim's `corpus_file` lowers the learning rate by each thread's own share of
the text, so that it stays higher than the settings say; scores are those that its users get.

What is measured ("part" in the CSV; the rows of other cases and other texts stay as they are):

    speed        training, on an excerpt of --words words, or on a shorter text several times
    vocabulary   reading the text and counting its words: gensim's scan; fastw2v also numbers them
    scaling      training with other numbers of threads, widths and vocabularies, on the excerpt
    memory       peak memory of training on the whole text
    quality      WordSim-353, SimLex-999 and questions-words (of the 30,000 most frequent words) as
                 gensim evaluates them, for each of --seeds seeds, on the whole text
    likelihood   log-likelihood of a text held out, threads without locks against deterministic
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import process

OURS, GENSIM = "fastw2v", "gensim"
PARTS = ("speed", "vocabulary", "scaling", "memory", "quality", "likelihood")
COLUMNS = (
    *("part", "case", "contestant", "measure", "value", "low", "high", "runs"),
    *("text", "text_words", "gensim"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)
RESULTS = Path(__file__).resolve().parent / "results"
_RESTRICT = 30_000  # words of which analogies are asked
_HELD_OUT = 0.01  # the share of the lines


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        contestant, text: Who trains, and on which file.
        sg, vector_size, epochs, seed, max_final_vocab, deterministic: The settings that vary.
        threads: Of training; 0: as many as there are processors.
        held_out: Another file, for its log-likelihood.
        evaluate: Whether the vectors are evaluated.
    """

    contestant: str
    text: str
    sg: int = 1
    vector_size: int = 100
    epochs: int = 1
    seed: int = 1
    max_final_vocab: int | None = None
    deterministic: bool = False
    threads: int = 0
    held_out: str | None = None
    evaluate: bool = False

    def settings(self) -> dict[str, Any]:
        """Arguments that both contestants take."""
        return {
            **{"sg": self.sg, "vector_size": self.vector_size, "epochs": self.epochs},
            **{"seed": self.seed, "max_final_vocab": self.max_final_vocab},
            **{"window": 5, "negative": 5, "sample": 1e-3, "alpha": 0.025, "min_alpha": 1e-4},
            **{"min_count": 5},
        }


SPEED = {
    "skip-gram, 100 wide": {},
    "skip-gram, 300 wide": {"vector_size": 300},
    "CBOW, 100 wide": {"sg": 0},
}
SCALING = {
    **{f"{n} threads": {"threads": n} for n in (1, 2, 4, 8, 16)},
    **{f"{d} wide": {"vector_size": d} for d in (50, 100, 200, 300, 500)},
    **{f"{v:,} words": {"max_final_vocab": v} for v in (1_000, 10_000, 30_000)},
}
FORMS = {"skip-gram": {}, "CBOW": {"sg": 0}}


# ---- in a process of its own ---------------------------------------------------------------------


def work(job: Job) -> dict[str, Any]:
    """Does a job and returns what was measured."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not job.threads:
        job = replace(job, threads=len(os.sched_getaffinity(0)))
    return (_fastw2v if job.contestant == OURS else _gensim)(job)


def _fastw2v(job: Job) -> dict[str, Any]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    import fastw2v
    from fastw2v.word2vec.corpus import read_corpus

    fastw2v.Word2Vec([["warm", "up"]] * 50, vector_size=8, epochs=1, sample=0)
    peak = _Peak()
    model = fastw2v.Word2Vec(**job.settings(), deterministic=job.deterministic)
    begin = time.perf_counter()
    corpus = read_corpus(job.text, min_count=5, max_final_vocab=job.max_final_vocab)
    read = time.perf_counter() - begin
    model.build_vocab(corpus)
    begin = time.perf_counter()
    model.train()
    trained = time.perf_counter() - begin
    result = {
        "read_seconds": read,
        "train_seconds": trained,
        "peak_bytes": peak.bytes(),
        "tables_bytes": 2 * 4 * len(corpus.vocabulary) * job.vector_size,
        "ids_bytes": corpus.ids.nbytes,
    }
    if job.held_out:
        result["log_likelihood"] = model.evaluate(corpus_file=job.held_out)
    if job.evaluate:
        result["scores"] = scores(model.wv.words, model.wv.vectors)
    return result


def _gensim(job: Job) -> dict[str, Any]:
    from gensim.models import Word2Vec

    Word2Vec([["warm", "up"]] * 50, vector_size=8, epochs=1, sample=0)
    peak = _Peak()
    model = Word2Vec(**job.settings(), workers=job.threads)
    begin = time.perf_counter()
    model.build_vocab(corpus_file=job.text)
    read = time.perf_counter() - begin
    begin = time.perf_counter()
    model.train(
        corpus_file=job.text,
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=job.epochs,
    )
    trained = time.perf_counter() - begin
    result = {"read_seconds": read, "train_seconds": trained, "peak_bytes": peak.bytes()}
    if job.evaluate:
        result["scores"] = scores(model.wv.index_to_key, model.wv.vectors)
    return result


class _Peak:
    """The most memory that a process takes from now on, beside what it has."""

    def __init__(self) -> None:
        process.trim()
        self._before = process.resident("VmRSS:")
        process.forget_peak()

    def bytes(self) -> int:
        return process.resident("VmHWM:") - self._before


def scores(words: list[str], vectors: Any) -> dict[str, float]:
    """By gensim, whoever made the vectors."""
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    judge = KeyedVectors(vectors.shape[1])
    judge.add_vectors(words, vectors)
    return {
        "wordsim353": judge.evaluate_word_pairs(datapath("wordsim353.tsv"))[1][0],
        "simlex999": judge.evaluate_word_pairs(datapath("simlex999.txt"))[1][0],
        "analogies": judge.evaluate_word_analogies(
            datapath("questions-words.txt"), restrict_vocab=_RESTRICT
        )[0],
    }


# ---- the benchmark -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A file, what it is called, and its words."""

    path: Path
    name: str
    words: int


class Bench:
    """Runs jobs, prints what they give and keeps it as rows."""

    def __init__(
        self,
        options: argparse.Namespace,
        text: Text,
        excerpt: Text,
        keep: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self.options, self.text, self.excerpt = options, text, excerpt
        self._keep = keep  # called with all rows so far
        self._rows: list[dict[str, Any]] = []

    def run(self, part: str) -> None:
        print(f"\n{part}", flush=True)
        getattr(self, f"_{part}")(part)

    def _each(self, cases: Iterable[Any]) -> Iterator[Any]:
        """Cases, one by one: what was measured of one outlives an interruption in the next."""
        for case in cases:
            yield case
            self._keep(self._rows)

    def _speed(self, part: str) -> None:
        cases = dict(itertools.islice(SPEED.items(), 1)) if self.options.quick else SPEED
        for case, changes in self._each(cases.items()):
            self._compare(part, case, self.excerpt, changes, "train_seconds")

    def _scaling(self, part: str) -> None:
        cores = len(os.sched_getaffinity(0))
        for case, changes in self._each(SCALING.items()):
            if changes.get("threads", 0) <= cores:
                self._compare(part, case, self.excerpt, changes, "train_seconds")

    def _vocabulary(self, part: str) -> None:
        for case in self._each(["the whole text"]):
            self._compare(part, case, self.text, {"vector_size": 1}, "read_seconds")

    def _memory(self, part: str) -> None:
        for case, changes in self._each(SPEED.items()):
            for contestant in (OURS, GENSIM):
                result = self._do(Job(contestant, str(self.text.path), **changes))
                self._row(part, case, contestant, "peak_bytes", [result["peak_bytes"]])
                if contestant == OURS:
                    needed = result["tables_bytes"] + result["ids_bytes"]
                    self._row(part, case, contestant, "tables_and_ids_bytes", [needed])

    def _quality(self, part: str) -> None:
        forms = list(FORMS.items())[: 1 if self.options.quick else None]
        cases = itertools.product(forms, self.options.epochs)
        for (form, changes), epochs in self._each(cases):
            case = f"{form}, {epochs} epochs"
            scores: dict[tuple[str, str], list[float]] = {}
            for seed in range(1, self.options.seeds + 1):
                for contestant in (OURS, GENSIM):
                    job = Job(contestant, str(self.text.path), epochs=epochs, **changes)
                    result = self._do(replace(job, seed=seed, evaluate=True))
                    for measure, score in result["scores"].items():
                        scores.setdefault((contestant, measure), []).append(score)
            for (contestant, measure), values in scores.items():
                self._row(part, case, contestant, measure, values, statistics.fmean)

    def _likelihood(self, part: str) -> None:
        trained, held_out = split(self.text.path)
        for form, changes in self._each(FORMS.items()):
            for deterministic in (False, True):
                job = Job(OURS, str(trained), held_out=str(held_out), epochs=2, **changes)
                result = self._do(replace(job, deterministic=deterministic))
                name = f"{OURS}, deterministic" if deterministic else OURS
                self._row(part, form, name, "log_likelihood", [result["log_likelihood"]])
                speed = 2 * self.text.words / result["train_seconds"]
                self._row(part, form, name, "words_per_s", [speed])

    def _compare(
        self, part: str, case: str, text: Text, changes: dict[str, Any], measure: str
    ) -> None:
        """Both in turns: words per second, and the quotient within each round."""
        # A short text is trained on so often that seconds pass.
        trains = measure == "train_seconds"
        epochs = max(1, round(self.options.words / text.words)) if trains else 1
        speeds: dict[str, list[float]] = {OURS: [], GENSIM: []}
        for _ in range(self.options.rounds):
            for contestant, found in speeds.items():
                result = self._do(Job(contestant, str(text.path), epochs=epochs, **changes))
                found.append(epochs * text.words / result[measure])
        for contestant, found in speeds.items():
            self._row(part, case, contestant, "words_per_s", found)
        ratios = [ours / theirs for ours, theirs in zip(*speeds.values(), strict=True)]
        self._row(part, case, OURS, "times_gensim", ratios)

    def _do(self, job: Job) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, __file__, "--job", json.dumps(asdict(job))],
            stdout=subprocess.PIPE,
            stderr=None if self.options.verbose else subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{job} failed:\n{done.stderr or ''}")
        return json.loads(done.stdout.splitlines()[-1])

    def _row(
        self,
        part: str,
        case: str,
        contestant: str,
        measure: str,
        values: list[float],
        middle: Callable[[list[float]], float] = statistics.median,
    ) -> None:
        words = (self.excerpt if part in ("speed", "scaling") else self.text).words
        row = {
            **{"part": part, "case": case, "contestant": contestant, "measure": measure},
            **{"value": float(middle(values)), "low": min(values), "high": max(values)},
            **{"runs": len(values), "text": self.text.name, "text_words": words},
            "gensim": metadata.version("gensim"),
        }
        self._rows.append(row)
        range_ = f"  ({row['low']:.4g} to {row['high']:.4g})" if len(values) > 1 else ""
        print(f"  {case:24} {contestant:24} {measure:20} {row['value']:12.4g}{range_}", flush=True)


def whole_text(options: argparse.Namespace, directory: Path) -> Text:
    """The corpus as a plain file."""
    if options.quick:
        path = directory / "quick.txt"
        path.write_text(_quick_text())
        name = "test words"
    elif options.corpus is None:
        path = directory / "docstrings.txt"
        _write_docstrings(path)
        name = "docstrings of the installed packages"
    else:
        path, name = options.corpus, options.corpus.name
        if path.suffix == ".xz":  # gensim's corpus_file is a plain file
            path = directory / path.stem
            with lzma.open(options.corpus) as source, path.open("wb") as target:
                while block := source.read(1 << 22):
                    target.write(block)
    with path.open("rb") as file:
        return Text(path, name, sum(len(line.split()) for line in file))


def excerpt_of(text: Text, words: int, directory: Path) -> Text:
    """The first lines of a text."""
    if words >= text.words:
        return text
    path, found = directory / "excerpt.txt", 0
    with text.path.open("rb") as source, path.open("wb") as target:
        for line in source:
            target.write(line)
            found += len(line.split())
            if found >= words:
                break
    return Text(path, text.name, found)


def split(path: Path) -> tuple[Path, Path]:
    """Two files beside a text: nearly all of its lines, and every hundredth."""
    trained, held_out = (path.with_name(f"{path.stem}.{part}.txt") for part in ("most", "rest"))
    every = round(1 / _HELD_OUT)
    with path.open("rb") as source, trained.open("wb") as most, held_out.open("wb") as rest:
        for number, line in enumerate(source):
            (rest if number % every == 0 else most).write(line)
    return trained, held_out


def _write_docstrings(path: Path) -> None:
    from fastw2v.word2vec.corpus import DocstringReader, tokenize

    with path.open("w", encoding="utf-8") as file:
        for docstrings in DocstringReader():
            for paragraph in docstrings.splitlines():
                file.write(" ".join(tokenize(paragraph)) + "\n")


def _quick_text() -> str:
    """The words of the evaluation, so that it has something to say."""
    from gensim.test.utils import datapath

    text = "".join(
        Path(datapath(name)).read_text(encoding="utf-8").lower()
        for name in ("wordsim353.tsv", "simlex999.txt", "questions-words.txt")
    )
    return text * 5


def merged(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a file but for the cases that are among new ones, and these, in the order of the
    parts."""

    def case(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["part"], row["case"], row["text"]

    kept: list[dict[str, Any]] = []
    if path.exists():
        measured = {case(row) for row in rows}
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if case(row) not in measured]
    return sorted([*kept, *rows], key=lambda row: PARTS.index(row["part"]))


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
            harness.write(options.output, COLUMNS, merged(options.output, rows))

    with tempfile.TemporaryDirectory() as directory:
        text = whole_text(options, Path(directory))
        print(f"{text.name}: {text.words:,} words")
        bench = Bench(options, text, excerpt_of(text, options.words, Path(directory)), keep)
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
        "--words", type=int, default=5_000_000, help="of the excerpt (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 5], help="default: 2 and 5")
    parser.add_argument("--quick", action="store_true", help="shows that all works: a tiny text")
    parser.add_argument("--verbose", action="store_true", help="show what the processes print")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="CSV",
        help="file to write (default: benchmarks/results/word2vec.csv; with --quick: none)",
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.parts = ["speed", "quality"]
        options.rounds = options.seeds = 1
        options.epochs, options.words = [1], 300_000
    elif options.output is None:
        options.output = RESULTS / "word2vec.csv"
    return options


if __name__ == "__main__":
    main()
