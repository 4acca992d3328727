"""`fastw2v demo`, the main job: from text to word vectors, nearest neighbors and a picture."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastw2v.commands._options import TEXT, positive, text_path
from fastw2v.commands._settings import SETTINGS, add_settings
from fastw2v.word2vec.corpus import DocstringReader, TokenCorpus, read_corpus, tokenize
from fastw2v.word2vec.files import check_outputs
from fastw2v.word2vec.maps import draw_map, write_map
from fastw2v.word2vec.progress import ProgressLine
from fastw2v.word2vec.vectors import WordVectors

if TYPE_CHECKING:
    from fastw2v.word2vec.training import Progress

# What differs from `fastw2v.Word2Vec`: negative sampling is all that the demo trains.
_ON_THE_COMMAND_LINE = {**SETTINGS, "negative": replace(SETTINGS["negative"], low=1)}
_VECTORS, _PAGE, _PICTURE = "vectors.txt", "map.html", "map.png"  # in --output-dir
_READING_SHARE = 1 / 3  # of the time
_LEAST_WORDS = 30  # different ones, for neighbors and a map
_NUM_PROBES = 10
_NUM_NEIGHBOURS = 6
_PROBE_RANKS = 2000
_PAGE_WORDS = 1000
_NEIGHBOUR_RANKS = 5000  # a rare word has no settled neighbors
_PROBES = (
    "image file matrix error function thread server gradient two return delete mean "
    "king man water night mother house white walked morning said money sea"
).split()


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="train word vectors on the docstrings of the installed packages",
        description="Train word vectors on the docstrings of the installed Python packages or on a "
        "text file; print nearest neighbors, write the vectors in word2vec text format and draw "
        "maps of the most frequent words: a page for the browser and a picture.",
    )
    demo.add_argument(
        "--text",
        metavar="FILE",
        type=text_path,
        help=f"train on {TEXT}; docstrings are not read then",
    )
    demo.add_argument(
        "--output-dir",
        metavar="DIR",
        default="fastw2v-demo",
        help=f"where to write {_VECTORS}, {_PAGE} and {_PICTURE} (default: %(default)s)",
    )
    names = ("vector_size", "window", "min_count", "sample", "negative", "alpha", "epochs", "seed")
    add_settings(demo, (_ON_THE_COMMAND_LINE[name] for name in names))
    demo.add_argument(
        "--max-seconds",
        type=positive,
        default=150.0,
        metavar="N",
        help="end training N seconds after the start, whatever --epochs; the seed alone does not "
        "decide the result then (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> None:
    """Does what `fastw2v demo` says, with its options.

    Raises:
        OSError: The text cannot be read or the results cannot be written.
        ValueError: The text is no text or too short, or an option is out of its range.
    """
    begin = time.monotonic()
    output = Path(options.output_dir)
    inputs = {"--text": options.text}
    check_outputs({}, inputs, {"--output-dir": output})
    output.mkdir(parents=True, exist_ok=True)
    check_outputs({f"output {name}": output / name for name in (_VECTORS, _PAGE, _PICTURE)}, inputs)
    source = options.text or "the docstrings of the installed packages"
    print(
        f"reads {source}, trains word vectors and writes {_VECTORS}, {_PAGE} and {_PICTURE} to "
        f"{output}: {options.max_seconds:g} s at most, and about 20 s for the maps",
        flush=True,
    )
    corpus = _read(options, begin)
    vectors = _train(corpus, options, begin + options.max_seconds)
    _print_neighbors(vectors)
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
            f"{options.min_count} times; at least {_LEAST_WORDS} are needed"
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
    from fastw2v.word2vec.training import Word2Vec  # brings TensorFlow, which takes seconds

    print(
        f"training vectors of width {options.vector_size} for {len(corpus.vocabulary):,} words "
        f"that occur at least {options.min_count} times",
        flush=True,
    )
    model = Word2Vec(
        sg=1,
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


def _print_neighbors(vectors: WordVectors) -> None:
    probes = _probes([str(word) for word in vectors.words])
    width = max(map(len, probes))
    print("nearest neighbors")
    for probe in probes:
        neighbors = vectors.most_similar(
            probe, topn=_NUM_NEIGHBOURS, restrict_vocab=_NEIGHBOUR_RANKS
        )
        print(f"  {probe:{width}}  " + ", ".join(f"{word} {cos:.2f}" for word, cos in neighbors))


def _probes(words: list[str]) -> list[str]:
    """Chooses frequent words whose neighbors say something."""
    frequent = set(words[:_PROBE_RANKS])
    probes = [probe for probe in _PROBES if probe in frequent]
    # A text in another language, or on another subject: long words are seldom function words.
    others = [word for word in words[: _PROBE_RANKS // 10] if word not in probes]
    probes += sorted(others, key=len, reverse=True)
    return probes[:_NUM_PROBES]


def _write(vectors: WordVectors, output: Path) -> None:
    path = output / _VECTORS
    vectors.save_word2vec_format(path)
    print(f"vectors in word2vec text format: {path}")
    path = output / _PAGE
    write_map(vectors, path, _PAGE_WORDS, title="Map of the demo's words")
    print(f"the most frequent words on a page to move, zoom and search: {path}")
    path = output / _PICTURE
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
