"""`fastw2v neighbors`: the words nearest to a word."""

from __future__ import annotations

import argparse

from fastw2v.commands import _vectors
from fastw2v.commands._options import count


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "neighbors",
        help="print the words nearest to a word",
        description="Print the words whose vectors have the largest cosine with that of a word: "
        "fastw2v neighbors vectors.bin king queen",
        epilog="Formats: " + _vectors.FORMATS,
    )
    _vectors.add_vectors(parser)
    parser.add_argument("words", metavar="WORD", nargs="+", help="word to look up")
    parser.add_argument(
        "--topn", type=count, default=10, metavar="N", help="neighbors of each (default: 10)"
    )
    _vectors.add_restrict_vocab(parser)


def run(options: argparse.Namespace) -> None:
    """Prints the neighbors of each word."""
    vectors = _vectors.load(options)
    found = vectors.most_similar_batch(options.words, options.topn, options.restrict_vocab)
    for word, neighbors in zip(options.words, found, strict=True):
        print(word)
        _vectors.print_neighbors(neighbors)
