"""`fastw2v demo`, the main job: from text to word vectors, nearest neighbours and a picture."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastw2v.commands._options import count, number, positive
from fastw2v.word2vec.corpus import TokenCorpus, read_corpus, tokenize
from fastw2v.word2vec.docstrings import DocstringReader
from fastw2v.word2vec.map import draw_map, write_map
from fastw2v.word2vec.progress import ProgressLine
from fastw2v.word2vec.vectors import WordVectors

if TYPE_CHECKING:
    from fastw2v.word2vec.training import Progress

_READING_SHARE = 1 / 3  # of the time
_LEAST_WORDS = 30  # different ones, for neighbours and a map
_NUM_PROBES = 10
_NUM_NEIGHBOURS = 6
_PROBE_RANKS = 2000
_PAGE_WORDS = 1000
_NEIGHBOUR_RANKS = 5000  # a word met a few times only has no settled neighbours
_PROBES = (
    "image file matrix error function thread server gradient two return delete mean "
    "king man water night mother house white walked morning said money sea"
).split()


def add_parser(commands: argparse._SubParsersAction) -> None:
    demo = commands.add_parser(
        "demo",
        help="train word vectors on the docstrings of the installed packages",
        description="Train word vectors on the docstrings of the installed Python packages or on a "
        "text file; print nearest neighbours, write the vectors in word2vec text format and draw "
        "maps of the most frequent words: a page for the browser and a picture.",
    )
    demo.add_argument(
        "--text",
        metavar="FILE",
        help="train on this UTF-8 text, plain or compressed by gzip, bzip2 or xz, a sentence per "
        "line, rather than on docstrings",
    )
    demo.add_argument(
        "--output-dir",
        metavar="DIR",
        default="fastw2v-demo",
        help="where to write vectors.txt, map.html and map.png (default: %(default)s)",
    )
    for option, kind, default, text in (
        ("--vector-size", count, 100, "width of the vectors"),
        ("--window", count, 5, "largest distance between a word and one that it predicts"),
        ("--min-count", count, 5, "leave out words that occur less often"),
        (
            "--sample",
            number(float, 0, below=1),
            1e-3,
            "thin out words more frequent than this; 0: none",
        ),
        ("--negative", count, 5, "words of the noise for each pair"),
        ("--alpha", positive, 0.025, "learning rate at the beginning"),
        ("--epochs", count, 5, "passes over the text, if the time allows"),
        ("--seed", number(int, 0), 1, "decides the result, unless the time ends training"),
        ("--max-seconds", positive, 150.0, "end training so long after the start"),
    ):
        text += f" (default: {default:g})"
        demo.add_argument(option, type=kind, default=default, metavar="N", help=text)


def run(options: argparse.Namespace) -> None:
    """Does what `fastw2v demo` says, with its options.

    Raises:
        OSError: The text cannot be read or the results cannot be written.
        ValueError: The text is no text or too short, or an option is out of its range.
    """
    begin = time.monotonic()
    output = Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(output))
    corpus = _read(options, begin)
    vectors = _train(corpus, options, begin + options.max_seconds)
    _print_neighbours(vectors)
    _write(vectors, output)
    print(f"done in {time.monotonic() - begin:.0f} s")


def _read(options: argparse.Namespace, begin: float) -> TokenCorpus:
    with ProgressLine("reading") as progress:
        if options.text is None:
            limit = begin + _READING_SHARE * options.max_seconds
            docstrings = DocstringReader()
            sentences = _sentences(docstrings, progress, limit)
            corpus = read_corpus(sentences, min_count=options.min_count)
            source = (
                f"{docstrings.num_docstrings:,} docstrings of {docstrings.num_read:,} Python files "
                f"({docstrings.num_repeated:,} repeated paragraphs left out, "
                f"{docstrings.num_unreadable:,} files unreadable)"
            )
        else:
            source = options.text
            corpus = read_corpus(
                source,
                min_count=options.min_count,
                tokenizer="words",
                report=lambda done, total, words: progress.update(
                    done / total if total else None, f"{words:,} words"
                ),
            )
    print(f"read {corpus.num_words:,} words from {source} in {time.monotonic() - begin:.0f} s")
    if options.text is None and docstrings.num_read < docstrings.num_files:
        print("what else there may be was left out: a third of --max-seconds was over")
    size = len(corpus.vocabulary)
    if size < _LEAST_WORDS:
        raise ValueError(
            f"too few words: {size:,} different ones occur at least --min-count = "
            f"{options.min_count} times, and it takes {_LEAST_WORDS} to show something"
        )
    return corpus


def _sentences(
    docstrings: DocstringReader, progress: ProgressLine, limit: float
) -> Iterator[list[str]]:
    """The words of each paragraph, until the time is over."""
    for text in docstrings:
        for paragraph in text.splitlines():
            yield tokenize(paragraph)
        progress.update(
            docstrings.num_read / docstrings.num_files, f"{docstrings.num_read:,} files"
        )
        if time.monotonic() > limit:
            return


def _train(corpus: TokenCorpus, options: argparse.Namespace, deadline: float) -> WordVectors:
    from fastw2v.word2vec.model import Word2Vec  # brings TensorFlow, which takes seconds

    print(
        f"training vectors of width {options.vector_size} for {len(corpus.vocabulary):,} words "
        f"that occur at least {options.min_count} times",
        flush=True,
    )
    model = Word2Vec(
        vector_size=options.vector_size,
        window=options.window,
        sample=options.sample,
        negative=options.negative,
        alpha=options.alpha,
        epochs=options.epochs,
        seed=options.seed,
        deterministic=True,
    )
    model.build_vocab(corpus)
    reports: list[Progress] = []
    with ProgressLine("training") as line:

        def report(progress: Progress) -> None:
            reports.append(progress)
            line.update(progress.done, str(progress))

        model.train(report=report, max_seconds=max(deadline - time.monotonic(), 1.0))
    last = reports[-1]
    epochs = last.words / corpus.num_tokens
    print(
        f"trained in {last.seconds:.0f} s ({last.words_per_second:,.0f} words/s): {epochs:.3g} of "
        f"{options.epochs} passes over the text, loss {last.loss:.3f}"
    )
    if epochs < options.epochs:
        print("--max-seconds ended training")
    return model.wv


def _print_neighbours(vectors: WordVectors) -> None:
    probes = _probes(vectors.words)
    width = max(map(len, probes))
    print("nearest neighbours")
    for probe in probes:
        neighbours = vectors.most_similar(
            probe, topn=_NUM_NEIGHBOURS, restrict_vocab=_NEIGHBOUR_RANKS
        )
        print(f"  {probe:{width}}  " + ", ".join(f"{word} {cos:.2f}" for word, cos in neighbours))


def _probes(words: list[str]) -> list[str]:
    """Chooses frequent words whose neighbours say something."""
    frequent = set(words[:_PROBE_RANKS])
    probes = [probe for probe in _PROBES if probe in frequent]
    # A text in another language, or on another subject: long words are seldom function words.
    others = [word for word in words[: _PROBE_RANKS // 10] if word not in probes]
    probes += sorted(others, key=len, reverse=True)
    return probes[:_NUM_PROBES]


def _write(vectors: WordVectors, output: Path) -> None:
    path = output / "vectors.txt"
    vectors.save_word2vec_format(path)
    print(f"vectors in word2vec text format: {path}")
    path = output / "map.html"
    write_map(vectors, path, _PAGE_WORDS, title="Map of the demo's words")
    print(f"the most frequent words on a page to move, zoom and search: {path}")
    path = output / "map.png"
    try:
        draw_map(vectors, path)
    except ImportError as error:
        print(
            f"no picture of the most frequent words: {error}; pip install 'fastw2v[demo]' "
            "brings matplotlib",
            file=sys.stderr,
        )
    else:
        print(f"the most frequent words in a picture: {path}")
