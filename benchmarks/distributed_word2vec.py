"""Word vectors by 1, 2 and 4 processes of this machine: speed, merging, bytes and quality.

    python benchmarks/distributed_word2vec.py --corpus books.txt   # writes its CSV
    python benchmarks/distributed_word2vec.py --quick              # shows that all works

Each process trains with one thread, skip-gram, on its share of an excerpt of the text; the settings
are those of word2vec.py, and merges are rarer than by default, as the text is short. Merging is the
share of the time that the first process spends with it, waiting for the others included. The
processes share the processors of the machine: where these are fewer, words per second say nothing
of several machines. Bytes are what the loopback interface counts, divided by the processes and the
merges. Scores as in word2vec.py, a row for each seed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import machine
import word2vec
from distributed import loopback_bytes, print_row, printed_rows

OUTPUT = harness.RESULTS / "distributed_word2vec.csv"
COLUMNS = (
    *("text", "text_words", "epochs", "merge_every", "processes", "seed"),
    *("words_per_s", "merges", "merging_share", "wire_bytes", "loss"),
    *("wordsim353", "simlex999", "analogies"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)


def work(text: str, epochs: int, merge_every: float, seeds: int) -> None:
    """What each process does; the first prints a row for each seed."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    strategy = tf.distribute.get_strategy()
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    import fastw2v
    from fastw2v.word2vec.corpus import read_corpus
    from fastw2v.word2vec.training.workers import Workers

    merging: list[float] = []
    synchronize = Workers.synchronize

    def timed(*arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        totals = synchronize(*arguments, **options)
        merging.append(time.perf_counter() - begin)
        return totals

    Workers.synchronize = timed
    corpus = read_corpus(text, min_count=5, workers=1)
    for seed in range(1, seeds + 1):
        settings = word2vec.Job(word2vec.OURS, text, epochs=epochs, seed=seed).settings()
        with strategy.scope():
            model = fastw2v.Word2Vec(**settings, workers=1, merge_every=merge_every)
        model.build_vocab(corpus)
        merging.clear()
        sent, begin = loopback_bytes(), time.perf_counter()
        _, words = model.train(corpus)
        seconds = time.perf_counter() - begin
        sent = loopback_bytes() - sent
        if model.is_chief:
            processes, merges = strategy.num_replicas_in_sync, len(merging)
            row = {
                "epochs": epochs,
                "merge_every": merge_every,
                "processes": processes,
                "seed": seed,
                "words_per_s": round(words / seconds),
                "merges": merges,
                "merging_share": f"{sum(merging) / seconds:.4f}",
                "wire_bytes": round(sent / processes / merges) if merges else 0,
                "loss": f"{model.losses[-1]:.4f}",
            }
            scores = word2vec.scores(model.vocabulary.words, model.wv.vectors)
            rounded = {name: f"{score:.4f}" for name, score in scores.items()}
            print_row(row | rounded)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, metavar="FILE", help="a text, plain or .xz")
    parser.add_argument("--words", type=int, default=5_000_000, help="of the excerpt")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--merge-every", type=float, default=0.06, help="share of the text")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--quick", action="store_true", help="a tiny text on two processes")
    parser.add_argument("--output", type=Path, metavar="CSV", help=f"default: {OUTPUT}")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.epochs, options.merge_every, options.seeds)
        return
    if options.quick:
        options.processes, options.epochs, options.seeds = [2], 1, 1
    description, rows = machine.description(), []
    with tempfile.TemporaryDirectory() as directory:
        whole = word2vec.whole_text(options, Path(directory))
        text = word2vec.excerpt_of(whole, options.words, Path(directory))
        arguments = [__file__, "--work", str(text.path)]
        for name in ("epochs", "merge_every", "seeds"):
            arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        for processes in options.processes:
            for row in printed_rows(processes, arguments):
                of_text = {"text": text.name, "text_words": text.words}
                rows.append(of_text | row | description)
                print({name: rows[-1][name] for name in COLUMNS[3:14]}, flush=True)
    path = options.output or (None if options.quick else OUTPUT)
    if path is not None:
        harness.write(path, COLUMNS, rows)


if __name__ == "__main__":
    main()
